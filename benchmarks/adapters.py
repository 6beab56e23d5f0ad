"""What adapters add to a frozen image network: `python benchmarks/adapters.py LITE0.safetensors --write`.

A frozen EfficientNet-Lite0 with ImageNet weights (`scripts/efficientnet_lite0.py`) reads the frames of the synthetic
videos; one block after its last stage and the linear head train. Without a block this is the frame-averaged linear
probe, which cannot tell an action from its time reversal. AIM is missing: it uses a transformer's own attention once
more, and a CNN has none. The frozen part gives the same features in every epoch, so they are computed once.
Prints a Markdown table; --write keeps it in docs/results/adapters.md.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blocks import interleave, run_inference
from gta.backbones.insertion import AttendedBlock
from gta.clips.dataset import VideoDataset
from gta.clips.loader import build_loader
from gta.clips.presets import clip_config
from gta.config import OptimConfig
from gta.datasets.listing import open_videos
from gta.files import write_text
from gta.model_card import library_versions
from gta.models.classifier import VideoClassifier
from gta.models.flops import count_flops
from gta.models.registry import create_model
from gta.ops.layout import fold_frames, unfold_frames
from gta.studies.cell import describe_machine
from gta.synthetic import CLASSES, synthesize
from gta.synthetic.classes import permutation_invariant_ceiling
from gta.training.optim import create_optimizer, learning_rate_factor

NETWORKS = {
    "tf_efficientnet_lite0": "padded as the weights were trained",
    "efficientnet_lite0": "padded alike on all sides, unlike where the weights were trained",
}
BLOCKS = {"none (linear probe)": "", "TA": "_ta", "TAPE": "_tape", "ST-Adapter": "_st_adapter", "GTA": "_gta"}
OUT = Path(__file__).parents[1] / "docs" / "results" / "adapters.md"
BATCH = 32


def build(network: str, block: str, weights: Path, num_frames: int) -> VideoClassifier:
    """The network with a block after the last one of res5, or with none."""
    probe = create_model(network, num_classes=2)
    last = len(probe.backbone.stages()["res5"]) - 1  # pyright: ignore[reportCallIssue]
    at = {"res5": [last]} if block else None
    model = create_model(
        network + block, num_classes=len(CLASSES), num_frames=num_frames, at=at, pretrained=str(weights), dropout=0.0
    )
    model.freeze_backbone()
    return model


def attended(model: VideoClassifier) -> AttendedBlock | None:
    """The inserted block, if there is one."""
    return next((part for part in model.modules() if isinstance(part, AttendedBlock)), None)


@torch.no_grad()
def compute_features(model: VideoClassifier, clips: Tensor, batch: int = 16) -> Tensor:
    """What the last stage gives for normalised clips (N, 3, T, H, W): (N, T, C, h, w)."""
    network: nn.Module = model.backbone.network  # pyright: ignore[reportAssignmentType]
    model.eval()
    parts: list[Tensor] = []
    for part in clips.split(batch):
        frames = fold_frames(part).contiguous(memory_format=torch.channels_last)
        features = network.blocks(network.bn1(network.conv_stem(frames)))  # pyright: ignore[reportCallIssue]
        parts.append(features.unflatten(0, (len(part), -1)).contiguous())
    return torch.cat(parts)


def classify(model: VideoClassifier, features: Tensor) -> Tensor:
    """Logits from stored features: the attention block, the frozen rest, pooling, the head."""
    network: nn.Module = model.backbone.network  # pyright: ignore[reportAssignmentType]
    frames = features.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    block = attended(model)
    if block is not None:
        frames = fold_frames(block.attention(unfold_frames(frames, features.shape[1])))
    rest = network.bn2(network.conv_head(frames))  # pyright: ignore[reportCallIssue]
    return model.forward_head(unfold_frames(rest, features.shape[1]))


def train(model: VideoClassifier, features: Tensor, labels: Tensor, *, epochs: int, seed: int) -> None:
    """AdamW with cosine decay on what trains."""
    optim = OptimConfig(
        optimizer="adamw", lr=3e-3, scale_lr=False, weight_decay=0.01, schedule="cosine", warmup_epochs=1
    )
    steps = len(labels) // BATCH
    optimizer = create_optimizer(model, optim, global_batch=BATCH)
    factor = learning_rate_factor(optim, steps_per_epoch=steps, total_epochs=epochs)
    generator = torch.Generator().manual_seed(seed)
    model.train()
    step = 0
    for _ in range(epochs):
        for rows in torch.randperm(len(labels), generator=generator)[: steps * BATCH].split(BATCH):
            for group in optimizer.param_groups:
                group["lr"] = optim.lr * factor(step)
            optimizer.zero_grad(set_to_none=True)
            F.cross_entropy(classify(model, features[rows]), labels[rows]).backward()
            optimizer.step()
            step += 1


@torch.no_grad()
def accuracy(model: VideoClassifier, features: Tensor, labels: Tensor) -> float:
    """Top-1 in [0, 1]."""
    model.eval()
    predicted = torch.cat([classify(model, part).argmax(dim=1) for part in features.split(64)])
    return float((predicted == labels).float().mean())


def read_clips(root: Path, split: str, *, num_frames: int, size: int) -> tuple[Tensor, Tensor]:
    """Normalised clips (N, 3, T, H, W) of a split and their labels: one centre view of each video."""
    clip = clip_config("paper", num_frames=num_frames, crop_size=size)
    videos = open_videos(root, split, classes=CLASSES)  # pyright: ignore[reportArgumentType]
    loader = build_loader(VideoDataset(videos, clip, training=False), batch_size=32, num_workers=0, shuffle=False)
    batches = list(_each(loader))
    pixels = torch.cat([clip for clip, _ in batches]).float() / 255
    return (pixels - 0.5) / 0.5, torch.cat([label for _, label in batches])  # the weights' own normalisation


def _each(loader: object) -> Iterator[tuple[Tensor, Tensor]]:
    for batch in loader:  # pyright: ignore[reportGeneralTypeIssues]
        clip = batch["clip"]
        yield (clip[:, 0] if clip.ndim == 6 else clip), batch["label"]


def main() -> None:
    """Train every row with every seed and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, help="what scripts/efficientnet_lite0.py wrote")
    parser.add_argument("--network", choices=list(NETWORKS), default=next(iter(NETWORKS)), help="timm's name")
    parser.add_argument("--videos", type=int, default=960, help="synthetic videos, a third of them held out")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--num-frames", type=int, default=8)
    parser.add_argument("--size", type=int, default=96, help="height and width of the clips, in pixels")
    parser.add_argument("--data", type=Path, help="synthetic videos that are there already")
    parser.add_argument("--write", action="store_true", help=f"keep the table in docs/results/{OUT.name}")
    options = parser.parse_args()
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        root = options.data or Path(folder) / "videos"
        if options.data is None:
            synthesize(root, num_videos=options.videos, val_fraction=1 / 3, frame_size=(72, 96))
        shape = {"num_frames": options.num_frames, "size": options.size}
        (train_clips, train_labels), (val_clips, val_labels) = (
            read_clips(root, split, **shape) for split in ("train", "val")
        )
    plain = build(options.network, "", options.weights, options.num_frames)
    train_features, val_features = (compute_features(plain, clips) for clips in (train_clips, val_clips))
    rows: dict[str, str] = {}
    models: dict[str, nn.Module] = {}
    for name, block in BLOCKS.items():
        scores: list[float] = []
        for seed in range(options.seeds):
            torch.manual_seed(seed)
            model = build(options.network, block, options.weights, options.num_frames)
            train(model, train_features, train_labels, epochs=options.epochs, seed=seed)
            scores.append(100 * accuracy(model, val_features, val_labels))
            with torch.no_grad():  # the stored features stand for the network's own
                torch.testing.assert_close(
                    classify(model, val_features[:2]), model(val_clips[:2]), rtol=1e-3, atol=1e-3
                )
        trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        flops = count_flops(model, (3, options.num_frames, options.size, options.size)) / 1e9
        spread = f" ± {statistics.stdev(scores):.1f}" if len(scores) > 1 else ""
        top1 = f"{statistics.mean(scores):.1f}{spread} | {min(scores):.1f}"
        rows[name] = f"| {name} | {top1} | {trained / 1e3:.0f} k | {flops:.3f}"
        models[name] = model
        print(rows[name], f"{time.process_time() - started:.0f} s", file=sys.stderr, flush=True)
    clips = val_clips[:4].contiguous()
    seconds = interleave({name: run_inference(model, clips) for name, model in models.items()}, "cpu", rounds=9)
    table = "\n".join(
        [
            "| block after the last stage | top-1 % | lowest run | parameters that train | GFLOPs | clips/s |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            *(f"{row} | {len(clips) / seconds[name]:.1f} |" for name, row in rows.items()),
        ]
    )
    ceiling = 100 * permutation_invariant_ceiling()
    versions = ", ".join(f"{name} {version}" for name, version in library_versions().items())
    note = (
        f"{len(train_labels)} training and {len(val_labels)} held-out synthetic videos, {options.num_frames} frames of "
        f"{options.size} pixels, {options.epochs} epochs, AdamW 0.003, no augmentation; mean ± sample deviation over "
        f"{options.seeds} seeds of head and block. What ignores the order of frames can reach {ceiling:.2f} %. "
        "Clips/s: inference of the whole network, fused, all rows in turns, medians. "
        f"{describe_machine(torch.get_num_threads())}, {time.process_time() - started:.0f} s of CPU time for all of "
        f"it.\n\nVersions: {versions}."
    )
    print(f"{table}\n\n{note}")
    if options.write:
        first = options.network == next(iter(NETWORKS))
        network = "" if first else f" --network {options.network}"
        command = f"python benchmarks/adapters.py LITE0.safetensors{network} --seeds {options.seeds} --write"
        title = f"# Adapters on a frozen {options.network}, {NETWORKS[options.network]}"
        out = OUT if first else OUT.with_name(f"adapters_{options.network}.md")
        write_text(out, f"{title}\n\n```sh\n{command}\n```\n\n{table}\n\n{note}\n")


if __name__ == "__main__":
    main()
