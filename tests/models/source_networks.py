"""Other code bases' networks restated: each forward pass asks for its weights by the source's own names.

Weights that were never asked for are made up on the spot, so running a network once also writes down its layout.
"""

import torch
import torch.nn.functional as F

DEPTHS = {10: (1, 1, 1, 1), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


class Weights(dict):
    """Tensors by name; a missing one is drawn at random."""

    def __init__(self, seed=0):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def get_weight(self, key, shape, scale=None):
        if key not in self:
            fan = max(1, int(torch.tensor(shape[1:]).prod())) if len(shape) > 1 else 1
            self[key] = torch.randn(shape, generator=self.generator) * (fan**-0.5 if scale is None else scale)
        return self[key]

    def uniform(self, key, width, low, high):
        if key not in self:
            self[key] = torch.rand(width, generator=self.generator) * (high - low) + low
        return self[key]

    def double(self):
        """The same weights in float64."""
        other = Weights()
        other.update({key: tensor.double() for key, tensor in self.items()})
        return other


def norm(w, x, names, width):
    """Batch norm in evaluation; `names` are those of weight, bias, mean and variance."""
    weight, bias = w.uniform(names[0], width, 0.5, 1.0), w.uniform(names[1], width, -0.1, 0.1)
    mean, variance = w.uniform(names[2], width, -0.1, 0.1), w.uniform(names[3], width, 0.5, 1.5)
    return F.batch_norm(x, mean, variance, weight, bias, eps=1e-5)


def torch_norm_names(prefix):
    return [f"{prefix}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]


def attention(w, x, names, *, scaled, pool_first, pool=True, softmax=True):
    """Non-local block on (B, C, T, H, W), softmax or dot product; `names` maps theta, phi, g, out to (weight, bias)."""
    channels = x.shape[1]
    inner = channels // 2

    def project(part, v, out, into):
        weight, bias = names[part]
        return F.conv3d(v, w.get_weight(weight, (out, into, 1, 1, 1)), w.uniform(bias, out, -0.1, 0.1))

    pooled = F.max_pool3d(x, (1, 2, 2)) if pool and pool_first else x
    theta, phi, g = (project(p, v, inner, channels) for p, v in (("theta", x), ("phi", pooled), ("g", pooled)))
    if pool and not pool_first:
        phi, g = F.max_pool3d(phi, (1, 2, 2)), F.max_pool3d(g, (1, 2, 2))
    scores = theta.flatten(2).transpose(1, 2) @ phi.flatten(2)
    weights = torch.softmax(scores * (inner**-0.5 if scaled else 1.0), dim=-1) if softmax else scores / scores.shape[2]
    y = (weights @ g.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape[0], inner, *x.shape[2:])
    return x + norm(w, project("out", y, channels, inner), names["norm"], channels)


def image_resnet(w, frames, depth, *, prefix="", fc="fc", classes=5, num_frames=1, shift=False, nonlocal_at=(), div=8):
    """torchvision's ResNet on (N, 3, H, W), and TSM's with its wrappers; returns the mean logits of each clip."""

    def conv(key, x, shape, **options):
        return F.conv2d(x, w.get_weight(f"{prefix}{key}.weight", shape), **options)

    x = conv("conv1", frames, (64, 3, 7, 7), stride=2, padding=3)
    x = F.relu(norm(w, x, torch_norm_names(f"{prefix}bn1"), 64))
    x = F.max_pool2d(x, 3, 2, 1)
    for layer, blocks in enumerate(DEPTHS[depth]):
        inner = 64 * 2**layer
        for index in range(blocks):
            into, stride = x.shape[1], 2 if index == 0 and layer > 0 else 1
            wrapped = (layer + 1, index) in nonlocal_at
            name = f"layer{layer + 1}.{index}" + (".block" if wrapped else "")
            first, y = f"{name}.conv1", x
            if shift and index % (2 if DEPTHS[depth][2] >= 23 else 1) == 0:
                first += ".net"
                clips, y = x.unflatten(0, (-1, num_frames)), torch.zeros_like(x).unflatten(0, (-1, num_frames))
                fold = into // div
                y[:, :-1, :fold] = clips[:, 1:, :fold]
                y[:, 1:, fold : 2 * fold] = clips[:, :-1, fold : 2 * fold]
                y[:, :, 2 * fold :] = clips[:, :, 2 * fold :]
                y = y.flatten(0, 1)
            y = F.relu(norm(w, conv(first, y, (inner, into, 1, 1)), torch_norm_names(f"{prefix}{name}.bn1"), inner))
            y = conv(f"{name}.conv2", y, (inner, inner, 3, 3), stride=stride, padding=1)
            y = F.relu(norm(w, y, torch_norm_names(f"{prefix}{name}.bn2"), inner))
            y = conv(f"{name}.conv3", y, (4 * inner, inner, 1, 1))
            y = norm(w, y, torch_norm_names(f"{prefix}{name}.bn3"), 4 * inner)
            if index == 0:
                x = conv(f"{name}.downsample.0", x, (4 * inner, into, 1, 1), stride=stride)
                x = norm(w, x, torch_norm_names(f"{prefix}{name}.downsample.1"), 4 * inner)
            x = F.relu(x + y)
            if wrapped:
                at = f"{prefix}layer{layer + 1}.{index}.nl"
                names = {
                    "theta": (f"{at}.theta.weight", f"{at}.theta.bias"),
                    "phi": (f"{at}.phi.0.weight", f"{at}.phi.0.bias"),
                    "g": (f"{at}.g.0.weight", f"{at}.g.0.bias"),
                    "out": (f"{at}.W.0.weight", f"{at}.W.0.bias"),
                    "norm": torch_norm_names(f"{at}.W.1"),
                }
                clips = x.unflatten(0, (-1, num_frames)).transpose(1, 2)
                x = attention(w, clips, names, scaled=False, pool_first=False).transpose(1, 2).flatten(0, 1)
    features = x.mean(dim=(2, 3))
    logits = F.linear(
        features, w.get_weight(f"{fc}.weight", (classes, features.shape[1])), w.uniform(f"{fc}.bias", classes, -1, 1)
    )
    return logits.unflatten(0, (-1, num_frames)).mean(dim=1)


class PySlowFastNames:
    """Names of PySlowFast's PyTorch checkpoints."""

    def stem(self, pathway):
        return f"s1.pathway{pathway}_stem.conv.weight", torch_norm_names(f"s1.pathway{pathway}_stem.bn")

    def conv(self, stage, pathway, index, part):
        at = f"s{stage}.pathway{pathway}_res{index}"
        if part == "shortcut":
            return f"{at}.branch1.weight", torch_norm_names(f"{at}.branch1_bn")
        return f"{at}.branch2.{part}.weight", torch_norm_names(f"{at}.branch2.{part}_bn")

    def lateral(self, stage, last):
        return f"s{stage}_fuse.conv_f2s.weight", torch_norm_names(f"s{stage}_fuse.bn")

    def nonlocal_(self, stage, index):
        at = f"s{stage}.pathway0_nonlocal{index}"
        parts = {p: (f"{at}.conv_{p}.weight", f"{at}.conv_{p}.bias") for p in ("theta", "phi", "g", "out")}
        return parts | {"norm": torch_norm_names(f"{at}.norm")}

    def head(self):
        return "head.projection.weight", "head.projection.bias"


class Caffe2Names:
    """Names of the blobs in the same code base's Caffe2 files."""

    def bn(self, prefix):
        return [f"{prefix}_{part}" for part in ("s", "b", "rm", "riv")]

    def stem(self, pathway):
        t = "t_" if pathway else ""
        return f"{t}conv1_w", self.bn(f"{t}res_conv1_bn")

    def conv(self, stage, pathway, index, part):
        at = f"{'t_' if pathway else ''}res{stage}_{index}_" + ("branch1" if part == "shortcut" else f"branch2{part}")
        return f"{at}_w", self.bn(f"{at}_bn")

    def lateral(self, stage, last):
        at = "t_pool1_subsample" if stage == 1 else f"t_res{stage}_{last}_branch2c_bn_subsample"
        return f"{at}_w", self.bn(f"{at}_bn")

    def nonlocal_(self, stage, index):
        at = f"nonlocal_conv{stage}_{index}"
        parts = {p: (f"{at}_{p}_w", f"{at}_{p}_b") for p in ("theta", "phi", "g", "out")}
        return parts | {"norm": self.bn(f"{at}_bn")}

    def head(self):
        return "pred_w", "pred_b"


class PytorchvideoNames:
    """Names of pytorchvideo's hub models: SlowFast, or one pathway with or without a pool after res2."""

    def __init__(self, pathways, pooled=True):
        self.pathways, self.pooled = pathways, pooled

    def block(self, stage, pathway):
        if self.pathways == 2:
            return f"blocks.{stage - 1}.multipathway_blocks.{pathway}"
        return f"blocks.{stage - 1 if stage <= 2 or not self.pooled else stage}"

    def stem(self, pathway):
        at = self.block(1, pathway)
        return f"{at}.conv.weight", torch_norm_names(f"{at}.norm")

    def conv(self, stage, pathway, index, part):
        at = f"{self.block(stage, pathway)}.res_blocks.{index}"
        if part == "shortcut":
            return f"{at}.branch1_conv.weight", torch_norm_names(f"{at}.branch1_norm")
        return f"{at}.branch2.conv_{part}.weight", torch_norm_names(f"{at}.branch2.norm_{part}")

    def lateral(self, stage, last):
        at = f"blocks.{stage - 1}.multipathway_fusion"
        return f"{at}.conv_fast_to_slow.weight", torch_norm_names(f"{at}.norm")

    def head(self):
        at = "blocks.6.proj" if self.pathways == 2 or self.pooled else "blocks.5.proj"
        return f"{at}.weight", f"{at}.bias"


def video_resnet(
    w,
    clip,
    depth,
    names,
    *,
    pathways=1,
    alpha=4,
    beta=8,
    kernel=7,
    temporal=6,
    pool=False,
    nonlocal_at=(),
    classes=5,
    width=64,
    stride_1x1=False,
    softmax=True,
    nonlocal_pool=True,
    window=None,
    average="probabilities",
    stem=1,
    kernels=None,
):
    """C2D, I3D, Slow (one pathway), SlowFast (two) on (B, 3, T, H, W): logits or, with windows, log-probabilities."""
    frames = clip.shape[2]
    picked = torch.linspace(0, frames - 1, frames // alpha).long()
    xs = [clip] if pathways == 1 else [clip[:, :, picked], clip]
    widths = [width] if pathways == 1 else [width, width // beta]

    def conv_norm(x, key_and_names, out, size, **options):
        key, norm_names = key_and_names
        weight = w.get_weight(key, (out, x.shape[1], *size))
        return norm(w, F.conv3d(x, weight, padding=tuple(s // 2 for s in size), **options), norm_names, out)

    def fuse(stage):
        if pathways == 2:
            out = 2 * xs[1].shape[1]
            last = DEPTHS[depth][stage - 2] - 1 if stage > 1 else 0
            lateral = conv_norm(xs[1], names.lateral(stage, last), out, (kernel, 1, 1), stride=(alpha, 1, 1))
            xs[0] = torch.cat([xs[0], F.relu(lateral)], dim=1)

    for p in range(pathways):
        x = F.relu(conv_norm(xs[p], names.stem(p), widths[p], (5 if p else stem, 7, 7), stride=(1, 2, 2)))
        xs[p] = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    fuse(1)
    for stage in range(2, 6):
        for p in range(pathways):
            inner = widths[p] * 2 ** (stage - 2)
            for index in range(DEPTHS[depth][stage - 2]):
                long = (p == 1 or stage >= 4) and pathways == 2 and (stage != 4 or index < temporal)
                stride = (1, 2, 2) if index == 0 and stage > 2 else 1
                x = xs[p]
                first, middle = (stride, (1, 1, 1)) if stride_1x1 else ((1, 1, 1), stride)
                size = (3 if long else 1, 1, 1)
                if kernels:  # of each stage, taking turns
                    size = (kernels[stage - 2][index % len(kernels[stage - 2])], 1, 1)
                y = F.relu(conv_norm(x, names.conv(stage, p, index, "a"), inner, size, stride=first))
                y = F.relu(conv_norm(y, names.conv(stage, p, index, "b"), inner, (1, 3, 3), stride=middle))
                y = conv_norm(y, names.conv(stage, p, index, "c"), 4 * inner, (1, 1, 1))
                if index == 0:
                    x = conv_norm(x, names.conv(stage, p, index, "shortcut"), 4 * inner, (1, 1, 1), stride=stride)
                xs[p] = F.relu(x + y)
                if p == 0 and (stage, index) in nonlocal_at:
                    at, options = names.nonlocal_(stage, index), {"pool": nonlocal_pool, "softmax": softmax}
                    xs[p] = attention(w, xs[p], at, scaled=True, pool_first=True, **options)
        if stage < 5:
            fuse(stage)
        if stage == 2 and pool:
            xs[0] = F.max_pool3d(xs[0], (2, 1, 1))
    weight, bias = names.head()
    side = (window, window) if window else xs[0].shape[3:]
    features = torch.cat([F.avg_pool3d(x, (x.shape[2], *side), stride=1) for x in xs], dim=1).permute(0, 2, 3, 4, 1)
    weight, bias = w.get_weight(weight, (classes, features.shape[4])), w.uniform(bias, classes, -1, 1)
    logits = F.linear(features, weight, bias)
    if window and average == "probabilities":
        return logits.softmax(dim=4).mean(dim=(1, 2, 3)).log()
    return logits.mean(dim=(1, 2, 3))
