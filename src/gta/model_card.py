"""The model card: what a stored network is, as one frozen and checked value (low floor; imports no PyTorch).

Checkpoints carry it under the key "gta", safetensors files in their metadata: which model it is (the arguments of
`gta.create_model`), its classes, and how a video becomes a clip. A card that was read from a file is checked before
anything is allocated or computed from it.
"""

import platform
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from gta._version import __version__
from gta.config import ClipConfig, config_from_json, config_to_json
from gta.errors import OptionError
from gta.stored import StoredError, entry, mapping, plain, real, text, whole

FORMAT = 1
"""Version of the layout of the card."""

EXPORTED_CARD = "card.json"
"""Name of the file that holds it in an exported folder."""

# What a file may claim. Generous: the largest in use are 100 times smaller.
_MOST_CLASSES = 1_000_000
_MOST_FRAMES = 4096
_LARGEST_ARGUMENT = 2**20
_MOST_PIXELS = 16_384  # of one side
_MOST_CLIPS = 1000
_MOST_BYTES = 2**31  # uint8 values of all views of one video
_LIBRARIES = ("torch", "torchvision", "timm", "lightning", "av", "numpy")


@dataclass(frozen=True)
class ModelCard:
    """What a stored network is.

    Args:
        model: arguments that rebuild it with `gta.create_model`, plain values; "name" is always there.
        classes: names of the classes in the order of the outputs; empty where the file does not tell.
        clip: how a video becomes a clip; None where the file does not tell.
        reversals: name -> name of the class that is its time reversal.
        versions: versions of the libraries that wrote it.
        notes: what else the file says of itself, plain values (where converted weights came from, for instance).
    """

    model: Mapping[str, Any]
    classes: tuple[str, ...] = ()
    clip: ClipConfig | None = None
    reversals: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_classes(self) -> int | None:
        """Number of classes, from their names or else from the model's arguments; None if neither tells."""
        return len(self.classes) or self.model.get("num_classes")

    @property
    def untrained(self) -> tuple[str, ...]:
        """Weights that the file's source did not have: they hold their starting values."""
        report = self.notes.get("report")
        missing = report.get("missing") if isinstance(report, Mapping) else None
        return tuple(map(str, missing)) if isinstance(missing, list | tuple) else ()

    @classmethod
    def from_plain(cls, values: object) -> "ModelCard":
        """Check and take over a card that was read from a file.

        Raises:
            StoredError: a part is missing, of the wrong type or out of range; the text says which.
        """
        found = mapping(values, "the description")
        stored_format = found.get("format")
        if stored_format != FORMAT or isinstance(stored_format, bool):
            raise StoredError(
                f"it has format {plain(stored_format, 'format')}, but this gta reads {FORMAT}: update gta"
            )
        model = _check_model(plain(entry(found, "model"), "model"))
        classes = _check_classes(found.get("classes", []))
        stated = model.get("num_classes")
        if classes and stated is not None and stated != len(classes):
            raise StoredError(f"it names {len(classes)} classes, but its model has {stated}")
        clip = None if found.get("clip") is None else _check_clip(plain(found["clip"], "clip"))
        frames = model.get("num_frames")
        if clip and frames is not None and frames != clip.num_frames:
            raise StoredError(f"its model reads {frames} frames, but its clips have {clip.num_frames}")
        known = ("format", "model", "classes", "clip", "reversals", "versions")
        return cls(
            model=model,
            classes=classes,
            clip=clip,
            reversals=_check_reversals(found.get("reversals", {}), classes),
            versions=_texts(found.get("versions", {}), "versions"),
            notes={name: plain(value, name) for name, value in found.items() if name not in known},
        )

    def to_plain(self) -> dict[str, Any]:
        """The card as plain JSON values, as `from_plain` reads them."""
        values = {
            "format": FORMAT,
            "model": dict(self.model),
            "classes": list(self.classes),
            "clip": None if self.clip is None else config_to_json(self.clip),
            "reversals": dict(self.reversals),
            "versions": dict(self.versions),
        }
        return {**{name: value for name, value in values.items() if value is not None}, **self.notes}


