"""Turning a data set into what training reads fastest, once: smaller pictures, short groups of pictures, or JPEGs.

The copy has the same layout, lists, names and frame numbers, so the data sets read it unchanged and a protocol samples
the same frames from it.
"""

import itertools
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import av
import torch
from av.error import FFmpegError
from PIL import Image

from gta.config import KnownLayout, Layout
from gta.datasets.check import SPLITS
from gta.datasets.layouts.common import PICTURE_SUFFIXES, SPLIT_NAMES
from gta.datasets.listing import check_root, detect_layout, list_layout
from gta.datasets.workers import Failure, in_parallel
from gta.errors import DataError, VideoError
from gta.files import atomic_path, write_json
from gta.skipped import SkippedVideos
from gta.stored import StoredError, entry, mapping, read_json, shown
from gta.video.file import VideoFile
from gta.video.folder import FrameFolder
from gta.video.reading import open_video
from gta.video.resize import resize, resized_size

SETTINGS_NAME = "prepared.json"
_LIST_SUFFIXES = frozenset([".csv", ".json", ".jsonl", ".ndjson", ".txt"])
_FOLDS = (1, 2, 3)
_PIECE = 64
_SPEED_SAMPLE = 20


@dataclass(frozen=True)
class PrepareSettings:
    """How the copies are made; stored beside them, because one copy of a data set holds one kind of files.

    Args:
        format: `h264` (small), `mjpeg` (every frame a keyframe: largest and fastest video), `jpeg` (frame folders).
        short_side: pixels of the short side; smaller videos keep their size.
        keyframe_interval: frames from one keyframe to the next (h264).
        quality: 1 (worst) to 100 (best) of JPEG pictures; H.264 takes the constant rate factor 51 - quality / 2.
    """

    format: Literal["h264", "mjpeg", "jpeg"] = "h264"
    short_side: int = 256
    keyframe_interval: int = 4
    quality: int = 90


@dataclass(frozen=True)
class PrepareReport:
    """What a conversion did, and what was gained."""

    made: int
    """Videos that were converted."""
    kept: int
    """Videos that an earlier run had already converted."""
    skipped: int
    """Videos that could not be read."""
    bytes_before: int
    """Size of the original videos, in bytes."""
    bytes_after: int
    """Size of the converted videos, in bytes."""
    milliseconds_before: float
    """Time to read a clip of 8 TSN frames from an original video."""
    milliseconds_after: float
    """Time to read such a clip from a converted video."""

    @property
    def is_worse(self) -> bool:
        """Whether the copy is both larger and slower to read than the original."""
        return self.bytes_after > self.bytes_before and self.milliseconds_after > self.milliseconds_before


@dataclass(frozen=True)
class _Task:
    """One video to convert."""

    source: Path
    target: Path
    settings: PrepareSettings


