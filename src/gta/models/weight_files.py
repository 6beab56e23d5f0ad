"""Reading files of weights without running anything that they contain."""

import io
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gta.checkpoint import (
    METADATA_KEY,
    Checkpoint,
    check_sums,
    checked_tensors,
    checkpoint_from,
    checkpoint_from_safetensors,
    read_safetensors,
    refused_name,
)
from gta.errors import CheckpointError
from gta.hub import fetch_weights
from gta.model_card import ModelCard
from gta.stored import StoredError

_WRAPPERS = ("model_state", "state_dict", "model", "blobs")  # under which code bases keep their weights
_PREFIXES = ("module.", "model.", "_orig_mod.")  # of wrappers, before every key


@dataclass(frozen=True)
class WeightFile:
    """What a file of weights holds: tensors by name, our own model card (None in foreign files), `cfg` of PySlowFast.

    `averaged` tells whether these are the averaged weights of a run of ours, the ones that were validated.
    """

    path: Path
    tensors: dict[str, Tensor]
    card: ModelCard | None = None
    config: object = None
    averaged: bool = False


def read_weights(path: str | Path) -> WeightFile:
    """Read a file of weights: `.safetensors`, a PyTorch file (`.pth`, `.pyth`, `.pt`, `.ckpt`) or a Caffe2 `.pkl`.

    Args:
        path: the file, or `hf://owner/name[@revision]` for one that `gta push` has put on a hub.

    Raises:
        CheckpointError: the file is missing, damaged, or holds anything but arrays in plain containers.
    """
    path = fetch_weights(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file; give the path of a file of weights")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    _check_sums(path)
    content = _read_caffe2(path) if path.suffix == ".pkl" else _read_torch(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: it holds a {type(content).__name__}, not weights by name")
    if isinstance(content.get(METADATA_KEY), Mapping):
        return _own(checkpoint_from(path, content))
    config = content.get("cfg")
    weights = content
    for wrapper in _WRAPPERS:
        if isinstance(weights.get(wrapper), Mapping):
            weights = weights[wrapper]
            break
    try:
        tensors = {str(name): _tensor(value) for name, value in weights.items() if _is_array(value)}
        tensors = strip_wrappers(checked_tensors(tensors, "the file"))
    except (TypeError, StoredError) as error:
        raise CheckpointError(f"{path}: {error}") from None
    if not tensors:
        raise CheckpointError(f"{path}: no weights were found in it")
    return WeightFile(path, tensors, config=config)


def strip_wrappers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without the prefix that a wrapper (data-parallel training, compilation, a module around) gave to all.

    PySlowFast's PTVSlowFast, for instance, is pytorchvideo's network under `model.`.
    """
    stripped = dict(tensors)
    while stripped:
        prefix = next((word for word in _PREFIXES if all(key.startswith(word) for key in stripped)), None)
        if prefix is None:
            break
        stripped = {key.removeprefix(prefix): value for key, value in stripped.items()}
    return stripped


def _own(checkpoint: Checkpoint) -> WeightFile:
    return WeightFile(
        checkpoint.path,
        dict(checkpoint.state_dict),
        card=checkpoint.card,
        averaged=checkpoint.averaged,
    )


def _check_sums(path: Path) -> None:
    """Refuse a zip archive, as PyTorch writes it, whose checksums do not match; older files have none."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            script = any(name.endswith("/constants.pkl") for name in archive.namelist())
        if script:
            raise StoredError("it is a TorchScript archive, a program: save the state_dict() of its module instead")
        check_sums(path)
    except (StoredError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"{path}: {error}") from error


def _read_safetensors(path: Path) -> WeightFile:
    tensors, metadata = read_safetensors(path)
    if METADATA_KEY in metadata:
        return _own(checkpoint_from_safetensors(path, tensors, metadata))
    try:
        return WeightFile(path, strip_wrappers(checked_tensors(tensors, "the file")))
    except StoredError as error:
        raise CheckpointError(f"{path}: {error}") from None


def _read_torch(path: Path) -> Any:
    # Old training scripts keep their best score as a NumPy number; it is harmless, and refused unless named.
    scalar = np.float64(0).__reduce__()[0]
    names = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    allowed = [*names, np.dtype, *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8"))]
    try:
        with torch.serialization.safe_globals(allowed):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever its parsers meet in a foreign or damaged file
        raise CheckpointError(f"{path}: {_why_refused(error)}") from None


def _why_refused(error: Exception) -> str:
    """One line of our own on why PyTorch could not read a file."""
    if name := refused_name(error):
        return f"it is refused, since it refers to {name}; only weights in plain containers are read (a state_dict())"
    if isinstance(error, pickle.UnpicklingError):
        return "it holds more than weights in plain containers, or is damaged"
    return f"not a readable file of weights ({type(error).__name__})"


# What a pickle of arrays in plain containers refers to, under NumPy's old and new module names.
_ALLOWED = {
    (module, name)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    for name in ("_reconstruct", "scalar")
} | {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
}


class _ArrayUnpickler(pickle.Unpickler):
    """Admits arrays and plain containers only: a pickle that refers to anything else is refused, not run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}")
        return super().find_class(module, name)


def _read_caffe2(path: Path) -> Any:
    try:
        return _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path}: refused: {error}; only arrays are read from pickles") from None
    except Exception as error:  # unpickling raises whatever damaged instructions lead to
        raise CheckpointError(f"{path}: not a readable pickle of arrays ({type(error).__name__})") from None


def _is_array(value: object) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "fiu")


def _tensor(value: Tensor | np.ndarray) -> Tensor:
    return (
        value
        if isinstance(value, Tensor)
        else torch.from_numpy(np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("=")))
    )
