"""Which frames of a video make a clip: pure index arithmetic, one function per protocol.

`N` is the number of frames in the video, `n` the number to draw. Every function returns ascending indices in
[0, N - 1] and works for any N >= 1: a video with fewer frames than wanted is stretched by repeating frames.

Of the frames of a video with N = 20, an evaluation with n = 4 draws those marked x:

    tsn        ..x....x....x....x..    the middle of each of n segments; training draws any frame of each
    segments   ..x....x....x...x...    the middle of each of n equal parts, which reach from the first frame to the last
    dense      ....x..x..x..x......    every third frame (stride 3) of a window at the centre; training draws its start
"""

import itertools
import random

from gta.config import ClipConfig


def _check(num_video_frames: int, num_frames: int) -> None:
    if num_video_frames < 1 or num_frames < 1:
        raise ValueError(f"cannot draw {num_frames} frames from a video of {num_video_frames}; both must be 1 or more")


def tsn_train_indices(num_video_frames: int, num_frames: int, rng: random.Random) -> list[int]:
    """TSN training: one random frame from each of n segments of d = N // n frames, i * d + randint(0, d - 1).

    The N - n * d frames at the end are never drawn, as in the public code of TSN and TSM. With N < n the video is
    stretched: frame i * N // n.

    Args:
        num_video_frames: N, frames in the video.
        num_frames: n, frames to draw.
        rng: source of randomness.
    """
    _check(num_video_frames, num_frames)
    length = num_video_frames // num_frames
    if length == 0:
        return [i * num_video_frames // num_frames for i in range(num_frames)]
    return [i * length + rng.randrange(length) for i in range(num_frames)]


def tsn_test_indices(num_video_frames: int, num_frames: int, num_clips: int = 1) -> list[list[int]]:
    """TSN testing: with d = N / n, the middle of each segment, int(d / 2 + d * i).

    Further clips shift the position inside the segment by equal steps, wrapping around: clip k of K takes
    int(d * (frac(1 / 2 + k / K) + i)). Two clips are the middle and int(d * i), the "twice" sampling of the TSM code.

    Returns:
        One list of indices per clip.
    """
    _check(num_video_frames, num_frames)
    step = 2 * num_clips
    return [
        [num_video_frames * (phase + step * i) // (step * num_frames) for i in range(num_frames)]
        for phase in _phases(num_clips)
    ]


def _phases(num_clips: int) -> list[int]:
    """Where in its segment clip k of K takes a frame, frac(1 / 2 + k / K), in units of 1 / 2K.

    Whole numbers, so that no rounding error decides.
    """
    return [(num_clips + 2 * clip) % (2 * num_clips) for clip in range(num_clips)]


def dense_train_indices(num_video_frames: int, num_frames: int, stride: int, rng: random.Random) -> list[int]:
    """SlowFast training: a window of n * stride frames at a random start, every stride-th frame of it.

    A window that is longer than the video begins at 0 and repeats the last frame.
    """
    _check(num_video_frames, num_frames)
    start = rng.randint(0, max(num_video_frames - num_frames * stride, 0))
    return _window(start, num_video_frames, num_frames, stride)


def dense_test_indices(num_video_frames: int, num_frames: int, stride: int, num_clips: int = 1) -> list[list[int]]:
    """SlowFast testing: clip k of K starts at (N - n * stride) * k / K, rounded (halves up); one clip at the centre.

    Returns:
        One list of indices per clip.
    """
    _check(num_video_frames, num_frames)
    room = max(num_video_frames - num_frames * stride, 0)
    if num_clips == 1:
        starts = [(room + 1) // 2]
    else:
        starts = [(2 * room * clip + num_clips) // (2 * num_clips) for clip in range(num_clips)]
    return [_window(start, num_video_frames, num_frames, stride) for start in starts]


def _window(start: int, num_video_frames: int, num_frames: int, stride: int) -> list[int]:
    return [min(start + i * stride, num_video_frames - 1) for i in range(num_frames)]


def segment_train_indices(num_video_frames: int, num_frames: int, rng: random.Random) -> list[int]:
    """SlowFast training on Something-Something: a random frame of each of n equal parts of the whole video.

    Part i reaches from d * i to d * (i + 1), both rounded (halves to even) and included, with d = (N - 1) / n. Unlike
    TSN's segments the parts cover the last frame, share their borders, and also exist where N < n.
    """
    bounds = _segment_bounds(num_video_frames, num_frames)
    return [rng.randint(low, high) for low, high in bounds]


def segment_test_indices(num_video_frames: int, num_frames: int, num_clips: int = 1) -> list[list[int]]:
    """SlowFast testing on Something-Something: the middle of each of n equal parts, rounded down.

    Further clips shift the position inside the parts by equal steps, as those of `tsn_test_indices`.

    Returns:
        One list of indices per clip.
    """
    bounds = _segment_bounds(num_video_frames, num_frames)
    step = 2 * num_clips
    return [[low + (high - low) * phase // step for low, high in bounds] for phase in _phases(num_clips)]


def _segment_bounds(num_video_frames: int, num_frames: int) -> list[tuple[int, int]]:
    _check(num_video_frames, num_frames)
    length = (num_video_frames - 1) / num_frames
    borders = [round(length * i) for i in range(num_frames + 1)]
    return list(itertools.pairwise(borders))


def training_indices(clip: ClipConfig, num_video_frames: int, rng: random.Random) -> list[int]:
    """Indices of one training clip, by the protocol that `clip` names."""
    if clip.sampling == "tsn":
        return tsn_train_indices(num_video_frames, clip.num_frames, rng)
    if clip.sampling == "segments":
        return segment_train_indices(num_video_frames, clip.num_frames, rng)
    return dense_train_indices(num_video_frames, clip.num_frames, clip.frame_stride, rng)


def evaluation_indices(clip: ClipConfig, num_video_frames: int) -> list[list[int]]:
    """Indices of the `clip.test_clips` clips of an evaluation, by the protocol that `clip` names."""
    if clip.sampling == "tsn":
        return tsn_test_indices(num_video_frames, clip.num_frames, clip.test_clips)
    if clip.sampling == "segments":
        return segment_test_indices(num_video_frames, clip.num_frames, clip.test_clips)
    return dense_test_indices(num_video_frames, clip.num_frames, clip.frame_stride, clip.test_clips)