def prepare_videos(
    source: str | Path,
    target: str | Path,
    settings: PrepareSettings,
    layout: Layout = "auto",
    *,
    num_workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> PrepareReport:
    """Copy a data set with its videos converted. Stopped and run again, it completes what is missing.

    Args:
        source: folder of the data set.
        target: folder of the copy; every video in it is whole, also after an interruption.
        settings: how to convert.
        layout: how the data set is organised.
        num_workers: processes; 0 works in this process.
        progress: called with (videos done, videos in all).

    Raises:
        DataError: the source is no data set, lies partly elsewhere, or the target was made with other settings.
    """
    source, target = Path(source), Path(target)
    check_root(source)
    if source.is_file():
        raise DataError(f"{source}: give the folder of the manifest; it must hold manifest.csv or <split>.csv")
    if target.resolve() == source.resolve():
        raise DataError(f"{target}: choose a folder other than the data set's own for the copy")
    chosen: KnownLayout = detect_layout(source) if layout == "auto" else layout
    tasks = [_task(path, source, target, settings) for path in _paths(source, chosen)]
    _check_names(tasks)
    _claim(target, settings)
    _copy_lists(source, target)
    todo = [task for task in tasks if not task.target.exists()]
    skipped = SkippedVideos(target / "skipped.csv", num_videos=len(tasks), max_share=1.0)
    made = 0
    for task, problem in in_parallel(convert_video, todo, num_workers=num_workers):
        reason = problem.reason if isinstance(problem, Failure) else problem
        if reason:
            skipped.add([(str(task.source), reason)])
        made += reason == ""
        if progress is not None:
            progress(len(tasks) - len(todo) + made + len(skipped), len(tasks))
    done = [task for task in tasks if task.target.exists()]
    before, after = _clip_milliseconds(done)
    report = PrepareReport(
        made=made,
        kept=len(tasks) - len(todo),
        skipped=len(skipped),
        bytes_before=sum(_bytes(task.source) for task in done),
        bytes_after=sum(_bytes(task.target) for task in done),
        milliseconds_before=before,
        milliseconds_after=after,
    )
    write_json(target / SETTINGS_NAME, {"settings": asdict(settings), "report": asdict(report)})
    return report


def convert_video(task: _Task) -> str:
    """Convert one video, atomically.

    Returns:
        Why it could not be read, or an empty string.
    """
    try:
        with open_video(task.source) as video:
            if task.settings.format == "jpeg":
                _write_pictures(video, task)
            else:
                _write_video(video, task)
    except VideoError as error:
        return error.reason
    except FFmpegError as error:
        if isinstance(error, OSError):  # the disk's fault, not the video's
            raise
        return f"it cannot be encoded ({error.strerror or type(error).__name__})"
    return ""


def _paths(source: Path, layout: KnownLayout) -> list[Path]:
    found: set[Path] = set()
    problem: DataError | None = None
    folds = _FOLDS if layout in ("ucf101", "hmdb51") else _FOLDS[:1]  # one fold of HMDB-51 leaves videos out
    for split, fold in itertools.product(SPLITS, folds):
        try:
            found.update(record.path for record in list_layout(source, split, layout, fold=fold).records)
        except DataError as error:
            problem = problem or error
    if not found:
        raise problem or DataError(f"{source}: the data set has no videos")
    return sorted(found)


def _task(path: Path, source: Path, target: Path, settings: PrepareSettings) -> _Task:
    try:
        name = path.relative_to(source)
    except ValueError:
        raise DataError(f"{path}: the video lies outside {source}; move it inside to include it in the copy") from None
    if ".." in name.parts:
        raise DataError(f"{path}: the video lies outside {source}; move it inside to include it in the copy")
    stem = name if path.is_dir() else name.with_suffix("")
    suffix = "" if settings.format == "jpeg" else ".mp4"
    return _Task(path, target / stem.parent / (stem.name + suffix), settings)


def _check_names(tasks: list[_Task]) -> None:
    """Refuse two videos whose copies would have the same name (`a.avi` and `a.mp4`)."""
    sources: dict[Path, Path] = {}
    for task in tasks:
        other = sources.setdefault(task.target, task.source)
        if other != task.source:
            raise DataError(
                f"{task.source}: its copy and that of {other.name} would have the same name; rename one of them"
            )


def _claim(target: Path, settings: PrepareSettings) -> None:
    """Note the settings in the target, or refuse it if it was made with others."""
    note = target / SETTINGS_NAME
    if not note.exists():
        target.mkdir(parents=True, exist_ok=True)
        if any(target.iterdir()):
            raise DataError(f"{target}: the folder is not empty and was not made by gta data prepare; choose a new one")
        write_json(note, {"settings": asdict(settings)})
        return
    try:
        before = mapping(entry(mapping(read_json(note), "the file"), "settings"), "settings")
    except (StoredError, OSError) as error:
        raise DataError(f"{note}: it is damaged ({error}); delete the folder and prepare again") from error
    if before != asdict(settings):
        made = ", ".join(f"{name} {shown(value)}" for name, value in before.items())
        raise DataError(f"{target}: it was made with other settings ({made}); use the same, or another folder")


def _copy_lists(source: Path, target: Path) -> None:
    """Copy the lists of the data set, wherever they lie besides the videos, as they are."""
    videos = {name for names in SPLIT_NAMES.values() for name in names}
    for folder, subfolders, names in os.walk(source):
        here = Path(folder)
        depth = len(here.relative_to(source).parts)
        subfolders[:] = [name for name in subfolders if depth < 2 and not (depth == 0 and name in videos)]
        for name in names:
            path = here / name
            if path.suffix.lower() in _LIST_SUFFIXES and not name.startswith(".") and name != SETTINGS_NAME:
                copy = target / path.relative_to(source)
                with atomic_path(copy) as temporary:
                    shutil.copyfile(path, temporary)


def _shrinker(settings: PrepareSettings) -> Callable[[torch.Tensor], torch.Tensor]:
    def shrink(frame: torch.Tensor) -> torch.Tensor:
        height, width = frame.shape[-2:]
        if min(height, width) <= settings.short_side:
            return frame
        return resize(frame, resized_size(height, width, settings.short_side))

    return shrink


def _write_pictures(video: VideoFile | FrameFolder, task: _Task) -> None:
    task.target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{task.target.name}-", dir=task.target.parent))
    try:
        for start in range(0, video.num_frames, _PIECE):
            numbers = range(start, min(start + _PIECE, video.num_frames))
            for number, frame in zip(numbers, video.read(numbers, fit=_shrinker(task.settings)), strict=True):
                picture = Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy())
                picture.save(folder / f"{number + 1:05d}.jpg", quality=task.settings.quality)
        folder.chmod(0o755)  # mkdtemp makes private folders
        folder.rename(task.target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _write_video(video: VideoFile | FrameFolder, task: _Task) -> None:
    settings = task.settings
    timestamps, time_base = _timestamps(video)
    with atomic_path(task.target) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        stream: Any = None
        for start in range(0, video.num_frames, _PIECE):
            numbers = range(start, min(start + _PIECE, video.num_frames))
            for number, frame in zip(numbers, video.read(numbers, fit=_shrinker(settings)), strict=True):
                even = frame[:, : frame.shape[1] // 2 * 2, : frame.shape[2] // 2 * 2]
                picture = av.VideoFrame.from_ndarray(even.permute(1, 2, 0).contiguous().numpy(), format="rgb24")
                picture.pts, picture.time_base = timestamps[number], time_base
                if stream is None:
                    stream = _stream(container, settings, picture.width, picture.height, time_base)
                container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


def _stream(container: Any, settings: PrepareSettings, width: int, height: int, time_base: Fraction) -> Any:
    if settings.format == "h264":
        options = {"crf": str(51 - settings.quality // 2), "preset": "fast", "tune": "fastdecode", "bf": "0"}
        stream = container.add_stream("libx264", rate=30, options={**options, "sc_threshold": "0"})
        stream.codec_context.gop_size = settings.keyframe_interval
        stream.pix_fmt = "yuv420p"
    else:
        scale = max(round(31 - 29 * settings.quality / 100), 2)  # FFmpeg's scale for MJPEG: 2 (best) to 31
        stream = container.add_stream("mjpeg", rate=30, options={"qmin": str(scale), "qmax": str(scale)})
        stream.pix_fmt = "yuvj420p"
    stream.width, stream.height = width, height
    stream.codec_context.time_base = time_base
    return stream


def _timestamps(video: VideoFile | FrameFolder) -> tuple[list[int], Fraction]:
    """When each frame is shown, from 0, so that parts cut by seconds stay the same; even steps where unknown."""
    if isinstance(video, VideoFile) and video.index.is_one_to_one:
        shown = video.index.frame_timestamps
        base = video.time_base
        # The MP4 writer wants a time base that is not finer than it can count; every real one is coarser than this.
        return [int(time) - int(shown[0]) for time in shown], base
    fps = Fraction(video.info().fps or 25).limit_denominator(1001)
    return list(range(video.num_frames)), 1 / fps


def _bytes(path: Path) -> int:
    if path.is_dir():
        return sum(entry.stat().st_size for entry in path.iterdir() if entry.suffix.lower() in PICTURE_SUFFIXES)
    return path.stat().st_size


def _clip_milliseconds(tasks: list[_Task]) -> tuple[float, float]:
    """Median time to read 8 frames (the middles of 8 equal parts) of some originals and their copies, in turn."""
    chosen = tasks[:: max(len(tasks) // _SPEED_SAMPLE, 1)][:_SPEED_SAMPLE]
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(2):  # the first round warms the caches
        for kept in times:
            kept.clear()
        for task in chosen:
            for path, kept in zip((task.source, task.target), times, strict=True):
                start = time.perf_counter()
                with open_video(path) as video:
                    video.read([(2 * part + 1) * video.num_frames // 16 for part in range(8)])
                kept.append((time.perf_counter() - start) * 1000)
    before, after = (statistics.median(kept) if kept else 0.0 for kept in times)
    return before, after
