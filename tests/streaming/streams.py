"""Predictors with lively random weights, and files as streams of frames with their times."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import torch

import gta
from gta.config import ClipConfig
from gta.predictor import Predictor
from gta.video.conversion import to_rgb

CLASSES = tuple("abcdefg")


def lively(model: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Weights with which every block changes the answer: blocks start as the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
        for name, value in model.named_buffers():
            if name.endswith("running_mean"):
                value.add_(0.1 * torch.randn(value.shape, generator=generator))
    return model.eval()


def predictor_of(name: str, clip: ClipConfig, **arguments: object) -> Predictor:
    model = gta.create_model(name, num_classes=len(CLASSES), num_frames=clip.num_frames, **arguments)
    return Predictor(lively(model), classes=CLASSES, clip=clip)


def frames_of(path: Path) -> tuple[Fraction, Iterator[tuple[torch.Tensor, float]]]:
    """The time base of a file, and its frames with their times."""
    with av.open(str(path)) as container:
        base = container.streams.video[0].time_base
    assert base is not None

    def frames() -> Iterator[tuple[torch.Tensor, float]]:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield to_rgb(frame, compact=True), float(frame.pts * base)

    return base, frames()


def store_checkpoint(path: Path, clip: ClipConfig) -> Path:
    """A checkpoint of tiny_gta as a training run writes it."""
    from gta.checkpoint import write_checkpoint
    from gta.config import config_to_json
    from gta.model_card import describe

    model = predictor_of("tiny_gta", clip).model
    card = describe(model=model.arguments, classes=CLASSES, clip=config_to_json(clip))
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    write_checkpoint(path, {"gta": card, "state_dict": weights})
    return path
