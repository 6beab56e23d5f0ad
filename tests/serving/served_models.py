"""Small models with the synthetic classes, and `gta serve` as a process of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

import gta
from gta.checkpoint import write_checkpoint
from gta.config import ClipConfig, config_to_json
from gta.model_card import describe
from gta.predictor import Predictor
from gta.synthetic import CLASSES

NAMES = tuple(CLASSES)
HEAD_SCALE = 4.0


def predictor(name: str = "tiny_gta", side: int = 48) -> Predictor:
    torch.manual_seed(0)
    model = gta.create_model(name, num_classes=len(NAMES), num_frames=8)
    for key, value in model.state_dict().items():  # every branch counts, and what the head makes of it differs clearly
        if key.endswith("running_var") or (key.endswith("weight") and value.ndim == 1):
            value.uniform_(0.6, 1.4)
        elif value.is_floating_point():
            fan = max(1, value[0].numel()) if value.ndim > 1 else 25
            value.normal_(std=HEAD_SCALE * fan**-0.5 if key.startswith("head") else fan**-0.5)
    clip = ClipConfig(num_frames=8, crop_size=side, resize=(48, 64), test_crop_size=side)
    return Predictor(model, classes=NAMES, clip=clip, device="cpu")


def store(made: Predictor, path: Path) -> Path:
    """Write a predictor's model as a checkpoint."""
    card = describe(model=made.model.arguments, classes=NAMES, clip=config_to_json(made.clip))
    weights = {f"model.{name}": value for name, value in made.model.state_dict().items()}
    write_checkpoint(path, {"gta": card, "state_dict": weights})
    return path


@contextmanager
def serving(words: Sequence[str], log: Path, **environment: str) -> Iterator[tuple[str, int]]:
    """`gta serve` with these words: its address and its process; it must end by itself when it is told to."""
    with log.open("a") as file:
        program = subprocess.Popen(
            [sys.executable, "-m", "gta", "serve", *words, "--device", "cpu", "--num-workers", "1"],
            stdout=subprocess.PIPE,
            stderr=file,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **environment},
        )
        try:
            assert program.stdout is not None
            yield program.stdout.readline().split()[0], program.pid
        finally:
            program.terminate()
            assert program.wait(120) == 0
