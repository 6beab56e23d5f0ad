"""Small whole files of every kind that the project reads back, and readers that use them as a user would."""

from pathlib import Path
from typing import Any

import torch

from gta.checkpoint import write_checkpoint
from gta.config import ClipConfig, config_to_json
from gta.model_card import describe
from gta.models.registry import create_model

CLASSES = ("left", "right", "still")
CLIP = ClipConfig(num_frames=4, crop_size=32, resize=(36, 48))


def tiny_model(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return create_model("tiny_gta", num_classes=len(CLASSES), num_frames=4)


def checkpoint_content(**changes: Any) -> dict[str, Any]:
    """A checkpoint as a training run writes it, less what only resuming needs; keywords change or add entries."""
    model = tiny_model()
    card = describe(
        model=model.arguments,
        classes=CLASSES,
        clip=config_to_json(CLIP),
        reversals={"left": "right", "right": "left"},
    )
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    return {"gta": card, "state_dict": weights, "epoch": 2, "global_step": 30, **changes}


def write_tiny(path: Path, **changes: Any) -> Path:
    write_checkpoint(path, checkpoint_content(**changes))
    return path
