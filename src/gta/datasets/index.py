"""The index of a data set: what `gta data check` learned about every file, kept beside the data.

With it, training knows each video's length without opening it, and the reader goes straight to the packets it needs. An
entry counts only while the file has the size and time of change that it had when it was looked at.
"""

import contextlib
import errno
import hashlib
import os
import warnings
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gta.files import atomic_path
from gta.video.packets import PacketIndex

# 3: packets of files that cannot be planned carry their number of frames; before, some were believed wrongly.
INDEX_FORMAT = 3
_INDEX_NAME = ".gta-index.npz"


@dataclass(frozen=True)
class VideoFacts:
    """What is known of one file: its stamp, what it holds, or why it cannot be read.

    Args:
        size: bytes of the file; 0 for a folder of pictures.
        changed_ns: time of the last change in nanoseconds.
        num_frames: frames that can be read.
        fps: frames per second.
        width: pixels, after rotation.
        height: pixels, after rotation.
        codec: name of the codec.
        num_keyframes: frames from which decoding can start.
        packets: packets of a video file.
        names: names of the pictures in a folder.
        problem: why the video cannot be read; None if it can.
        digest: hash of the contents, where it was computed; equal ones are duplicates.
        decoded: whether every frame was decoded, or only the packets read.
    """

    size: int
    changed_ns: int
    num_frames: int = 0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    codec: str = ""
    num_keyframes: int = 0
    packets: PacketIndex | None = None
    names: tuple[str, ...] | None = None
    problem: str | None = None
    digest: str = ""
    decoded: bool = False


def stamp_of(path: str | Path) -> tuple[int, int]:
    """Size and time of change of a file (a folder's size is counted as 0).

    Raises:
        OSError: it is not there.
    """
    status = os.stat(path)
    is_folder = os.path.isdir(path)
    return (0 if is_folder else status.st_size), status.st_mtime_ns


def index_path(root: Path) -> Path:
    """Where the index of a data set lies: inside its folder, or beside a manifest file."""
    return root / _INDEX_NAME if root.is_dir() else root.with_name(f".{root.name}{_INDEX_NAME}")


