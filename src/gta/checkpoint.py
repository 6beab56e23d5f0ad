"""The checkpoint format, and the only reader of it (low floor: PyTorch, no Lightning, no timm).

A `.ckpt` is what `torch.save` writes of a dictionary with these entries:

    "gta"          the model card (`gta.model_card.ModelCard`) as plain values
    "state_dict"   the weights that train, each name with the prefix "model."
    "averaged"     the averaged weights, without prefix, if the run kept some: the ones that were validated
    "epoch", "global_step", "batches_done", "run", "training", ...   where a run continues (`gta.training.run_state`)

Files that `gta convert` writes are safetensors with the card, as JSON, in the metadata. Whoever reads one of both -
to predict, evaluate, convert, resume or start from it - goes through here: checksums first, nothing but plain values
and tensors (a pickle cannot run code), and every part checked before it is used.
"""

import errno
import io
import json
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from gta.errors import CheckpointError
from gta.files import DISK_ERRORS, atomic_path, clear_failures
from gta.hub import WEIGHTS, fetch_weights, hub_name
from gta.model_card import EXPORTED_CARD, ModelCard
from gta.stored import StoredError, entry, mapping, parse_json, text, whole

MODEL_PREFIX = "model."
"""Prefix of the network's weights in "state_dict"."""

METADATA_KEY = "gta"
"""Where the model card is, in a .ckpt and in the metadata of safetensors."""

_IN_FOLDERS = ("best.ckpt", "last.ckpt", WEIGHTS)  # of training runs, of repositories
_SUM_KEY = "gta_crc32"  # in the metadata of safetensors, which have no checksums of their own: CRC-32 of the data
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_DTYPES = frozenset((*_FLOATS, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool))


