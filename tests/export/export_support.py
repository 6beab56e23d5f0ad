"""Small checkpoints with uneven weights, and videos, for the tests of exporting."""

import json
import subprocess
import sys
from pathlib import Path

import torch

import gta
from gta.checkpoint import write_checkpoint
from gta.config import ClipConfig, config_to_json
from gta.model_card import describe

CLASSES = ("Opening something", "Closing <b>something", "פתיחה")
CLIP = ClipConfig(num_frames=4, crop_size=32, resize=(36, 48), test_crops=3)


def randomise(model: torch.nn.Module) -> torch.nn.Module:
    """Every parameter and running statistic away from its start, so that no branch is nothing; outputs stay small."""
    torch.manual_seed(0)
    for name, value in model.state_dict().items():
        if name.endswith("running_var") or (name.endswith("weight") and value.ndim == 1):
            value.uniform_(0.6, 1.4)
        elif value.is_floating_point():
            fan = max(1, value[0].numel()) if value.ndim > 1 else 25
            value.normal_(std=fan**-0.5)
    return model.eval()


def small_checkpoint(path: Path, name: str = "tiny_gta", clip: ClipConfig = CLIP) -> Path:
    """A checkpoint of a model of ours with three classes."""
    model = randomise(gta.create_model(name, num_classes=len(CLASSES), num_frames=clip.num_frames))
    card = describe(model=model.arguments, classes=CLASSES, clip=config_to_json(clip))
    write_checkpoint(path, {"gta": card, "state_dict": {f"model.{k}": v for k, v in model.state_dict().items()}})
    return path


def modules_after(program: str, *arguments: str) -> set[str]:
    """The top-level modules that a new Python has loaded after running `program` with these arguments."""
    code = f"{program}\nimport json, sys\nprint(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))
