"""Our blocks beside the non-local block of PySlowFast, all on channels-first features: `--write` keeps the table.

Networks in PyTorch's plain memory order are what people insert the blocks into first. All blocks pool keys and values
before their projection, as PySlowFast does. Training is a forward and a backward pass; in inference our blocks are
fused (`gta.fuse`). CPU time of one thread, contenders in turn, medians.

    python benchmarks/blocks_contiguous.py --write
"""

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gta
from blocks import interleave, run_inference, run_training
from gta.blocks import create_block
from gta.studies.cell import describe_machine

SHAPES = {"res3": (512, 8, 28, 28), "res4": (1024, 8, 14, 14)}  # C, T, H, W
OUT = Path(__file__).parents[1] / "docs" / "results" / "blocks_contiguous.md"


class PooledNonLocal(nn.Module):
    """The non-local block with keys and values of pooled features, with the axes as PySlowFast has them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = channels // 2
        self.theta, self.phi, self.g = (nn.Conv3d(channels, self.inner, 1) for _ in range(3))
        self.out, self.norm = nn.Conv3d(self.inner, channels, 1), nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Attend from every position to the pooled ones of all frames."""
        pooled = F.max_pool3d(x, (1, 2, 2))
        query, key, value = (part.flatten(2) for part in (self.theta(x), self.phi(pooled), self.g(pooled)))
        weights = F.softmax(torch.einsum("bcq,bck->bqk", query, key) * self.inner**-0.5, dim=2)
        found = torch.einsum("bqk,bck->bcq", weights, value)
        return x + self.norm(self.out(found.view(*found.shape[:2], *x.shape[2:])))


def measure(shape: tuple[int, ...], *, training: bool, rounds: int) -> dict[str, float]:
    """Median seconds of each block."""
    x = torch.randn(1, *shape)
    channels, frames = shape[:2]
    blocks: dict[str, nn.Module] = {
        name: create_block(name, channels=channels, num_frames=frames, pool="before") for name in ("nl", "gta")
    }
    if not training:
        blocks = {name: gta.fuse(block.eval()) for name, block in blocks.items()}
    blocks = {"PySlowFast's": PooledNonLocal(channels), **blocks}
    make = run_training if training else run_inference
    return interleave({name: make(block, x) for name, block in blocks.items()}, "cpu", rounds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9, help="how often every contender is timed")
    parser.add_argument("--write", action="store_true", help="write docs/results/blocks_contiguous.md")
    options = parser.parse_args()
    torch.set_num_threads(1)
    lines = ["| features | pass | PySlowFast's non-local (ms) | nl | gta |", "| --- | --- | ---: | ---: | ---: |"]
    for where, shape in SHAPES.items():
        for training in (True, False):
            seconds = measure(shape, training=training, rounds=options.rounds)
            theirs = seconds["PySlowFast's"]
            size = "x".join(map(str, shape))
            kind = "training" if training else "inference"
            ratios = " | ".join(f"{seconds[name] / theirs:.2f}x" for name in ("nl", "gta"))
            lines.append(f"| {where}: 1x{size} | {kind} | {1e3 * theirs:.0f} | {ratios} |")
    text = "\n".join(["# The blocks on channels-first features", "", _about(), "", *lines])
    print(text)
    if options.write:
        OUT.write_text(f"{text}\n\n`python benchmarks/blocks_contiguous.py --write` makes this page.\n", "utf-8")


def _about() -> str:
    processor = describe_machine(1).partition(",")[0]
    return (
        f"Measured on: {processor}, PyTorch {torch.__version__}, one thread, CPU time. A ratio below 1 is faster than "
        "PySlowFast's own formulation of the non-local block; keys and values are pooled "
        "before their projection everywhere."
    )


if __name__ == "__main__":
    main()
