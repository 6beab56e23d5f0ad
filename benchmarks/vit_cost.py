"""What adapters cost in a ViT-B/16: `python benchmarks/vit_cost.py --write`.

Multiply-adds and time of inference (8x224, one clip, one thread, fused; contenders in turn, medians) as multiples of
the bare network's, and what a training step keeps in memory with the backbone frozen, as a share of full fine-tuning of
the same network (`benchmarks/frozen_memory.py` says what is counted). Prints a Markdown table; --write keeps it in
docs/results/vit_cost.md.
"""

import argparse
from pathlib import Path

import torch
from torch import nn

from blocks import interleave, run_inference
from frozen_memory import step_memory
from gta.files import write_text
from gta.model_card import library_versions
from gta.models.flops import count_flops
from gta.models.registry import create_model
from gta.studies.cell import describe_machine

NETWORK = "vit_base_patch16_224"
FRAMES, SIZE, CLIPS = 8, 224, 4
CONTENDERS: dict[str, tuple[str, dict[str, object]]] = {
    "bare": ("", {}),
    "GTA in 3 blocks (the default)": ("_gta", {}),
    "pixel GTA in all 12": ("_pixel_gta", {"at": {"blocks": "all"}}),
    "ST-Adapter in all 12": ("_st_adapter", {"at": {"blocks": "all"}}),
    "AIM's attention over time in all 12": ("_aim", {"at": {"blocks": "all"}}),
}
OUT = Path(__file__).parents[1] / "docs" / "results" / "vit_cost.md"


def build(suffix: str, options: dict[str, object]) -> nn.Module:
    """The network with one kind of block."""
    return create_model(NETWORK + suffix, num_classes=174, num_frames=FRAMES, **options)  # pyright: ignore[reportArgumentType]


def frozen_share(suffix: str, options: dict[str, object]) -> float:
    """Memory of a training step with the backbone frozen over that of full fine-tuning."""
    frozen, whole = (
        sum(step_memory(NETWORK + suffix, frozen=frozen, clips=CLIPS, size=SIZE, num_frames=FRAMES, **options).values())
        for frozen in (True, False)
    )
    return frozen / whole


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often each contender is timed")
    parser.add_argument("--write", action="store_true", help=f"keep the table in docs/results/{OUT.name}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    models = {name: build(*contender) for name, contender in CONTENDERS.items()}
    flops = {name: count_flops(model, (3, FRAMES, SIZE, SIZE)) for name, model in models.items()}
    clip = torch.randn(1, 3, FRAMES, SIZE, SIZE)
    seconds = interleave({name: run_inference(model, clip) for name, model in models.items()}, "cpu", options.rounds)
    rows = [
        "| adapters | parameters added | GFLOPs | x bare | time x bare | memory, frozen : full |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    bare = sum(parameter.numel() for parameter in models["bare"].parameters())
    for name, model in models.items():
        added = sum(parameter.numel() for parameter in model.parameters()) - bare
        rows.append(
            f"| {name} | {added / 1e6:.2f} M | {flops[name] / 1e9:.1f} | {flops[name] / flops['bare']:.3f} | "
            f"{seconds[name] / seconds['bare']:.3f} | {frozen_share(*CONTENDERS[name]):.2f} |"
        )
    table = "\n".join(rows)
    versions = ", ".join(f"{name} {version}" for name, version in library_versions().items())
    note = (
        f"`{NETWORK}`, {FRAMES} frames of {SIZE} pixels, random weights. Time: inference of one clip in float32, CPU "
        f"time of one thread, median of {options.rounds} rounds in turns. Memory: weights, gradients, AdamW's averages "
        f"and kept activations of a training step on {CLIPS} clips. {describe_machine(1)}.\n\nVersions: {versions}."
    )
    print(f"{table}\n\n{note}")
    if options.write:
        title = "# What adapters cost in a ViT-B/16"
        write_text(OUT, f"{title}\n\n```sh\npython benchmarks/vit_cost.py --write\n```\n\n{table}\n\n{note}\n")


if __name__ == "__main__":
    main()
