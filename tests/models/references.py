"""The paper's blocks, written out from its equations with loops; nothing here comes from the package."""

import math

import torch


def weights_of(block):
    """The block's parameters and buffers by name, so that gradients can be taken with respect to them."""
    return dict(block.named_parameters()) | dict(block.named_buffers())


def linear(x, weight, bias):
    """One position's channels (C,) -> (D,)."""
    return torch.stack([(row * x).sum() for row in weight]) + bias


def softmax(scores):
    largest = max(score.item() for score in scores)
    exps = [(score - largest).exp() for score in scores]
    total = sum(exps)
    return [e / total for e in exps]


def finish(x, inner, w, prefix, training):
    """`x + norm(linear(inner))` for inner[b][t][h][w], a vector each; without running statistics a LayerNorm."""
    batch, channels, frames, height, width = x.shape
    places = [(b, t, i, j) for b in range(batch) for t in range(frames) for i in range(height) for j in range(width)]
    projected = {
        p: linear(inner[p], w[f"{prefix}output.linear.weight"], w[f"{prefix}output.linear.bias"]) for p in places
    }
    layer = f"{prefix}output.norm.running_mean" not in w
    if layer:
        mean = variance = None
    elif training:
        mean = sum(projected.values()) / len(places)
        variance = sum((v - mean) ** 2 for v in projected.values()) / len(places)
    else:
        mean, variance = w[f"{prefix}output.norm.running_mean"], w[f"{prefix}output.norm.running_var"]
    gamma, beta = w[f"{prefix}output.norm.weight"], w[f"{prefix}output.norm.bias"]
    out = torch.zeros_like(x)
    rows = []
    for p in places:
        if layer:  # over the channels of each position
            mean = projected[p].sum() / channels
            variance = ((projected[p] - mean) ** 2).sum() / channels
        normed = (projected[p] - mean) / torch.sqrt(variance + 1e-5) * gamma + beta
        rows.append(x[p[0], :, p[1], p[2], p[3]] + normed)
    out = torch.stack(rows).reshape(batch, frames, height, width, channels)
    return out.permute(0, 4, 1, 2, 3)


def split_qkv(w, prefix):
    weight, bias = w[f"{prefix}qkv.weight"], w[f"{prefix}qkv.bias"]
    d = weight.shape[0] // 3
    return [(weight[k * d : (k + 1) * d], bias[k * d : (k + 1) * d]) for k in range(3)]