def cached_index_path(root: Path) -> Path:
    """Where the index of a read-only data set lies: in the user's cache, by the data set's full path."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    return cache / "gta" / "indices" / f"{root.resolve().name}-{digest}.npz"


class DataIndex:
    """What is known of the files of a data set, by path.

    Args:
        base: folder that the stored paths are relative to.
        columns: the arrays of the index file.

    Raises:
        ValueError: the columns are not those that `save_index` writes, or hold what it never would.
    """

    def __init__(self, base: Path, columns: Mapping[str, np.ndarray]) -> None:
        self._base = base
        self._columns = dict(columns)
        names = _expanded(self._columns.pop("paths")).split("\0")
        names = [] if names == [""] else names
        self._rows = {name: row for row, name in enumerate(names)}
        self._texts = [tuple(text.split("\x1f")) for text in _expanded(self._columns.pop("texts")).split("\0")]
        if len(self._rows) != len(names):
            raise ValueError("a path is listed twice")
        _check_columns(self._columns, len(names))
        if names and (len(self._texts) != len(names) or any(len(text) != _TEXTS for text in self._texts)):
            raise ValueError("the texts do not fit the paths")

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, path: Path) -> VideoFacts | None:
        """The facts of a file, or None if it is not in the index or has changed since."""
        row = self._rows.get(relative_name(path, self._base))
        if row is None:
            return None
        try:
            facts = self._facts(row)
        except (ValueError, zlib.error):  # the entry is damaged: the file is looked at anew
            return None
        try:
            return facts if stamp_of(path) == (facts.size, facts.changed_ns) else None
        except OSError:
            return None

    def items(self) -> Iterable[tuple[str, VideoFacts]]:
        """Every entry that is not damaged, whether or not its file is still the same."""
        for name, row in self._rows.items():
            with contextlib.suppress(ValueError, zlib.error):
                yield name, self._facts(row)

    def _facts(self, row: int) -> VideoFacts:
        columns = self._columns
        start, stop = columns["offsets"][row : row + 2]
        blob = columns["blobs"][start:stop].tobytes()
        codec, problem, digest = self._texts[row]
        kind = int(columns["kinds"][row])
        return VideoFacts(
            size=int(columns["sizes"][row]),
            changed_ns=int(columns["changed_ns"][row]),
            num_frames=int(columns["num_frames"][row]),
            fps=float(columns["fps"][row]),
            width=int(columns["widths"][row]),
            height=int(columns["heights"][row]),
            codec=codec,
            num_keyframes=int(columns["num_keyframes"][row]),
            packets=_unpack_packets(blob, int(columns["counted"][row])) if kind == _FILE else None,
            names=_unpack_names(blob) if kind == _FOLDER else None,
            problem=problem or None,
            digest=digest,
            decoded=bool(columns["decoded"][row]),
        )


_NOTHING, _FILE, _FOLDER = range(3)
# Codec, problem and digest of each file.
_TEXTS = 3
# Nothing that an index holds unfolds to more than this; a damaged one may claim any size.
_MAX_EXPANDED_BYTES = 1 << 28
_MAX_FRAMES = 1 << 40
_COLUMNS = {
    **dict.fromkeys(("sizes", "changed_ns", "num_frames", "num_keyframes", "counted"), np.int64),
    **dict.fromkeys(("widths", "heights"), np.int32),
    "fps": np.float64,
    "kinds": np.int8,
    "decoded": np.bool_,
}


def _check_columns(columns: Mapping[str, np.ndarray], count: int) -> None:
    """Hold every column to its kind, length and range.

    Raises:
        ValueError: one of them is missing, of another kind, or holds what no index does.
    """
    for name, kind in _COLUMNS.items():
        column = columns.get(name)
        if column is None or column.dtype != kind or column.shape != (count,):
            raise ValueError(f"the column {name} is missing or of another kind")
    offsets, blobs = columns.get("offsets"), columns.get("blobs")
    if offsets is None or offsets.dtype != np.int64 or offsets.shape != (count + 1,):
        raise ValueError("the offsets are missing or of another kind")
    if blobs is None or blobs.dtype != np.uint8 or blobs.ndim != 1:
        raise ValueError("the packets are missing or of another kind")
    if offsets[0] != 0 or offsets[-1] != len(blobs) or (np.diff(offsets) < 0).any():
        raise ValueError("the offsets do not fit the packets")
    for name in ("sizes", "num_frames", "num_keyframes", "widths", "heights", "fps"):
        column = columns[name]
        if not np.isfinite(column).all() or (column < 0).any():
            raise ValueError(f"the column {name} holds a number that no video has")
    if (columns["num_frames"] > _MAX_FRAMES).any() or (columns["counted"] < -1).any():
        raise ValueError("a number of frames is out of range")
    if not np.isin(columns["kinds"], (_NOTHING, _FILE, _FOLDER)).all():
        raise ValueError("a kind of entry is not known")


def _expanded(data: np.ndarray) -> str:
    return _decompress(data.tobytes()).decode("utf-8", "surrogateescape")


def _decompress(data: bytes) -> bytes:
    """Unfold compressed bytes, of which a damaged or hostile file may claim any amount."""
    unfolding = zlib.decompressobj()
    found = unfolding.decompress(data, _MAX_EXPANDED_BYTES)
    if unfolding.unconsumed_tail or not unfolding.eof:
        raise ValueError("compressed data is cut off or far too large")
    return found


def relative_name(path: Path, base: Path) -> str:
    """The path as the index stores it: relative to the data set where it lies inside, with forward slashes."""
    return Path(os.path.relpath(path, base)).as_posix()


def load_index(root: Path, source: Path | None = None) -> DataIndex | None:
    """Read the index of a data set, or None if there is none, it is of another format, or it is damaged.

    A damaged index is announced by a warning and not used; `gta data check` makes it anew.

    Args:
        root: folder of the data set, or manifest file.
        source: file of the index; if not given, beside the data, or else in the user's cache.
    """
    for path in (index_path(root), cached_index_path(root)) if source is None else (source,):
        try:
            with np.load(path, allow_pickle=False) as archive:
                columns = {name: archive[name] for name in archive.files}
            if (found := int(columns.pop("format"))) != INDEX_FORMAT:
                warnings.warn(
                    f"{path}: the index has another version ({found}) and is not used; gta data check rebuilds it",
                    stacklevel=2,
                )
                continue
            return DataIndex(root if root.is_dir() else root.parent, columns)
        except FileNotFoundError:
            continue
        except PermissionError as error:
            warnings.warn(f"{path}: the index cannot be read ({error.strerror}) and is not used", stacklevel=2)
        except Exception as error:  # whatever reading a file that is none may raise
            reason = " ".join(str(error).split()) or type(error).__name__
            warnings.warn(
                f"{path}: the index is damaged ({reason}) and is not used; gta data check rebuilds it", stacklevel=2
            )
    return None


def save_index(root: Path, facts: Mapping[str, VideoFacts], target: Path | None = None) -> Path:
    """Write the index of a data set, atomically.

    Args:
        root: folder of the data set, or manifest file.
        facts: facts by name, as `relative_name` gives them.
        target: file to write; if not given, beside the data, or in the user's cache where that cannot be written.

    Returns:
        The file that was written.
    """
    values = list(facts.values())
    blobs = [_pack(entry) for entry in values]
    offsets = np.concatenate([[0], np.cumsum([len(blob) for blob in blobs])]).astype(np.int64)
    counted = [entry.packets.counted_frames if entry.packets else None for entry in values]
    texts = ["\x1f".join((entry.codec, entry.problem or "", entry.digest)) for entry in values]
    columns = {
        "format": np.int64(INDEX_FORMAT),
        "paths": _compressed("\0".join(facts)),
        "sizes": np.array([entry.size for entry in values], np.int64),
        "changed_ns": np.array([entry.changed_ns for entry in values], np.int64),
        "num_frames": np.array([entry.num_frames for entry in values], np.int64),
        "num_keyframes": np.array([entry.num_keyframes for entry in values], np.int64),
        "fps": np.array([entry.fps for entry in values], np.float64),
        "widths": np.array([entry.width for entry in values], np.int32),
        "heights": np.array([entry.height for entry in values], np.int32),
        "counted": np.array([-1 if count is None else count for count in counted], np.int64),
        "kinds": np.array([_kind(entry) for entry in values], np.int8),
        "texts": _compressed("\0".join(texts)),
        "decoded": np.array([entry.decoded for entry in values], np.bool_),
        "offsets": offsets,
        "blobs": np.frombuffer(b"".join(blobs), np.uint8),
    }
    if target is not None:
        return _write(target, columns)
    try:
        return _write(index_path(root), columns)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
    return _write(cached_index_path(root), columns)


def _write(target: Path, columns: Mapping[str, Any]) -> Path:
    with atomic_path(target) as temporary, temporary.open("wb") as file:
        np.savez(file, **columns)
    return target


def _compressed(text: str) -> np.ndarray:
    return np.frombuffer(zlib.compress(text.encode("utf-8", "surrogateescape")), np.uint8)


def _kind(facts: VideoFacts) -> int:
    if facts.packets is not None:
        return _FILE
    return _NOTHING if facts.names is None else _FOLDER


def _pack(facts: VideoFacts) -> bytes:
    if facts.names is not None:
        return zlib.compress("\0".join(facts.names).encode("utf-8", "surrogateescape"))
    if facts.packets is None:
        return b""
    packets = facts.packets
    steps = np.diff(packets.timestamps, prepend=np.int64(0))  # nearly constant, so they compress to almost nothing
    flags = np.packbits(np.concatenate([packets.keyframes, packets.discarded]))
    return zlib.compress(steps.tobytes() + flags.tobytes())


def _unpack_names(blob: bytes) -> tuple[str, ...]:
    """Names of pictures.

    Raises:
        ValueError: one of them would lead out of its folder.
    """
    names = tuple(_decompress(blob).decode("utf-8", "surrogateescape").split("\0"))
    if any(not name or "/" in name or name in (".", "..") for name in names):
        raise ValueError("the name of a picture is a path")
    return names


def _unpack_packets(blob: bytes, counted: int) -> PacketIndex:
    """Packets of a video file.

    Raises:
        ValueError: the bytes are not those of packets.
    """
    data = _decompress(blob)
    count = len(data) * 4 // 33  # 8 bytes of timestamp and 2 bits of flags for each packet
    if count == 0 or len(data) != 8 * count + -(-2 * count // 8):
        raise ValueError("the packets are cut off")
    steps = np.frombuffer(data[: 8 * count], np.int64)
    flags = np.unpackbits(np.frombuffer(data[8 * count :], np.uint8))[: 2 * count].astype(np.bool_)
    return PacketIndex(np.cumsum(steps), flags[:count], flags[count:], None if counted < 0 else counted)
