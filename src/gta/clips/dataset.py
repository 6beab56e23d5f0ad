"""Videos as a PyTorch data set: from a number to a clip of uint8 pixels."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import Dataset

from gta.clips.labels import flip_targets
from gta.clips.sampling import evaluation_indices, training_indices
from gta.clips.transforms import EvaluationViews, TrainingView
from gta.config import ClipConfig
from gta.datasets.layouts.common import UNKNOWN_LABEL
from gta.datasets.listing import VideoList
from gta.errors import DataError, VideoError
from gta.types import VideoRecord
from gta.video.file import VideoFile
from gta.video.flow import FlowFolder
from gta.video.folder import FrameFolder
from gta.video.reading import VideoSource, open_video

# So many videos in a row may be unreadable before a training sample gives up: then the data set is broken, not a file.
_MAX_REPLACEMENTS = 20

Skipped = tuple[str, str]
"""Path of a video that was left out, and why."""


@dataclass(frozen=True)
class Sample:
    """One clip and where it comes from; `clip` is None where the video could not be read.

    `clip` is uint8 (3, T, H, W) in training and (V, 3, T, H, W) in evaluation; `label` and `index` are those of the
    video that was read; `skipped` lists the videos that could not be read on the way.
    """

    clip: torch.Tensor | None
    label: int
    index: int
    skipped: tuple[Skipped, ...] = ()


class UnreadableVideosError(DataError):
    """So many videos in a row could not be read that no sample could be made; `skipped` are they."""

    def __init__(self, text: str, skipped: tuple[Skipped, ...]) -> None:
        super().__init__(text)
        self.skipped = skipped


class VideoDataset(Dataset[Sample]):
    """The videos of a list, as clips.

    All randomness of a sample comes from (seed, epoch, index), so that neither the number of workers nor a restart
    changes it. A video that cannot be read is replaced by another one in training (the same one every time) and left
    out in evaluation; either way it is reported in `Sample.skipped`.

    Args:
        videos: the videos.
        clip: the protocol.
        training: draw one random clip per video; otherwise all views of the evaluation.
        seed: seed of sampling and augmentation.
        opener: gives what to read a record's frames from (a `VideoSource`), or None for the file itself;
            for frames that were decoded before.

    Raises:
        DataError: the split has no labels (the test split of Something-Something).
    """

    def __init__(
        self,
        videos: VideoList,
        clip: ClipConfig,
        *,
        training: bool,
        seed: int = 0,
        opener: Callable[[VideoRecord], VideoSource | None] | None = None,
    ) -> None:
        self.videos = videos
        self.clip = clip
        self.training = training
        self.seed = seed
        self._opener = opener
        self._flip_targets = flip_targets(videos.classes, clip.flip)
        if any(record.label == UNKNOWN_LABEL for record in videos.records):
            raise DataError(f"{videos.root}: the split '{videos.split}' has no labels; use another one")

    def __len__(self) -> int:
        return len(self.videos.records)

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """Shape of a sample's clip: (3, T, H, W) in training, (V, 3, T, H, W) in evaluation; of flow 2L channels."""
        clip = self.clip
        if self.training:
            return (clip.channels, clip.num_frames, clip.crop_size, clip.crop_size)
        size = clip.crop_size if clip.test_crop_size is None else clip.test_crop_size
        return (clip.test_clips * clip.test_crops, clip.channels, clip.num_frames, size, size)

    def __getitem__(self, key: int | tuple[int, int]) -> Sample:
        """Read the clip number `index` of epoch `epoch`; the key is `index` (epoch 0) or `(epoch, index)`.

        Raises:
            DataError: in training, 20 videos in a row could not be read.
        """
        epoch, index = (0, key) if isinstance(key, int) else key
        if not self.training:
            record = self.videos.records[index]
            try:
                return Sample(self._evaluation_views(record), record.label, index)
            except VideoError as error:
                return Sample(None, record.label, index, ((str(error.path), error.reason),))
        rng = random.Random(f"{self.seed}/{epoch}/{index}")
        skipped: list[Skipped] = []
        for _ in range(_MAX_REPLACEMENTS):
            record = self.videos.records[index]
            try:
                clip, label = self._training_clip(record, rng)
            except VideoError as error:
                skipped.append((str(error.path), error.reason))
                index = rng.randrange(len(self))
            else:
                return Sample(clip, label, index, tuple(skipped))
        path, reason = skipped[-1]
        raise UnreadableVideosError(
            f"{_MAX_REPLACEMENTS} videos in a row could not be read; the last one is {path}: {reason}", tuple(skipped)
        )

    def _open(self, record: VideoRecord) -> VideoSource:
        opened = None if self._opener is None else self._opener(record)
        if opened is not None:
            return opened
        if self.clip.flow:
            return FlowFolder(record.path, self.clip.flow)
        facts = None if self.videos.index is None else self.videos.index.get(record.path)
        if facts is None:
            return open_video(record.path)
        if facts.problem is not None:
            raise VideoError(record.path, facts.problem)
        return open_video(record.path, index=facts.packets, names=facts.names)

    def _training_clip(self, record: VideoRecord, rng: random.Random) -> tuple[torch.Tensor, int]:
        with self._open(record) as video:
            first, stop = video.frame_range(record.start_seconds, record.end_seconds)
            indices = training_indices(self.clip, stop - first, rng)
            mirrored = self._flip_targets[record.label]
            view = TrainingView(self.clip, rng, may_flip=mirrored is not None)
            frames = video.read([first + i for i in indices], fit=view.fit)
        label = mirrored if view.flipped and mirrored is not None else record.label
        return view.finish(frames), label

    def _evaluation_views(self, record: VideoRecord) -> torch.Tensor:
        views = EvaluationViews(self.clip)
        with self._open(record) as video:
            first, stop = video.frame_range(record.start_seconds, record.end_seconds)
            clips = evaluation_indices(self.clip, stop - first)
            frames = video.read([first + i for clip in clips for i in clip], fit=views.fit)
        return views.finish(frames)


