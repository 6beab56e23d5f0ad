"""The small frozen records that are handed from one room to the next (floor 0).

Dimension legend, used in every docstring and shape comment of the project:

    B clips in a batch    T frames    H, W pixels    S = H * W positions of a frame    C channels
    D inner channels      G groups    N_h heads      R regions    K classes            V views of a video

Public clips are `(B, C, T, H, W)`, decoded frames `(T, C, H, W)` uint8, attention cores work on `(B, T, S, C)`.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class VideoInfo:
    """What is known about a video without decoding it.

    Args:
        path: the file or the folder of frames.
        num_frames: number of frames that decoding the whole video gives, 1 or more.
        fps: mean number of frames per second, above 0.
        duration_seconds: time from the start of the first frame to the end of the last one.
        width, height: size of the frames that `read_video` returns (after rotation), in pixels.
        codec: FFmpeg's name of the codec.
        rotation_degrees: counter-clockwise rotation that is applied to the stored frames, a multiple of 90.
        stream_index: index of the video stream that is read: the best one in the file.
        num_video_streams: number of video streams in the file, not counting cover art.

    >>> gta.probe_video("clip.mp4").num_video_streams
    1
    """

    path: Path
    num_frames: int
    fps: float
    duration_seconds: float
    width: int
    height: int
    codec: str
    rotation_degrees: int = 0
    stream_index: int = 0
    num_video_streams: int = 1


@dataclass(frozen=True)
class VideoRecord:
    """One labelled video of a data set.

    Args:
        path: the file, or the folder of frames.
        label: number of its class, from 0; -1 if the data set does not tell.
        start_seconds, end_seconds: the part of a longer file that is the video; None: from the beginning, to the end.
    """

    path: Path
    label: int
    start_seconds: float | None = None
    end_seconds: float | None = None


@dataclass(frozen=True)
class Prediction:
    """The classes that a model predicts for a video, best first.

    Args:
        path: the video; None for frames in memory.
        labels: names of the classes; empty if the video, one of several, cannot be read.
        scores: their softmax probabilities, in [0, 1].
        error: why the video cannot be read; None if it was read.

    >>> prediction = gta.Predictor.from_checkpoint("runs/mine/best.ckpt").predict("clip.mp4", top_k=2)
    >>> str(prediction.path), len(prediction.labels), prediction.error
    ('clip.mp4', 2, None)
    """

    path: Path | None
    labels: tuple[str, ...]
    scores: tuple[float, ...]
    error: str | None = None


@dataclass(frozen=True)
class WindowPrediction:
    """The classes that a model predicts for a part of a longer video, best first.

    Args:
        path: the video.
        start_seconds, end_seconds: the part, relative to the first frame; the last window ends with the video.
        labels: names of the classes.
        scores: their softmax probabilities, in [0, 1].

    >>> predictor = gta.Predictor.from_checkpoint("runs/mine/best.ckpt")
    >>> first, *_ = predictor.predict_windows("clip.mp4", window=0.5, hop=0.25)
    >>> first.start_seconds, first.end_seconds
    (0.0, 0.5)
    """

    path: Path
    start_seconds: float
    end_seconds: float
    labels: tuple[str, ...]
    scores: tuple[float, ...]
