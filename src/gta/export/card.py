"""What an exported folder says of itself: `card.json`, beside the model's files (imports no PyTorch).

The card is the model card of a checkpoint (`gta.model_card`: classes, the whole clip configuration, reversals,
versions) with one more entry, "export":

    "runtime", "precision"        what runs it, and in which arithmetic
    "input", "output"             name, dtype and shape of the only input and output; null is any number of clips
    "opset"                       of ONNX, else null
    "files"                       name -> SHA-256 and size of each file of the model, the first of which is opened
    "source"                      name and SHA-256 of the checkpoint, if there was one
    "parity", "accuracy", "speed" what was measured after writing, as far as it was
    "licence"                     whose terms hold
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from gta.config import ClipConfig
from gta.errors import CheckpointError
from gta.files import sha256
from gta.model_card import EXPORTED_CARD, ModelCard
from gta.stored import StoredError, entry, mapping, read_json, text, whole

CARD = EXPORTED_CARD
"""Name of the card in an exported folder."""

EXPORT_KEY = "export"

RuntimeName = Literal["torch", "onnx", "openvino", "aoti"]
ExportPrecision = Literal["float32", "bf16", "int8"]
Output = Literal["logits", "probabilities"]

CODE_CARRIERS: tuple[RuntimeName, ...] = ("torch", "aoti")
"""Runtimes whose files can run code of whoever wrote them: pickles and expressions, or machine code."""

LICENCE = (
    "The weights come under the terms of whoever trained them and of the data and starting weights that they were "
    "trained from; exporting changes none of these. The program that wrote this folder (gta-video) is Apache-2.0."
)
LARGEST_BATCH = 65_536
"""The most clips that a card may fix for a call; "any number" has no bound."""


@dataclass(frozen=True)
class ExportCard:
    """The description of an exported folder.

    Args:
        model: classes, clip configuration, reversals, versions and the network's arguments; its clip is never None.
        runtime: what runs the files.
        precision: arithmetic of the exported network.
        output: whether the network ends in logits or in probabilities.
        batch_size: clips per call, or None if any number fits.
        files: name of each file of the model -> its SHA-256 and its size in bytes; the first one is opened.
        opset: version of ONNX's operators, or None.
        source: name and SHA-256 of the checkpoint; empty if there was none.
        measured: "parity", "accuracy" and "speed", as far as they were measured.
    """

    model: ModelCard
    runtime: RuntimeName
    precision: ExportPrecision
    output: Output
    batch_size: int | None
    files: Mapping[str, Mapping[str, Any]]
    opset: int | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes in the order of the output."""
        return self.model.classes

    @property
    def clip(self) -> ClipConfig:
        """How a video becomes clips."""
        assert self.model.clip is not None
        return self.model.clip

    @property
    def clip_shape(self) -> tuple[int, int, int, int]:
        """(C, T, H, W) of a clip; C is 3, or 2L of optical flow."""
        return clip_shape(self.clip)

    def to_plain(self) -> dict[str, Any]:
        """The card as plain JSON values, as `read_card` reads them."""
        channels = "horizontal and vertical part of each flow" if self.clip.flow else "red, green, blue"
        export = {
            "runtime": self.runtime,
            "precision": self.precision,
            "input": {
                "name": "clip",
                "dtype": "uint8",
                "shape": [self.batch_size, *self.clip_shape],
                "meaning": f"clips, channels ({channels}), frames, height, width; 0 to 255, not normalised",
            },
            "output": {"name": self.output, "dtype": "float32", "shape": [self.batch_size, len(self.classes)]},
            "opset": self.opset,
            "files": {name: dict(facts) for name, facts in self.files.items()},
            "source": dict(self.source),
            "licence": LICENCE,
            **self.measured,
        }
        return {**self.model.to_plain(), EXPORT_KEY: export}


def clip_shape(clip: ClipConfig) -> tuple[int, int, int, int]:
    """(C, T, H, W) of the clips that an evaluation with this configuration makes."""
    side = clip.test_crop_size or clip.crop_size
    return clip.channels, clip.num_frames, side, side


