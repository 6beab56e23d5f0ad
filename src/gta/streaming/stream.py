"""Predictions along a stream of frames: the windows of `Predictor.predict_windows`, as soon as each is complete."""

import math
import time as clock
from collections import deque
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from gta._renamed import renamed_keywords
from gta.clips.sampling import evaluation_indices
from gta.clips.transforms import EvaluationViews
from gta.errors import OptionError
from gta.evaluation.scores import average_views
from gta.streaming.sharing import CannotShareError, SharedLayers
from gta.types import WindowPrediction

if TYPE_CHECKING:
    from gta.predictor import Predictor

DEFAULT_WINDOW_SECONDS = 2.0
_MICROSECOND = Fraction(1, 1_000_000)


@dataclass
class StreamCounts:
    """What a stream has done so far."""

    frames: int = 0
    """Frames that were pushed."""
    predictions: int = 0
    """Windows that were classified."""
    skipped_windows: int = 0
    """Windows that ended together with a later one, which was classified instead."""
    frames_computed: int = 0
    """Frames that went through the layers before the first one that combines frames; 0 if no work is shared."""


@dataclass
class _Frame:
    time: Fraction
    crops: Tensor  # uint8 (crops, 3, side, side)
    features: list[Tensor] | None = field(default=None)


class Stream:
    """Classifies a video while its frames arrive, window by window.

    Windows are those of `Predictor.predict_windows`: window k starts k hops after the first frame and is `window`
    seconds long, and frames are sampled from it as from a whole video. The predictions therefore equal those for the
    same file offline. A window is classified when the first frame after it arrives.

    Layers before the first one that joins frames are computed once for each sampled frame, not once for each window,
    where the network can be split there (see `shared`). Windows share frames if the hop is a multiple of the interval
    between sampled frames; the default is that interval, `window / num_frames`.

    Memory is bounded by the frames of one window. A stream must not be used by several threads at once; several
    streams may share a predictor.

    Args:
        predictor: the model and its preprocessing.
        hop: seconds from the start of one window to the start of the next, above 0; by default, `window / num_frames`.
        window: length of a window in seconds, above 0.
        top_k: how many classes to name, 1 or more (at most all of them).
        fps: frames per second, for frames that are pushed without a time; by default, the clock gives their times.
        time_unit: unit of the times in seconds, such as the time base of a video stream: limits of windows are rounded
            to it, as offline.
        name: path given in the predictions.
        share: whether to share work between windows where possible.

    Attributes:
        time_unit: as given; may be changed at any time.
        counts: number of frames, windows and predictions so far, a `StreamCounts`.
        shared: name of the module up to which work is shared ("head" if all layers see single frames), or None.
        not_shared: why nothing is shared, or None.

    Raises:
        ValueError: a number is out of range.
        OptionError: the model reads optical flow, which a stream does not have.

    >>> stream = gta.Stream(gta.Predictor.from_checkpoint("runs/mine/best.ckpt"), window=0.5, hop=0.25, fps=25)
    >>> found = [stream.push(frame) for frame in gta.read_video("clip.mp4")]
    >>> stream.counts.predictions == len([prediction for prediction in found if prediction is not None]) > 0
    True
    """

    @renamed_keywords(topk="top_k")
    def __init__(
        self,
        predictor: "Predictor",
        *,
        hop: float | int | None = None,  # int too: type checks at run time take it for no float
        window: float | int = DEFAULT_WINDOW_SECONDS,
        top_k: int = 5,
        fps: float | int | None = None,
        time_unit: Fraction | float = _MICROSECOND,
        name: str | Path = "stream",
        share: bool = True,
    ) -> None:
        hop = window / predictor.clip.num_frames if hop is None else hop
        for label, value in (("window", window), ("hop", hop), ("fps", fps), ("time_unit", time_unit)):
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{label} is {value}: it must be above 0")
        if top_k < 1:
            raise ValueError(f"top_k is {top_k}: at least one class is needed")
        if predictor.clip.flow:
            raise OptionError("the model reads optical flow, which is not computed from a stream's frames")
        self.predictor = predictor
        self.hop, self.window, self.top_k = float(hop), float(window), top_k
        self.counts = StreamCounts()
        self.time_unit = Fraction(time_unit)
        self._fps, self._path = fps, Path(name)
        self._views = EvaluationViews(predictor.clip)
        self._frames: deque[_Frame] = deque()
        self._zero: Fraction | None = None  # time of the very first frame: times are reported from there
        self._origin = Fraction(0)  # when window 0 begins
        self._next = 0  # number of the next window
        self._since_origin = 0  # frames since then
        self._layers, self.shared, self.not_shared = self._share() if share else (None, None, "it was not asked for")

    def push(self, frame: Any, time: float | int | Fraction | None = None) -> WindowPrediction | None:
        """Take the next frame, and classify the window that it completes, if any.

        Args:
            frame: uint8, a tensor (3, H, W) or an array (H, W, 3), in red, green, blue.
            time: when the frame is shown, in seconds, later than the frame before.

        Returns:
            The prediction for the window that ended before this frame; if several ended, for the last one, and the
            others are counted in `counts.skipped_windows`. None if no window ended.

        Raises:
            ValueError: the frame has another shape or dtype, or its time is not after the last one's.
        """
        picture = _picture(frame)
        now = self._now(time)
        if self._frames and now <= self._frames[-1].time:
            before = float(self._frames[-1].time)
            raise ValueError(f"time is {float(now):g} s: it must be after the last frame's, {before:g} s")
        if self._zero is None:
            self._zero = now
        if not self._frames:
            self._origin, self._next, self._since_origin = now, 0, 0
        self.counts.frames += 1
        self._since_origin += 1
        due = self._due(now)
        found = None
        if due is not None:
            self.counts.skipped_windows += due - self._next
            found = self._classify(*self._limits(due))
            self._next = due + 1
            self._forget()
        self._frames.append(_Frame(now, torch.stack(self._views.crops(self._views.fit(picture)))))
        return found

    def finish(self) -> list[WindowPrediction]:
        """Classify the windows that the end of the stream cuts short, as offline, then reset.

        Returns:
            Predictions for windows that end with the stream and are at least half as long as usual; if there was no
            window before, of any length.
        """
        found: list[WindowPrediction] = []
        if self._frames:
            duration = self._duration()
            while self._next == 0 or (
                self._next * self.hop < duration and duration - self._next * self.hop >= self.window / 2
            ):
                start, end = self._limits(self._next)
                found.append(self._classify(start, min(end, duration)))
                self._next += 1
        self.reset()
        return found

    def reset(self) -> None:
        """Discard all frames, as after an interruption: the next frame starts a window. Times continue."""
        self._frames.clear()
        self._next = 0

    def _share(self) -> tuple[SharedLayers | None, str | None, str | None]:
        side = self.predictor.clip.test_crop_size or self.predictor.clip.crop_size
        try:
            layers = SharedLayers(self.predictor.model, (side, side))
        except CannotShareError as error:
            return None, None, str(error)
        return layers, layers.place or "head", None

    def _now(self, time: float | int | Fraction | None) -> Fraction:
        if time is None:
            time = clock.monotonic() if self._fps is None else self.counts.frames / self._fps
        if not math.isfinite(time):
            raise ValueError(f"time is {time}: it must be a finite number of seconds")
        return Fraction(time)

    def _units(self, seconds: Fraction | float) -> int:
        """A time since the origin in whole units, as offline: both a frame's time and the limits of a window."""
        return round(Fraction(seconds) / self.time_unit)

    def _limits(self, number: int) -> tuple[float, float]:
        start = number * self.hop
        return start, start + self.window

    def _due(self, now: Fraction) -> int | None:
        """Number of the last window that has ended when a frame comes at this time."""
        passed = self._units(now - self._origin)
        if not self._frames or self._units(self._limits(self._next)[1]) > passed:
            return None
        number = max(int((now - self._origin - Fraction(self.window)) / Fraction(self.hop)) - 1, self._next)
        while self._units(self._limits(number + 1)[1]) <= passed:
            number += 1
        return number

    def _duration(self) -> float:
        """Seconds from the first frame to the end of the last, which stays as long as frames do on average."""
        shown = self._frames[-1].time - self._origin
        if self._since_origin > 1:
            return float(shown + shown / (self._since_origin - 1))
        return 1 / self._fps if self._fps else self.hop

    def _classify(self, start: float, end: float) -> WindowPrediction:
        low, high = self._units(start), self._units(end)
        frames = [frame for frame in self._frames if self._units(frame.time - self._origin) < high]
        # A frame that came before the window and is still on screen belongs to it, as offline.
        before = [place for place, frame in enumerate(frames) if self._units(frame.time - self._origin) <= low]
        frames = frames[max(before, default=0) :]
        clips = [[frames[i] for i in clip] for clip in evaluation_indices(self.predictor.clip, len(frames))]
        labels, scores = self.predictor.name_best(self._scores(clips), self.top_k)
        self.counts.predictions += 1
        assert self._zero is not None
        offset = float(self._origin - self._zero)
        return WindowPrediction(self._path, offset + start, offset + end, labels, scores)

    def _scores(self, clips: list[list[_Frame]]) -> Tensor:
        num_crops = len(clips[0][0].crops)
        if self._layers is None:
            views = [
                torch.stack([frame.crops[crop] for frame in clip], dim=1) for clip in clips for crop in range(num_crops)
            ]
            return self.predictor.scores(torch.stack(views))
        with torch.inference_mode():
            self._compute([frame for clip in clips for frame in clip])
            logits = [
                self._layers.logits([frame.features[crop] for frame in clip if frame.features is not None]).float()
                for clip in clips
                for crop in range(num_crops)
            ]
            return average_views(torch.cat(logits)[None], self.predictor.clip.averaging)[0].cpu()

    def _compute(self, frames: list[_Frame]) -> None:
        """Run the shared layers on the frames that have not been through them yet, all in one batch."""
        assert self._layers is not None
        new = list({id(frame): frame for frame in frames if frame.features is None}.values())
        if not new:
            return
        crops = torch.cat([frame.crops for frame in new]).to(self.predictor.device)
        pictures = self.predictor.prepare(crops.unsqueeze(2)).squeeze(2)
        features = self._layers.features(pictures.contiguous(memory_format=torch.channels_last)).split(1)
        per_frame = len(features) // len(new)
        for place, frame in enumerate(new):
            # Copies, so that one frame that is kept does not keep the memory of all.
            frame.features = [part.clone() for part in features[place * per_frame : (place + 1) * per_frame]]
        self.counts.frames_computed += len(new)

    def _forget(self) -> None:
        """Drop the frames before the next window, but for the one on screen when it begins."""
        start = self._units(self._limits(self._next)[0])
        while len(self._frames) > 1 and self._units(self._frames[1].time - self._origin) <= start:
            self._frames.popleft()


def _picture(frame: Any) -> Tensor:
    """The frame as a tensor uint8 (3, H, W)."""
    given: Any = frame
    if isinstance(frame, np.ndarray) and frame.ndim == 3:
        # Pictures of Pillow are arrays that must not be written to, which PyTorch warns of.
        given = torch.from_numpy(frame if frame.flags.writeable else frame.copy()).permute(2, 0, 1)
    if not isinstance(given, Tensor) or given.ndim != 3 or given.shape[0] != 3 or given.dtype != torch.uint8:
        shape = getattr(frame, "shape", None)
        what = type(frame).__name__ if shape is None else f"{frame.dtype} {tuple(shape)}"
        raise ValueError(f"a frame is uint8, a tensor (3, H, W) or an array (H, W, 3), not {what}")
    return given