def describe(
    *,
    model: Mapping[str, Any],
    classes: tuple[str, ...] | list[str],
    clip: Mapping[str, Any],
    reversals: Mapping[str, str] | None = None,
    frozen: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Build the plain card of a network that is about to be trained here.

    Args:
        model: arguments that rebuild the network with `create_model` (plain JSON values).
        classes: names of the classes in the order of the model's outputs.
        clip: a resolved ClipConfig as plain JSON values (`gta.config.config_to_json`).
        reversals: name -> name of the class that is its time reversal.
        frozen: the backbone that checkpoints leave out (`gta.models.frozen.FrozenBackbone`); None: they hold it.
    """
    return {
        "format": FORMAT,
        "model": dict(model),
        "classes": list(classes),
        "clip": dict(clip),
        "reversals": dict(reversals or {}),
        "versions": library_versions(),
        **({"frozen": dict(frozen)} if frozen else {}),
    }


def library_versions(more: Collection[str] = ()) -> dict[str, str]:
    """Versions of this package, Python and the libraries that results depend on, `more` of them if asked for."""
    versions = {"gta": __version__, "python": platform.python_version()}
    for name in (*_LIBRARIES, *more):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    if "torch" in sys.modules:  # which knows its CUDA version, too
        versions["torch"] = str(sys.modules["torch"].__version__)
    return versions


def _check_model(model: object) -> dict[str, Any]:
    """Bounds of the model's arguments; whether they fit `create_model` is checked where the model is built."""
    arguments = dict(mapping(model, "model"))
    text(entry(arguments, "name", "its model"), "the model's name", 200)
    if "pretrained" in arguments:
        raise StoredError("its model refers to further weight files (pretrained), which are not followed")
    for name, low, high in (("num_classes", 1, _MOST_CLASSES), ("num_frames", 1, _MOST_FRAMES)):
        if arguments.get(name) is not None:
            whole(arguments[name], f"the model's {name}", low, high)
    for name, value in arguments.items():
        _check_size(value, f"the model's {name}")
    return arguments


def _check_size(value: object, name: str) -> None:
    if isinstance(value, list):
        for item in value:
            _check_size(item, name)
    elif isinstance(value, dict):
        for item in value.values():
            _check_size(item, name)
    elif isinstance(value, int) and not isinstance(value, bool):
        whole(value, name, 0, _LARGEST_ARGUMENT)


def _check_classes(classes: object) -> tuple[str, ...]:
    if not isinstance(classes, list | tuple) or len(classes) > _MOST_CLASSES:
        raise StoredError(f"classes must be a list of at most {_MOST_CLASSES} names")
    names = tuple(text(name, "the name of a class") for name in classes)
    if len(set(names)) < len(names):
        raise StoredError("two of its classes have the same name")
    return names


def _check_clip(clip: object) -> ClipConfig:
    try:
        found = config_from_json(ClipConfig, clip)
    except OptionError as error:
        raise StoredError(f"its clips: {error}") from error
    whole(found.num_frames, "num_frames of its clips", 1, _MOST_FRAMES)
    whole(found.frame_stride, "frame_stride of its clips", 1, _LARGEST_ARGUMENT)
    whole(found.test_clips, "test_clips", 1, _MOST_CLIPS)
    for name in ("resize", "train_short_side", "test_resize", "crop_size", "test_crop_size"):
        value = getattr(found, name)
        for pixels in value if isinstance(value, tuple) else (1 if value is None else value,):
            whole(pixels, f"{name} of its clips", 1, _MOST_PIXELS)
    for name in ("mean", "std"):
        for value in getattr(found, name):
            real(value, f"{name} of its clips", -1000.0, 1000.0)
    side = found.test_crop_size or found.crop_size
    if found.test_clips * found.test_crops * found.num_frames * 3 * side**2 > _MOST_BYTES:
        raise StoredError(f"the clips of all views of a video would take more than {_MOST_BYTES >> 30} GiB")
    return found


def _check_reversals(values: object, classes: tuple[str, ...]) -> dict[str, str]:
    reversals = _texts(values, "reversals")
    for name in (*reversals, *reversals.values()):
        if classes and name not in classes:
            raise StoredError(f"reversals name {text(name, 'a class')!r}, which is not among its classes")
    return reversals


def _texts(values: object, name: str) -> dict[str, str]:
    return {text(key, name): text(value, f"an entry of {name}") for key, value in mapping(values, name).items()}
