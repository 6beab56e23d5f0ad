"""The index of a data set: what `gta data check` learned about every file, kept beside the data.

With it, training knows each video's length without opening it, and the reader goes straight to the packets it needs. An
entry counts only while the file has the size and time of change that it had when it was looked at.
"""

import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gta.data.packets import PacketIndex
from gta.errors import DataError
from gta.files import atomic_path

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


class DataIndex:
    """What is known of the files of a data set, by path.

    Args:
        base: folder that the stored paths are relative to.
        columns: the arrays of the index file.
    """

    def __init__(self, base: Path, columns: Mapping[str, np.ndarray]) -> None:
        self._base = base
        self._columns = dict(columns)
        names = zlib.decompress(self._columns.pop("paths").tobytes()).decode("utf-8", "surrogateescape")
        self._rows = {name: row for row, name in enumerate(names.split("\0"))} if names else {}
        texts = zlib.decompress(self._columns.pop("texts").tobytes()).decode("utf-8", "surrogateescape")
        self._texts = texts.split("\0")

    def __len__(self) -> int:
        return len(self._rows)

    def get(self, path: Path) -> VideoFacts | None:
        """The facts of a file, or None if it is not in the index or has changed since."""
        row = self._rows.get(relative_name(path, self._base))
        if row is None:
            return None
        facts = self._facts(row)
        try:
            return facts if stamp_of(path) == (facts.size, facts.changed_ns) else None
        except OSError:
            return None

    def items(self) -> Iterable[tuple[str, VideoFacts]]:
        """Every entry, whether or not its file is still the same."""
        return ((name, self._facts(row)) for name, row in self._rows.items())

    def _facts(self, row: int) -> VideoFacts:
        columns = self._columns
        start, stop = columns["offsets"][row : row + 2]
        blob = columns["blobs"][start:stop].tobytes()
        codec, problem, digest = self._texts[row].split("\x1f")
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
            names=tuple(zlib.decompress(blob).decode("utf-8", "surrogateescape").split("\0"))
            if kind == _FOLDER
            else None,
            problem=problem or None,
            digest=digest,
            decoded=bool(columns["decoded"][row]),
        )


_NOTHING, _FILE, _FOLDER = range(3)


def relative_name(path: Path, base: Path) -> str:
    """The path as the index stores it: relative to the data set where it lies inside, with forward slashes."""
    return Path(os.path.relpath(path, base)).as_posix()


def load_index(root: Path) -> DataIndex | None:
    """Read the index of a data set, or None if there is none or it is of another format.

    Raises:
        DataError: the index file is damaged.
    """
    source = index_path(root)
    try:
        with np.load(source, allow_pickle=False) as archive:
            columns = {name: archive[name] for name in archive.files}
        if int(columns.pop("format")) != INDEX_FORMAT:
            return None
        return DataIndex(source.parent, columns)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{source}: the index is damaged; delete it and run gta data check again") from error


def save_index(root: Path, facts: Mapping[str, VideoFacts]) -> Path:
    """Write the index of a data set, atomically.

    Args:
        root: folder of the data set, or manifest file.
        facts: facts by name, as `relative_name` gives them.

    Returns:
        The file that was written.
    """
    target = index_path(root)
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


def _unpack_packets(blob: bytes, counted: int) -> PacketIndex:
    data = zlib.decompress(blob)
    count = len(data) * 4 // 33  # 8 bytes of timestamp and 2 bits of flags for each packet
    steps = np.frombuffer(data[: 8 * count], np.int64)
    flags = np.unpackbits(np.frombuffer(data[8 * count :], np.uint8))[: 2 * count].astype(np.bool_)
    return PacketIndex(np.cumsum(steps), flags[:count], flags[count:], None if counted < 0 else counted)
