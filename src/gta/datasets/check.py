"""Looking at every file of a data set: what is missing, damaged, too short, wrongly labelled or duplicated.

What is learned is kept in the data set's index (`gta.datasets.index`), so that a second run only looks at what
changed and training never opens a file to learn its length.
"""

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from gta.config import KnownLayout, Layout, Split
from gta.datasets.index import VideoFacts, load_index, relative_name, save_index, stamp_of
from gta.datasets.layouts.common import UNKNOWN_LABEL, Listed, ignored_files
from gta.datasets.listing import check_root, detect_layout, list_layout
from gta.datasets.workers import Failure, in_parallel
from gta.errors import DataError, VideoError
from gta.types import VideoRecord
from gta.video.file import VideoFile
from gta.video.folder import FrameFolder
from gta.video.reading import open_video

# A disk that does not answer, no permission: not the file's fault.
_DISK_ERRORS = (OSError, PermissionError, TimeoutError)
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass
class CheckReport:
    """What `check_videos` found; all paths are relative to the data set.

    Args:
        root: folder of the data set, or a manifest file.
        layout: its layout.
        splits: number of videos in each split.
        num_classes: number of classes.
        num_files: number of files that were read.
        num_frames: number of their frames.
        missing: listed videos that do not exist.
        damaged: path -> why the file cannot be read.
        too_short: path -> number of frames.
        wrong_label: path -> what is wrong with its label.
        segments: part of a longer video that a list asks for -> why it cannot be read.
        duplicates: groups of files with the same contents.
        conflicts: duplicates whose files have different classes.
        ignored: not a problem: files in class folders that are not videos, counted by suffix.
        not_listed: not a problem: split -> why it cannot be listed.
        index: the index file that was written.
        empty_classes: not a problem: split -> its classes without videos.
        sequential: not a problem: intact files whose packets do not identify their frames. They are decoded from the
            beginning, which is slower.
    """

    root: Path
    layout: str
    splits: dict[str, int] = field(default_factory=dict)
    num_classes: int = 0
    num_files: int = 0
    num_frames: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: dict[str, str] = field(default_factory=dict)
    too_short: dict[str, int] = field(default_factory=dict)
    wrong_label: dict[str, str] = field(default_factory=dict)
    segments: dict[str, str] = field(default_factory=dict)
    duplicates: list[list[str]] = field(default_factory=list)
    conflicts: list[dict[str, str]] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)
    not_listed: dict[str, str] = field(default_factory=dict)
    index: Path | None = None
    empty_classes: dict[str, list[str]] = field(default_factory=dict)
    sequential: list[str] = field(default_factory=list)

    @property
    def num_problems(self) -> int:
        """Entries of all lists together."""
        lists = (self.missing, self.damaged, self.too_short, self.segments, self.wrong_label, self.duplicates)
        return sum(map(len, lists))

    def to_json(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return {
            "root": str(self.root),
            "layout": self.layout,
            "videos_per_split": self.splits,
            "classes": self.num_classes,
            "files": self.num_files,
            "frames": self.num_frames,
            "problems": self.num_problems,
            "missing": self.missing,
            "damaged": self.damaged,
            "too_short": self.too_short,
            "wrong_label": self.wrong_label,
            "segments": self.segments,
            "duplicates": self.duplicates,
            "conflicts": self.conflicts,
            "ignored": dict(self.ignored),
            "not_listed": self.not_listed,
            "empty_classes": self.empty_classes,
            "sequential": self.sequential,
        }


def look_at(path: Path, *, decode: bool) -> VideoFacts:
    """Learn everything about one file; what is wrong with it becomes `VideoFacts.problem`, nothing is raised.

    Args:
        path: a video file or a folder of pictures.
        decode: decode every frame, which finds all damage; otherwise only the packets and the first and last frame.
    """
    try:
        stamp = stamp_of(path)
    except OSError:
        return VideoFacts(0, 0, problem="it is not there")
    try:
        with open_video(path) as video:
            # First, since decoding may show that the packets are not to be believed, which the index must know.
            video.read(range(video.num_frames) if decode else [0, video.num_frames - 1], fit=_corner)
            facts = _describe(video, stamp)
            digest = _digest(path, video)
    except VideoError as error:
        if type(error.__cause__) in _DISK_ERRORS:  # no stamp, so that it is looked at again
            return VideoFacts(0, 0, problem=error.reason)
        return VideoFacts(*stamp, problem=error.reason, decoded=decode)
    except OSError as error:
        return VideoFacts(0, 0, problem=f"it cannot be read ({error.strerror})")
    return replace(facts, digest=digest, decoded=decode)


def _describe(video: VideoFile | FrameFolder, stamp: tuple[int, int]) -> VideoFacts:
    info = video.info()
    is_file = isinstance(video, VideoFile)
    return VideoFacts(
        *stamp,
        num_frames=info.num_frames,
        fps=info.fps,
        width=info.width,
        height=info.height,
        codec=info.codec,
        num_keyframes=len(video.index.keyframe_packets) if is_file else info.num_frames,
        packets=video.index if is_file else None,
        names=None if is_file else video.names,
    )


def _corner(frame: torch.Tensor) -> torch.Tensor:
    """A pixel of a frame: that it could be decoded is all that counts, and long videos do not fill the memory."""
    return frame[:, :1, :1].clone()


def _digest(path: Path, video: VideoFile | FrameFolder) -> str:
    """Hash of a file's bytes, or of all pictures of a folder in order."""
    total = hashlib.blake2b(digest_size=16)
    files = [path / name for name in video.names] if isinstance(video, FrameFolder) else [path]
    for file in files:
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                total.update(block)
    return total.hexdigest()


@dataclass(frozen=True)
class _Look:
    """`look_at` with its options bound, for worker processes."""

    decode: bool

    def __call__(self, path: Path) -> VideoFacts:
        return look_at(path, decode=self.decode)


def check_videos(
    root: str | Path,
    layout: Layout = "auto",
    *,
    index: Path | None = None,
    min_frames: int = 8,
    decode: bool = True,
    num_workers: int = 2,
    fold: int = 1,
    save_seconds: float = 60.0,
    progress: Callable[[int, int], None] | None = None,
) -> CheckReport:
    """Look at every video of a data set that its index does not know yet, save the index, and report.

    It can be stopped at any time: what was learned is saved every `save_seconds` and when it stops, and the next run
    continues there.

    Args:
        root: folder of the data set, or a manifest file.
        layout: how it is organised.
        index: file of the index; beside the data if not given, or in the user's cache where that cannot be written.
        min_frames: fewer frames than this are reported as too short.
        decode: decode every frame; otherwise only the packets and the first and last frame (much faster).
        num_workers: processes; 0 works in this process.
        fold: split of UCF-101, HMDB-51 or UTD-MHAD, 1 to 3.
        save_seconds: time between two savings of the index.
        progress: called with (files done, files in all).

    Raises:
        DataError: the folder is missing, empty or of no known layout, or no split can be listed.
    """
    root = Path(root)
    check_root(root)
    chosen: KnownLayout = detect_layout(root) if layout == "auto" else layout
    listed, not_listed = _list_all(root, chosen, fold)
    base = root if root.is_dir() else root.parent
    paths = sorted({record.path for found in listed.values() for record in found.records})
    known = load_index(root, index)
    # What is known of files outside these lists (of other folds), or less thoroughly, stays in the index.
    kept = {} if known is None else {name: entry for name, entry in known.items() if known.get(base / name) is not None}
    facts: dict[str, VideoFacts] = {}
    todo: list[Path] = []
    for path in paths:
        entry = kept.get(relative_name(path, base))
        if entry is not None and (entry.decoded or not decode):
            facts[relative_name(path, base)] = entry
        else:
            todo.append(path)
    saved = time.monotonic()
    try:
        for path, entry in in_parallel(_Look(decode), todo, num_workers=num_workers):
            if isinstance(entry, Failure):
                entry = VideoFacts(*stamp_of(path), problem=entry.reason, decoded=True)
            facts[relative_name(path, base)] = entry
            if progress is not None:
                progress(len(facts), len(paths))
            if time.monotonic() - saved > save_seconds:
                save_index(root, kept | facts, index)
                saved = time.monotonic()
    finally:
        report_index = save_index(root, dict(sorted((kept | facts).items())), index)
    report = _report(root, chosen, listed, facts, base, min_frames)
    report.index, report.not_listed = report_index, not_listed
    if chosen == "folder":
        for folder in {record.path.parent for found in listed.values() for record in found.records}:
            report.ignored.update(ignored_files(folder))
    return report


def _list_all(root: Path, layout: KnownLayout, fold: int) -> tuple[dict[Split, Listed], dict[str, str]]:
    """List the splits that the data set has, and why it has not the others.

    Raises:
        DataError: it has none.
    """
    listed: dict[Split, Listed] = {}
    problems: dict[str, DataError] = {}
    for split in SPLITS:
        if split == "test" and layout in ("ucf101", "hmdb51", "utd_mhad"):
            continue  # there, the test videos are listed as `val`
        try:
            listed[split] = list_layout(root, split, layout, fold=fold)
        except DataError as error:
            problems[split] = error
    if not listed:
        raise next(iter(problems.values()))
    return listed, {split: str(error) for split, error in problems.items()}


def _report(
    root: Path, layout: str, listed: dict[Split, Listed], facts: dict[str, VideoFacts], base: Path, min_frames: int
) -> CheckReport:
    report = CheckReport(root, layout, num_files=len(facts))
    report.num_classes = max(len(found.classes) for found in listed.values())
    labels = _report_labels(report, listed, base)
    copies: dict[str, list[str]] = defaultdict(list)
    for name, entry in facts.items():
        report.num_frames += entry.num_frames
        if entry.problem is not None:
            report.damaged[name] = entry.problem
        elif entry.num_frames < min_frames:
            report.too_short[name] = entry.num_frames
        if entry.packets is not None and not entry.packets.is_one_to_one:
            report.sequential.append(name)
        if entry.digest:
            copies[entry.digest].append(name)
    for found in listed.values():
        for record in found.records:
            _check_segment(report, record, facts[relative_name(record.path, base)], base, min_frames)
    report.duplicates = sorted(sorted(names) for names in copies.values() if len(names) > 1)
    for names in report.duplicates:
        given = {name: " and ".join(sorted(labels[name])) for name in names if labels.get(name)}
        if len({label for name in given for label in labels[name]}) > 1:
            report.conflicts.append(given)
    return report


def _report_labels(report: CheckReport, listed: dict[Split, Listed], base: Path) -> dict[str, set[str]]:
    """Note what the lists say of each other; returns the classes that each file is listed with."""
    parts: dict[tuple[str, float | None, float | None], set[str]] = defaultdict(set)
    labels: dict[str, set[str]] = defaultdict(set)
    for split, found in listed.items():
        report.splits[split] = len(found.records)
        report.missing += [relative_name(path, base) for path in found.missing]
        for path, label in found.wrong:
            report.wrong_label[relative_name(path, base)] = f"'{label}' is not a class of the data set"
        for record in found.records:
            name = relative_name(record.path, base)
            if record.label >= 0:
                parts[name, record.start_seconds, record.end_seconds].add(found.classes[record.label])
                labels[name].add(found.classes[record.label])
                _check_class_folder(report, record, found.classes, name)
        seen = {record.label for record in found.records}
        if seen != {UNKNOWN_LABEL}:
            empty = [name for number, name in enumerate(found.classes) if number not in seen]
            report.empty_classes |= {split: empty} if empty else {}
    for (name, _, _), given in parts.items():
        if len(given) > 1:
            report.wrong_label[name] = "it is listed as " + " and as ".join(f"'{label}'" for label in sorted(given))
    return labels


def _check_segment(report: CheckReport, record: VideoRecord, entry: VideoFacts, base: Path, min_frames: int) -> None:
    """Ask for the part of a longer video that a row names, as training will."""
    if entry.problem is not None or (record.start_seconds is None and record.end_seconds is None):
        return
    end = "its end" if record.end_seconds is None else f"{record.end_seconds:g} s"
    name = f"{relative_name(record.path, base)} from {record.start_seconds or 0:g} s to {end}"
    try:
        with open_video(record.path, index=entry.packets, names=entry.names) as video:
            first, stop = video.frame_range(record.start_seconds, record.end_seconds)
    except VideoError as error:
        report.segments[name] = error.reason
    else:
        if stop - first < min_frames:
            report.segments[name] = f"it has {stop - first} frames, fewer than {min_frames}"


def _check_class_folder(report: CheckReport, record: VideoRecord, classes: tuple[str, ...], name: str) -> None:
    """A video in the folder of another class than its list says is suspicious."""
    folder = record.path.parent.name
    if folder in classes and folder != classes[record.label]:
        report.wrong_label[name] = f"it is listed as '{classes[record.label]}' but lies in the folder '{folder}'"