def max_pool(grid, height, width):
    """grid[(i, j)] vectors -> pooled 2x2, a side of one is left as it is, an odd rest is dropped."""
    ph, pw = min(2, height), min(2, width)
    pooled = {}
    for i in range(height // ph):
        for j in range(width // pw):
            cells = [grid[(i * ph + a, j * pw + b)] for a in range(ph) for b in range(pw)]
            pooled[(i, j)] = torch.stack(cells).amax(dim=0)
    return pooled


def keys_and_values(x, b, t, w, prefix, pool):
    """Keys and values of one frame, in row-major order of the pooled positions."""
    height, width = x.shape[3:]
    _, (wk, bk), (wv, bv) = split_qkv(w, prefix)
    grid = {(i, j): x[b, :, t, i, j] for i in range(height) for j in range(width)}
    if pool == "before":
        grid = max_pool(grid, height, width)
    keys = {p: linear(v, wk, bk) for p, v in grid.items()}
    values = {p: linear(v, wv, bv) for p, v in grid.items()}
    if pool == "after":
        keys, values = max_pool(keys, height, width), max_pool(values, height, width)
    order = sorted(keys)
    return [keys[p] for p in order], [values[p] for p in order]


def attend(query, keys, values, scaled):
    scale = 1 / math.sqrt(len(query)) if scaled else 1.0
    weights = softmax([(query * key).sum() * scale for key in keys])
    return sum(a * v for a, v in zip(weights, values, strict=True))


def spatial(x, w, prefix="", *, pool="after", scaled=True, training=False):
    """SA: each frame on its own."""
    batch, _, frames, height, width = x.shape
    (wq, bq), _, _ = split_qkv(w, prefix)
    inner = {}
    for b in range(batch):
        for t in range(frames):
            keys, values = keys_and_values(x, b, t, w, prefix, pool)
            for i in range(height):
                for j in range(width):
                    inner[(b, t, i, j)] = attend(linear(x[b, :, t, i, j], wq, bq), keys, values, scaled)
    return finish(x, inner, w, prefix, training)


def dot_product(query, keys, values):
    """Wang et al. 2018: similarities divided by their number, without softmax."""
    return sum((query * key).sum() / len(keys) * v for key, v in zip(keys, values, strict=True))


def non_local(x, w, prefix="", *, pool="after", scaled=True, softmaxed=True, training=False):
    """NL: all frames together (Eqs. 1-4)."""
    batch, _, frames, height, width = x.shape
    (wq, bq), _, _ = split_qkv(w, prefix)
    inner = {}
    for b in range(batch):
        keys, values = [], []
        for t in range(frames):
            k, v = keys_and_values(x, b, t, w, prefix, pool)
            keys, values = keys + k, values + v
        for t in range(frames):
            for i in range(height):
                for j in range(width):
                    query = linear(x[b, :, t, i, j], wq, bq)
                    some = attend(query, keys, values, scaled) if softmaxed else dot_product(query, keys, values)
                    inner[(b, t, i, j)] = some
    return finish(x, inner, w, prefix, training)


def encoding_of(frame, channels):
    """Sinusoidal position encoding: sin and cos of frame / 10000^(2i/C), interleaved."""
    values = []
    for c in range(channels):
        angle = frame / 10000 ** ((c - c % 2) / channels)
        values.append(math.sin(angle) if c % 2 == 0 else math.cos(angle))
    return torch.tensor(values, dtype=torch.float64)


def temporal(x, w, prefix="", *, encoding=False, scaled=True, training=False):
    """TA: the frames of each position; TAPE with an encoding added to the input."""
    batch, channels, frames, height, width = x.shape
    (wq, bq), (wk, bk), (wv, bv) = split_qkv(w, prefix)
    inner = {}
    for b in range(batch):
        for i in range(height):
            for j in range(width):
                inputs = [x[b, :, t, i, j] for t in range(frames)]
                if encoding:
                    inputs = [v + encoding_of(t, channels).to(v.dtype) for t, v in enumerate(inputs)]
                keys = [linear(v, wk, bk) for v in inputs]
                values = [linear(v, wv, bv) for v in inputs]
                for t in range(frames):
                    inner[(b, t, i, j)] = attend(linear(inputs[t], wq, bq), keys, values, scaled)
    return finish(x, inner, w, prefix, training)


def mix(values, mixing):
    """Eqs. 6-7: out_k[t] = sum over g and u of M[g, k, t, u] * value_g[u], concatenated over k."""
    groups, heads, frames, _ = mixing.shape
    width = len(values[0]) // groups
    out = []
    for t in range(frames):
        parts = []
        for k in range(heads):
            total = torch.zeros_like(values[0][:width])
            for g in range(groups):
                for u in range(frames):
                    total = total + mixing[g, k, t, u] * values[u][g * width : (g + 1) * width]
            parts.append(total)
        out.append(torch.cat(parts))
    return out


def matrices(x, w, prefix, b, own, *, toeplitz=False, causal=False, dynamic_rank=0):
    """M of clip b, entry by entry; `own`: of regions that do not share the pixels'."""
    frames = x.shape[2]
    stored = w[f"{prefix}region_mixing" if own else f"{prefix}mixing"]
    groups, heads = stored.shape[:2]
    dense = torch.zeros(groups, heads, frames, frames, dtype=stored.dtype)
    if dynamic_rank:
        means = [x[b, :, t].flatten(1).sum(dim=1) / x[b, 0, t].numel() for t in range(frames)]
        left = [w[f"{prefix}dynamic_left"][int(own)] @ mean for mean in means]
        right = [w[f"{prefix}dynamic_right"][int(own)] @ mean for mean in means]
    rows = []
    for g in range(groups):
        for k in range(heads):
            for t in range(frames):
                for u in range(frames):
                    entry = dense[g, k, t, u]
                    if toeplitz:
                        middle = stored.shape[2] // 2
                        if abs(t - u) <= middle:
                            entry = entry + stored[g, k, middle + t - u]
                    else:
                        entry = entry + stored[g, k, t, u]
                    for r in range(dynamic_rank):
                        there = right[u][g * dynamic_rank + r]
                        entry = entry + left[t][k * dynamic_rank + r] * there / dynamic_rank
                    rows.append(entry * 0 if causal and u > t else entry)
    return torch.stack(rows).view(groups, heads, frames, frames)


def mix_with(values, mixing, *, gate=False, differences=False):
    """What M is applied to, and what becomes of the mixed values."""
    groups = mixing.shape[0]
    width = len(values[0]) // groups
    sources = []
    for t, value in enumerate(values):
        parts = []
        for g in range(groups):
            part = value[g * width : (g + 1) * width]
            if differences and g >= groups // 2:
                part = part - values[max(t - 1, 0)][g * width : (g + 1) * width]
            parts.append(part)
        sources.append(torch.cat(parts))
    mixed = mix(sources, mixing)
    return [value * (1 + other) for value, other in zip(values, mixed, strict=True)] if gate else mixed


def global_temporal(
    x, w, prefix="", *, pixel=True, region=True, num_regions=3, constant=False, training=False, made=None, used=None
):
    """Eq. 8: pixel GTA and region GTA of the same input, one projection of both.

    `made`: options of `matrices`; `used`: options of `mix_with`.
    """
    made, used = made or {}, used or {}
    own = f"{prefix}region_mixing" in w
    batch, _, frames, height, width = x.shape
    weight, bias = w[f"{prefix}values.weight"], w[f"{prefix}values.bias"]
    rows = weight.shape[0] - (num_regions if region and not constant else 0)
    d = rows // (int(pixel) + int(region))
    places = [(i, j) for i in range(height) for j in range(width)]
    inner = {}
    for b in range(batch):
        mixing = matrices(x, w, prefix, b, False, **made)
        tokens = {(t, p): x[b, :, t, p[0], p[1]] for t in range(frames) for p in places}
        results = {key: [] for key in tokens}
        if pixel:
            for p in places:
                value = [linear(tokens[(t, p)], weight[:d], bias[:d]) for t in range(frames)]
                mixed = mix_with(value, mixing, **used)
                for t in range(frames):
                    results[(t, p)].append(mixed[t])
        if region:
            start = d if pixel else 0
            values = {key: linear(v, weight[start : start + d], bias[start : start + d]) for key, v in tokens.items()}
            assignment = {}
            for n, (t, p) in enumerate(tokens):
                if constant:
                    logits = list(w[f"{prefix}assignment"][t, n % len(places)])
                else:
                    logits = list(linear(tokens[(t, p)], weight[-num_regions:], bias[-num_regions:]))
                assignment[(t, p)] = softmax(logits)
            mixed = []
            for r in range(num_regions):
                pooled = []
                for t in range(frames):
                    total = sum(assignment[(t, p)][r] for p in places)
                    pooled.append(sum(assignment[(t, p)][r] * values[(t, p)] for p in places) / total)
                mixed.append(mix_with(pooled, matrices(x, w, prefix, b, own, **made), **used))
            for t, p in tokens:
                results[(t, p)].append(sum(assignment[(t, p)][r] * mixed[r][t] for r in range(num_regions)))
        for (t, p), parts in results.items():
            inner[(b, t, *p)] = torch.cat(parts)
    return finish(x, inner, w, prefix, training)


def reference(name, x, w, *, pool="after", scaled=True, num_regions=3, constant=False, training=False):
    """The block `name` applied to x with the weights w."""
    soft = {"scaled": scaled, "training": training}
    glob = {"num_regions": num_regions, "constant": constant, "training": training}
    steps = {
        "nl": lambda v, p: non_local(v, w, p, pool=pool, **soft),
        "sa": lambda v, p: spatial(v, w, p, pool=pool, **soft),
        "ta": lambda v, p: temporal(v, w, p, **soft),
        "tape": lambda v, p: temporal(v, w, p, encoding=True, **soft),
        "pixel_gta": lambda v, p: global_temporal(v, w, p, region=False, **glob),
        "region_gta": lambda v, p: global_temporal(v, w, p, pixel=False, **glob),
    }
    if name == "dnl":
        return steps["ta"](steps["sa"](x, "sa."), "ta.")
    if name == "gta":
        return global_temporal(steps["sa"](x, "sa."), w, "gta.", **glob)
    if "+" in name:
        first, second = name.split("+")
        return steps[second](steps[first](x, f"{first}."), "gta." if second.endswith("gta") else f"{second}.")
    return steps[name](x, "")
