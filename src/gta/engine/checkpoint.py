"""Checkpoints that describe themselves.

A `.ckpt` file is a Lightning checkpoint with one more key, "gta": a plain dictionary that says which model it is (the
arguments of `create_model`), its classes, how a video becomes a clip, and which versions wrote it. Evaluating and
predicting need nothing else. Every file loads with `weights_only=True`, so it cannot run code.
"""

import importlib.metadata
import io
import platform
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gta._version import __version__
from gta.engine.writing import clear_failures
from gta.errors import CheckpointError
from gta.files import atomic_path

FORMAT = 1
"""Version of the layout of the "gta" entry."""

MODEL_PREFIX = "model."
"""Prefix of the network's weights in the Lightning state dict."""


@dataclass(frozen=True)
class Checkpoint:
    """What `read_checkpoint` found: the description and the network's own weights (averaged ones, if kept)."""

    path: Path
    description: dict[str, Any]
    state_dict: dict[str, Tensor]
    epoch: int
    step: int

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the model's outputs."""
        return tuple(self.description["classes"])

    @property
    def reversals(self) -> dict[str, str]:
        """Classes that are each other's time reversal, as far as the data set says."""
        return dict(self.description.get("reversals", {}))


def describe(
    *,
    model: dict[str, Any],
    classes: tuple[str, ...] | list[str],
    clip: dict[str, Any],
    reversals: dict[str, str] | None = None,
) -> dict[str, Any]:
    """Build the "gta" entry of a checkpoint.

    Args:
        model: arguments that rebuild the network with `create_model` (plain JSON values).
        classes: names of the classes in the order of the model's outputs.
        clip: a resolved ClipConfig as plain JSON values (`gta.config.config_to_json`).
        reversals: name -> name of the class that is its time reversal.
    """
    return {
        "format": FORMAT,
        "model": dict(model),
        "classes": list(classes),
        "clip": dict(clip),
        "reversals": dict(reversals or {}),
        "versions": library_versions(),
    }


def library_versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries that results depend on."""
    versions = {"gta": __version__, "python": platform.python_version(), "torch": str(torch.__version__)}
    for name in ("torchvision", "timm", "lightning", "torchmetrics", "av", "numpy"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def write_checkpoint(path: str | Path, content: dict[str, Any]) -> None:
    """Write a checkpoint atomically: whoever is killed while writing leaves the previous file whole.

    Raises:
        RunFolderError: the disk is full or the folder cannot be written; the previous file is intact.
    """
    path = Path(path)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with clear_failures(path), atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(buffer.getbuffer())


def load_file(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint file of this package on the CPU, safely.

    Raises:
        CheckpointError: the file is missing, damaged or of another kind; the text says which.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(f"{path}: no such checkpoint file")
    if path.is_dir():
        raise CheckpointError(f"{path}: this is a folder; give a checkpoint file in it, such as {path / 'best.ckpt'}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        with zipfile.ZipFile(path) as archive:  # PyTorch writes check sums and does not look at them
            damaged = archive.testzip()
    except OSError:
        raise
    except Exception as error:  # torch.load raises whatever its parsers meet in a foreign or damaged file
        raise CheckpointError(
            f"{path}: not a checkpoint that can be read safely (damaged, or of another kind): "
            "give a .ckpt file that `gta train` wrote"
        ) from error
    if damaged is not None:
        raise CheckpointError(f"{path}: damaged, its check sums do not match: take another checkpoint of the run")
    if not isinstance(content, dict) or not isinstance(content.get("gta"), dict):
        raise CheckpointError(
            f"{path}: a PyTorch file, but not a checkpoint of gta: give a .ckpt that `gta train` wrote"
        )
    found = content["gta"].get("format")
    if found != FORMAT:
        raise CheckpointError(f"{path}: checkpoint format {found}, but this gta reads format {FORMAT}: update gta")
    missing = [key for key in ("model", "classes", "clip") if key not in content["gta"]]
    if missing or not isinstance(content.get("state_dict"), dict):
        raise CheckpointError(f"{path}: the checkpoint lacks {', '.join(missing or ['its weights'])}")
    return content


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint for evaluation or prediction.

    Returns:
        The description and the network's weights without any prefix; the averaged weights where the run kept some.

    Raises:
        CheckpointError: the file is missing, damaged or of another kind.
    """
    content = load_file(path)
    weights = {
        name.removeprefix(MODEL_PREFIX): value
        for name, value in content["state_dict"].items()
        if name.startswith(MODEL_PREFIX)
    }
    if not weights:
        raise CheckpointError(f"{path}: the checkpoint holds no weights of a model")
    weights.update(content.get("averaged") or {})
    return Checkpoint(
        path=Path(path),
        description=content["gta"],
        state_dict=weights,
        epoch=int(content.get("epoch", 0)),
        step=int(content.get("global_step", 0)),
    )


def load_weights(model: torch.nn.Module, checkpoint: Checkpoint) -> None:
    """Load a checkpoint's weights into the network that its description built.

    Raises:
        CheckpointError: names or shapes differ; the text names the first that does.
    """
    try:
        model.load_state_dict(checkpoint.state_dict)
    except RuntimeError as error:
        detail = " ".join(str(error).split("\n\t")[1:2]) or str(error)
        raise CheckpointError(
            f"{checkpoint.path}: the weights do not fit the model: {' '.join(detail.split())}"
        ) from error