def is_exported(path: str | Path) -> bool:
    """Whether `path` is a folder that `gta export` wrote, going by its card alone."""
    return (Path(path) / CARD).is_file()


def read_card(folder: str | Path) -> ExportCard:
    """Read and check the card of an exported folder; `check_files` looks at the files.

    Raises:
        CheckpointError: there is no card, or it is damaged or says something that cannot be.
    """
    path = Path(folder) / CARD
    try:
        values = mapping(read_json(path), "the card")
        if EXPORT_KEY not in values:
            raise StoredError("it does not describe an exported model")
        export = mapping(values[EXPORT_KEY], EXPORT_KEY)
        model = ModelCard.from_plain({name: value for name, value in values.items() if name != EXPORT_KEY})
        for name, value in (("classes", model.classes), ("clip", model.clip)):
            if not value:
                raise StoredError(f"it lacks {name}")
        return _from_plain(model, export)
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(f"{path}: no such file; give a folder that `gta export` wrote") from None
    except StoredError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _from_plain(model: ModelCard, export: Mapping[str, Any]) -> ExportCard:
    shape = entry(mapping(entry(export, "input", EXPORT_KEY), "input"), "shape", "input")
    result = mapping(entry(export, "output", EXPORT_KEY), "output")
    opset = export.get("opset")
    card = ExportCard(
        model=model,
        runtime=cast(RuntimeName, _choice(entry(export, "runtime", EXPORT_KEY), "runtime", get_args(RuntimeName))),
        precision=cast(
            ExportPrecision, _choice(entry(export, "precision", EXPORT_KEY), "precision", get_args(ExportPrecision))
        ),
        output=cast(Output, _choice(entry(result, "name", "output"), "the output's name", get_args(Output))),
        batch_size=_batch_size(shape),
        files=_files(entry(export, "files", EXPORT_KEY)),
        opset=None if opset is None else whole(opset, "opset", 1, 1000),
        source=mapping(export.get("source", {}), "source"),
        measured={name: export[name] for name in ("parity", "accuracy", "speed") if name in export},
    )
    if list(shape[1:]) != list(card.clip_shape):
        raise StoredError(f"its input has the shape {shape[1:]}, but its clips have {list(card.clip_shape)}")
    if entry(result, "shape", "output") != [card.batch_size, len(card.classes)]:
        raise StoredError(f"its output does not have one number for each of its {len(card.classes)} classes")
    return card


def _choice(value: object, name: str, known: tuple[str, ...]) -> str:
    if text(value, name) not in known:
        raise StoredError(f"{name} is {value!r}: this gta knows {', '.join(known)}")
    return cast(str, value)


def _batch_size(shape: object) -> int | None:
    if not isinstance(shape, list) or len(shape) != 5:
        raise StoredError("the input's shape must be a list of five numbers")
    return None if shape[0] is None else whole(shape[0], "the number of clips", 1, LARGEST_BATCH)


def _files(values: object) -> dict[str, dict[str, Any]]:
    """The files and their digests; names that lead out of the folder are refused."""
    found = mapping(values, "files")
    if not found:
        raise StoredError("files is empty")
    for name, facts in found.items():
        if text(name, "the name of a file", 255) != Path(name).name or name in (".", ".."):
            raise StoredError(f"files names {name!r}, which is not the plain name of a file in the folder")
        digest = text(entry(mapping(facts, name), "sha256", name), f"sha256 of {name}", 64)
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise StoredError(f"sha256 of {name} is not a SHA-256")
    return {name: dict(facts) for name, facts in found.items()}


def check_files(folder: str | Path, card: ExportCard) -> None:
    """Compare the files of an exported folder with the digests in its card.

    Raises:
        CheckpointError: one is missing, cannot be read or differs.
    """
    for name, facts in card.files.items():
        path = Path(folder) / name
        try:
            digest = sha256(path)
        except OSError as error:
            raise CheckpointError(f"{path}: it cannot be read ({error.strerror}): export the model again") from error
        if digest != facts["sha256"]:
            raise CheckpointError(f"{path}: damaged, its SHA-256 is not the one in {CARD}: export the model again")
