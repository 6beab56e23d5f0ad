"""Small models with the synthetic classes."""

from pathlib import Path

import torch

import gta
from gta.checkpoint import write_checkpoint
from gta.config import ClipConfig, config_to_json
from gta.model_card import describe
from gta.predictor import Predictor
from gta.synthetic import CLASSES

NAMES = tuple(CLASSES)


def predictor(name: str = "tiny_gta", side: int = 48) -> Predictor:
    torch.manual_seed(0)
    model = gta.create_model(name, num_classes=len(NAMES), num_frames=8)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    clip = ClipConfig(num_frames=8, crop_size=side, resize=(48, 64), test_crop_size=side)
    return Predictor(model, classes=NAMES, clip=clip, device="cpu")


def store(made: Predictor, path: Path) -> Path:
    """Write a predictor's model as a checkpoint."""
    card = describe(model=made.model.arguments, classes=NAMES, clip=config_to_json(made.clip))
    weights = {f"model.{name}": value for name, value in made.model.state_dict().items()}
    write_checkpoint(path, {"gta": card, "state_dict": weights})
    return path