def clip_views(path: Any, clip: ClipConfig) -> torch.Tensor:
    """Read all evaluation views of one video file, uint8 (V, 3, T, H, W): what prediction starts from.

    Args:
        path: a video file or a folder of pictures.
        clip: the protocol.

    Raises:
        VideoError: the video cannot be read.
    """
    with open_source(path, clip) as video:
        return opened_views(video, clip)


def open_source(path: Any, clip: ClipConfig) -> VideoFile | FrameFolder | FlowFolder:
    """Open what a network with this protocol reads: a video or, where the clips are of optical flow, a folder of it.

    Raises:
        VideoError: it cannot be opened.
    """
    return FlowFolder(path, clip.flow) if clip.flow else open_video(path)


def opened_views(video: VideoSource | FlowFolder, clip: ClipConfig) -> torch.Tensor:
    """Read all evaluation views of an open video, as `clip_views` does."""
    views = EvaluationViews(clip)
    clips = evaluation_indices(clip, video.num_frames)
    return views.finish(video.read([i for indices in clips for i in indices], fit=views.fit))


def window_views(
    path: Any, clip: ClipConfig, *, window: float, hop: float
) -> Iterator[tuple[float, float, torch.Tensor]]:
    """Read all evaluation views of every window of a long video, one window at a time.

    Windows begin every `hop` seconds; what is left at the end is a window of its own if it is at least half as long.

    Args:
        path: a video file or a folder of pictures.
        clip: the protocol; a window's frames are sampled as those of a whole video.
        window: length of a window in seconds, above 0.
        hop: seconds from the beginning of one window to that of the next, above 0.

    Yields:
        Start and end of a window in seconds, and its views, uint8 (V, 3, T, H, W).

    Raises:
        ValueError: a length is not above 0.
        VideoError: the video cannot be read.
    """
    for name, seconds in (("window", window), ("hop", hop)):
        if not 0 < seconds < math.inf:
            raise ValueError(f"{name} is {seconds}: it must be above 0")
    views = EvaluationViews(clip)
    with open_source(path, clip) as video:
        times = _windows(video.info().duration_seconds, window, hop)
        ranges = [video.frame_range(start, end) for start, end in times]
        groups = [
            [first + i for indices in evaluation_indices(clip, stop - first) for i in indices] for first, stop in ranges
        ]
        for (start, end), frames in zip(times, video.read_groups(groups, fit=views.fit), strict=True):
            yield start, end, views.finish(frames)


def _windows(duration: float, window: float, hop: float) -> list[tuple[float, float]]:
    """Start and end of the windows of a video; one over the whole of a video that is shorter than a window."""
    times = [(0.0, min(window, duration))]
    for number in range(1, math.ceil(duration / hop)):
        start = number * hop
        if duration - start < window / 2:
            break
        times.append((start, min(start + window, duration)))
    return times