@dataclass(frozen=True)
class Checkpoint:
    """A stored network.

    Args:
        path: the file.
        card: its description: model, classes, preprocessing.
        state_dict: name of each parameter and buffer in the network -> its values.
        averaged: whether these are the averaged weights of the run (`--optim.ema-decay`), which were validated.
        epoch: finished epochs; 0 if the file does not tell.
        step: finished optimiser steps; 0 if the file does not tell.
    """

    path: Path
    card: ModelCard
    state_dict: Mapping[str, Tensor]
    averaged: bool = False
    epoch: int = 0
    step: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the model's outputs."""
        return self.card.classes

    @property
    def reversals(self) -> dict[str, str]:
        """Class name -> name of its time reversal, for the classes where it is known."""
        return dict(self.card.reversals)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a network that this package stored: a `.ckpt` of a training run, or a `.safetensors` of `gta convert`.

    Args:
        path: the file, or `hf://owner/name[@revision]` for one that `gta push` has put on a hub.

    Returns:
        The card and the weights; the averaged weights where the run kept some.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind, or says something that cannot be.
    """
    path = fetch_weights(path)
    _require_file(path)
    if path.suffix == ".safetensors":
        tensors, metadata = read_safetensors(path)
        return checkpoint_from_safetensors(path, tensors, metadata)
    return checkpoint_from(path, load_file(path))


def check_checkpoint_present(path: str | Path) -> None:
    """Refuse a local file that is not there, before any work; a model on a hub is not looked for.

    Raises:
        CheckpointError: there is no such file, or the path is a folder or a misspelt address of a hub.
    """
    if hub_name(path) is None:
        _require_file(fetch_weights(path))


def checkpoint_from(path: Path, content: Mapping[str, Any]) -> Checkpoint:
    """The network in the loaded content of a `.ckpt`; errors as `read_checkpoint`."""
    try:
        card = ModelCard.from_plain(entry(content, METADATA_KEY))
        stored = checked_tensors(entry(content, "state_dict", "the checkpoint"), "state_dict")
        weights = {
            name.removeprefix(MODEL_PREFIX): value for name, value in stored.items() if name.startswith(MODEL_PREFIX)
        }
        if not weights:
            raise StoredError("the checkpoint contains no model weights")
        averaged = content.get("averaged")
        if averaged:
            weights.update(check_averaged(averaged, weights))
        _require_finite(weights)
        return Checkpoint(
            path=path,
            card=card,
            state_dict=weights,
            averaged=bool(averaged),
            epoch=whole(content.get("epoch", 0), "epoch"),
            step=whole(content.get("global_step", 0), "global_step"),
        )
    except StoredError as error:
        raise CheckpointError(f"{path}: {error}") from error


def checkpoint_from_safetensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Checkpoint:
    """The network in a safetensors file of ours; errors as `read_checkpoint`.

    Classes without stored names (other code bases' weights) are called "class 0", "class 1", ...
    """
    if METADATA_KEY not in metadata:
        raise CheckpointError(f"{path}: a safetensors file from another program: convert it with gta convert")
    try:
        card = ModelCard.from_plain(parse_json(metadata[METADATA_KEY]))
        if not card.classes and card.num_classes:
            card = replace(card, classes=tuple(f"class {number}" for number in range(card.num_classes)))
        weights = checked_tensors(tensors, "the file")
        _require_finite(weights)
    except StoredError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return Checkpoint(path=path, card=card, state_dict=weights)


def load_file(path: str | Path) -> dict[str, Any]:
    """Load the whole content of a `.ckpt` of this package on the CPU, safely; its card is checked.

    Raises:
        CheckpointError: the file is missing, damaged or of another kind; the text says which.
    """
    path = Path(path)
    _require_file(path)
    try:
        check_sums(path)
        content = load_plain(path)
    except StoredError as error:
        raise CheckpointError(f"{path}: {error}: take another checkpoint of the run") from error
    except CheckpointError:
        raise
    except Exception as error:
        _refuse_foreign(path, error)
    if not isinstance(content, dict) or not isinstance(content.get(METADATA_KEY), dict):
        raise CheckpointError(f"{path}: a PyTorch file, but not a gta checkpoint: give a .ckpt that `gta train` wrote")
    try:
        card = ModelCard.from_plain(content[METADATA_KEY])
        missing = [name for name, value in (("classes", card.classes), ("clip", card.clip)) if not value]
        if not isinstance(content.get("state_dict"), dict):
            missing.append("its weights")
        if missing:
            raise StoredError(f"the checkpoint lacks {', '.join(missing)}")
    except StoredError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return content


def write_checkpoint(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write a checkpoint atomically: whoever is killed while writing leaves the previous file whole.

    Raises:
        RunFolderError: the disk is full or the folder cannot be written; the previous file is intact.
    """
    path = Path(path)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with clear_failures(path), atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(buffer.getbuffer())


# ---- PyTorch's files ----------------------------------------------------------------------------------------------


def check_sums(path: Path) -> None:
    """Compare the checksums of a zip archive, as `torch.save` writes it: PyTorch itself does not look at them.

    Raises:
        StoredError: they do not match, or the archive claims more than the file holds.
        zipfile.BadZipFile: it is not a zip archive.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise StoredError("damaged, it holds compressed parts, which PyTorch never writes")
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise StoredError("damaged, it claims to hold more than there is")
        try:
            damaged = archive.testzip()
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError, zlib.error) as error:
            raise StoredError("damaged, its checksums cannot be read") from error
        except OSError as error:
            if error.errno != errno.EINVAL:  # seeking to before the file begins; anything else is the disk's
                raise
            raise StoredError("damaged, its checksums cannot be read") from error
    if damaged is not None:
        raise StoredError("damaged, its checksums do not match")


def load_plain(path: Path) -> Any:
    """`torch.load` with plain values and tensors only; raises whatever its parsers meet in a foreign file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the insides of damaged files; the error says what matters
        return torch.load(path, map_location="cpu", weights_only=True)


# How torch.load names what it refuses. Its messages as a whole advise to load the file unsafely: users never see them.
_REFUSED = re.compile(r"GLOBAL ([\w.]+)|(?:function|class|[Uu]nsupported type|global:?) (?:<class ')?([\w]+\.[\w.]+)")


def refused_name(error: Exception) -> str | None:
    """The class or function that PyTorch refused to load, from its error; None if it says nothing of the kind."""
    match = _REFUSED.search(str(error))
    return (match[1] or match[2]) if match else None


def _require_file(path: Path) -> None:
    if path.is_dir():
        _refuse_folder(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint file")


def _refuse_folder(path: Path) -> NoReturn:
    """Name what there is in a folder that can be given in its place."""
    if (path / EXPORTED_CARD).is_file():
        raise CheckpointError(
            f"{path}: an exported model only works with predict, evaluate, watch and serve: give the "
            "checkpoint that it was made from"
        )
    files = [path / name for name in _IN_FOLDERS if (path / name).is_file()]
    if files:
        raise CheckpointError(f"{path}: this is a folder; give the checkpoint file in it, {files[0]}")
    raise CheckpointError(f"{path}: this is a folder, without {', '.join(_IN_FOLDERS)}; give a checkpoint file")


def _refuse_foreign(path: Path, error: Exception) -> NoReturn:
    """Say in one line that a file could not be parsed, whatever the parser raised."""
    if isinstance(error, OSError) and error.errno in {*DISK_ERRORS, errno.EIO}:
        raise CheckpointError(f"{path}: it cannot be read ({error.strerror})") from error
    name = refused_name(error)
    kind = f"it refers to {name}" if name else "damaged, or of another kind"
    raise CheckpointError(
        f"{path}: not a checkpoint that can be read safely ({kind}): give a .ckpt file that `gta train` wrote"
    ) from error


# ---- tensors ------------------------------------------------------------------------------------------------------


def checked_tensors(values: object, name: str) -> dict[str, Tensor]:
    """The tensors of a mapping by name, each an ordinary one on the CPU that holds what its shape says.

    A file can describe tensors without contents, or of terabytes over one stored number; using them would fail later.

    Raises:
        StoredError: `values` is no such mapping; the text names the first entry that does not fit.
    """
    found = mapping(values, name)
    for key, value in found.items():
        text(key, f"a name in {name}")
        if not isinstance(value, Tensor):
            raise StoredError(f"{key} in {name} is a {type(value).__name__}, not a tensor")
        if value.layout != torch.strided or value.device.type != "cpu" or value.dtype not in _DTYPES:
            raise StoredError(f"{key} in {name} is a tensor of an unusual kind ({value.dtype}, {value.layout})")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise StoredError(f"{key} in {name} has shape {tuple(value.shape)}, but fewer stored numbers")
    return dict(found)


def check_averaged(values: object, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The averaged weights of a run, checked against the weights that they are averages of.

    Raises:
        StoredError: names, shapes or types differ.
    """
    averaged = checked_tensors(values, "averaged")
    different = sorted(averaged.keys() ^ weights.keys())
    if different:
        raise StoredError(f"its averaged weights are not those of its model: {different[0]} is in only one of the two")
    for name, value in averaged.items():
        if value.shape != weights[name].shape or value.dtype != weights[name].dtype:
            raise StoredError(f"the averaged {name} and the trained one have different shapes")
    return averaged


def _require_finite(weights: Mapping[str, Tensor]) -> None:
    for name, value in weights.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise StoredError(f"its weight {name} holds NaN or infinite numbers")


def load_weights(model: nn.Module, checkpoint: Checkpoint) -> None:
    """Load a checkpoint's weights into the network that its card describes.

    Raises:
        CheckpointError: names or shapes differ; the text names the first that does.
    """
    try:
        model.load_state_dict(dict(checkpoint.state_dict))
    except RuntimeError as error:
        detail = " ".join(str(error).split("\n\t")[1:2]) or str(error)
        raise CheckpointError(
            f"{checkpoint.path}: the weights do not fit the model: {' '.join(detail.split())}"
        ) from error


# ---- safetensors --------------------------------------------------------------------------------------------------


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file; the checksum that `write_safetensors` adds is compared.

    Raises:
        CheckpointError: the file is damaged or of another kind.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as source:
            metadata = dict(source.metadata() or {})
            tensors = {name: source.get_tensor(name) for name in source.keys()}  # noqa: SIM118  # not a mapping
    except Exception as error:  # the library raises whatever its parser and PyTorch meet in a damaged file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{path}: not a readable safetensors file ({reason})") from error
    stored = metadata.get(_SUM_KEY)
    if stored is not None:
        with path.open("rb") as file:
            if stored != _sum_of_data(file):
                raise CheckpointError(f"{path}: damaged, its checksum does not match")
    return tensors, metadata


def write_safetensors(path: str | Path, tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> None:
    """Write tensors with a model card (plain values) as safetensors, with a check sum, atomically."""
    from safetensors.torch import save

    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {METADATA_KEY: json.dumps(card, allow_nan=False)}
    data = io.BytesIO(save(stored, metadata=metadata))
    metadata[_SUM_KEY] = _sum_of_data(data)  # which the metadata are no part of
    content = save(stored, metadata=metadata)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def _sum_of_data(file: io.BufferedIOBase) -> str:
    """CRC-32 of everything behind the header of a safetensors file, eight hexadecimal digits."""
    file.seek(8 + int.from_bytes(file.read(8), "little"))
    total = 0
    while chunk := file.read(2**20):
        total = zlib.crc32(chunk, total)
    return f"{total:08x}"
