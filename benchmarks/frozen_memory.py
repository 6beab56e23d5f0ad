"""Memory that a training step keeps, with everything training and with the backbone frozen.

    python benchmarks/frozen_memory.py --clips 4 --models r2d50_gta tsm50_gta

Counts, without computing anything (shapes only, so it takes seconds on any machine): weights and buffers, gradients,
AdamW's two averages of what trains, and the activations that autograd keeps for the backward pass, each storage once.
Temporary memory inside an operation is not counted. Prints a Markdown table.
"""

import argparse

import torch
from torch import Tensor, nn

from gta.models.registry import create_model

MIB = 2**20


def kept_activations(model: nn.Module, clip: Tensor) -> int:
    """Bytes of what a forward pass keeps for the backward pass, weights and buffers not counted."""
    own = {value.untyped_storage()._cdata for value in (*model.parameters(), *model.buffers())}
    storages: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        key = tensor.untyped_storage()._cdata
        if key not in own:
            storages[key] = tensor  # held, so that no later storage gets the same address
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model(clip).sum()
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


def step_memory(name: str, *, frozen: bool, clips: int, size: int, **options: object) -> dict[str, int]:
    """Bytes of a training step by what they are for.

    Args:
        name: model for `create_model`, which takes the options.
        frozen: freeze the backbone.
        clips: clips per step.
        size: height and width of a clip, in pixels.
        options: further arguments of the model.
    """
    with torch.device("meta"):
        model = create_model(name, num_classes=174, **options).train()  # pyright: ignore[reportArgumentType]
        clip = torch.empty(clips, 3, model.num_frames, size, size)
    if frozen:
        model.freeze_backbone()
    weights = sum(value.numel() * value.element_size() for value in (*model.parameters(), *model.buffers()))
    trained = sum(value.numel() * value.element_size() for value in model.parameters() if value.requires_grad)
    return {
        "weights": weights,
        "gradients": trained,
        "AdamW": 2 * trained,
        "activations": kept_activations(model, clip),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["r2d50_gta", "tsm50_gta", "efficientnet_lite0_gta"])
    parser.add_argument("--clips", type=int, default=4, help="clips per step")
    parser.add_argument("--size", type=int, default=224, help="height and width of a clip, in pixels")
    options = parser.parse_args()
    heads = ("weights", "gradients", "AdamW", "activations")
    print(f"| model | backbone | {' | '.join(heads)} | all, MiB | share |")
    print("| --- | --- |" + " ---: |" * 6)
    for name in options.models:
        whole = 0
        for frozen in (False, True):
            memory = step_memory(name, frozen=frozen, clips=options.clips, size=options.size)
            total = sum(memory.values())
            whole = whole or total
            cells = " | ".join(f"{memory[key] / MIB:.0f}" for key in heads)
            kind = "frozen" if frozen else "trains"
            print(f"| {name} | {kind} | {cells} | {total / MIB:.0f} | {total / whole:.2f} |", flush=True)


if __name__ == "__main__":
    main()
