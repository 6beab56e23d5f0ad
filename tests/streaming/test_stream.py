"""Streams of frames: answers are the offline ones, work is shared and counted, memory is bounded."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import CLASSES, frames_of, lively, predictor_of
from torch import nn

import gta
from gta.backbones.tsm import ShiftedConv
from gta.config import ClipConfig
from gta.predictor import Predictor
from gta.streaming.sharing import CannotShareError, SharedLayers
from gta.streaming.stream import Stream
from video_files import encode

CLIP = ClipConfig(num_frames=4, crop_size=32, resize=(40, 48))
MANY_VIEWS = ClipConfig(num_frames=4, crop_size=32, resize=36, test_clips=2, test_crops=3, averaging="logits")
DENSE = ClipConfig(num_frames=4, crop_size=32, resize=(40, 48), sampling="dense", frame_stride=3)
ENLARGED = ClipConfig(num_frames=4, crop_size=32, resize=(24, 28), interpolation="bicubic")


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return encode(tmp_path_factory.mktemp("stream") / "a.mp4", num_frames=45, rate=25)


@pytest.fixture(scope="module")
def uneven(tmp_path_factory) -> Path:
    times = [0, 90, 100, 110, 400, 420, 433, 467, 900, 1000, 1100, 1101, 1500, 1533, 1567, 2000, 2200]
    path = tmp_path_factory.mktemp("stream") / "uneven.mkv"
    return encode(path, num_frames=len(times), timestamps=times, gop=4)


def streamed(predictor: Predictor, path: Path, **arguments) -> tuple[Stream, list]:
    base, frames = frames_of(path)
    stream = Stream(predictor, time_unit=base, **arguments)
    found = [stream.push(frame, time) for frame, time in frames]
    return stream, [prediction for prediction in found if prediction is not None] + stream.finish()


def assert_same(found: list, expected: list, tolerance: float = 1e-5) -> None:
    assert [(p.start_seconds, p.end_seconds) for p in found] == [
        (pytest.approx(p.start_seconds), pytest.approx(p.end_seconds)) for p in expected
    ]
    for one, other in zip(found, expected, strict=True):
        assert dict(zip(one.labels, one.scores, strict=True)) == pytest.approx(
            dict(zip(other.labels, other.scores, strict=True)), abs=tolerance
        )


@pytest.mark.parametrize(
    ("name", "clip", "share"),
    [
        ("tiny_gta", CLIP, True),
        ("tiny_gta", DENSE, True),
        ("tiny_gta", ENLARGED, True),
        ("tiny_gta", MANY_VIEWS, False),
        ("tiny", CLIP, True),
        ("tiny_tsm", CLIP, True),
        ("tiny_tsm_gta", MANY_VIEWS, True),
        ("tiny_nl", CLIP, True),
        ("tiny_c2d_gta", CLIP, True),
        ("tiny_slowfast_gta", ClipConfig(num_frames=8, crop_size=32, resize=40, sampling="segments"), True),
    ],
)
def test_a_stream_gives_the_offline_answers(video: Path, name: str, clip: ClipConfig, share: bool) -> None:
    predictor = predictor_of(name, clip)
    expected = list(predictor.predict_windows(video, window=0.8, hop=0.2, top_k=7))
    stream, found = streamed(predictor, video, window=0.8, hop=0.2, top_k=7, share=share)
    assert len(expected) == 7
    assert_same(found, expected)
    assert stream.counts.predictions == 7
    assert stream.counts.skipped_windows == 0
    if not share:
        assert stream.shared is None
        assert stream.counts.frames_computed == 0


@pytest.mark.parametrize("hop", [0.7, 1.0, 0.333])
def test_frames_at_uneven_times_fall_into_the_offline_windows(uneven: Path, hop: float) -> None:
    predictor = predictor_of("tiny_gta", CLIP)
    expected = list(predictor.predict_windows(uneven, window=1.0, hop=hop, top_k=7))
    stream, found = streamed(predictor, uneven, window=1.0, hop=hop, top_k=7)
    starts = [prediction.start_seconds for prediction in found]
    assert_same(found, [p for p in expected if any(abs(p.start_seconds - start) < 1e-6 for start in starts)])
    assert len(found) + stream.counts.skipped_windows == len(expected)


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 40), st.floats(0.1, 3.0), st.floats(0.05, 2.0))
def test_any_length_window_and_hop(tmp_path_factory, num_frames: int, window: float, hop: float) -> None:
    path = encode(tmp_path_factory.mktemp("any") / "a.mp4", num_frames=num_frames)
    predictor = _AVERAGE
    expected = list(predictor.predict_windows(path, window=window, hop=hop, top_k=7))
    stream, found = streamed(predictor, path, window=window, hop=hop, top_k=7)
    assert len(found) + stream.counts.skipped_windows == len(expected)
    by_start = {round(p.start_seconds, 5): p for p in expected}
    if num_frames > 1:  # how long a single frame stays, only the file's header says
        assert_same(found, [by_start[round(p.start_seconds, 5)] for p in found])


class _Average(nn.Module):
    """A foreign network: a fixed projection of the weighted frames."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = nn.Parameter(torch.randn(3 * CLIP.num_frames, len(CLASSES), generator=generator))

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        return clip.mean(dim=(3, 4)).flatten(1) @ self.weight


_AVERAGE = Predictor(_Average(), classes=CLASSES, clip=CLIP)


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("tiny_gta", "backbone.network.layer2.0"),
        ("tiny_tsm", "backbone.network.layer1.0"),
        ("tiny_tsm_gta", "backbone.network.layer1.0"),
        ("tiny", "head"),
    ],
)
def test_layers_before_the_first_that_joins_frames_run_once_per_frame(video: Path, name: str, place: str) -> None:
    predictor = predictor_of(name, CLIP)
    stem = predictor.model.get_submodule("backbone.network.conv1.0")
    seen = [0]
    # Copies of the network keep the hook, so that every run of the layer is counted.
    stem.register_forward_hook(lambda module, inputs, output: seen.__setitem__(0, seen[0] + len(inputs[0])))
    base, frames = frames_of(video)
    stream = Stream(predictor, window=0.8, hop=0.2, time_unit=base)
    assert stream.shared == place
    seen[0] = 0
    for frame, time in frames:
        stream.push(frame, time)
    # 4 frames per window, 0.2 s apart: each window after the first has one new frame.
    assert stream.counts.predictions == 5
    assert seen[0] == stream.counts.frames_computed == 4 + 4
    seen[0] = 0
    list(predictor.predict_windows(video, window=0.8, hop=0.2))
    assert seen[0] == 7 * 4


def test_what_joins_frames_unseen_is_not_shared() -> None:
    class Blur(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            return self.inner(frames + frames.roll(1, dims=0))

    model = lively(gta.create_model("tiny_gta", num_classes=7, num_frames=4))
    model.backbone.network.conv1 = Blur(model.backbone.network.conv1)
    with pytest.raises(CannotShareError, match="combine frames"):
        SharedLayers(model, (32, 32))
    stream = Stream(Predictor(model, classes=CLASSES, clip=CLIP))
    assert stream.shared is None
    assert "combine frames" in str(stream.not_shared)
    assert "_Average" in str(Stream(_AVERAGE).not_shared)


def test_sharing_leaves_the_model_as_it_was() -> None:
    model = lively(gta.create_model("tiny_tsm_gta", num_classes=7, num_frames=4))
    clip = torch.randn(2, 3, 4, 32, 32)
    names = [name for name, _ in model.named_modules()]
    with torch.inference_mode():
        before = model(clip)
        layers = SharedLayers(model, (32, 32))
        assert torch.equal(model(clip), before)
    assert [name for name, _ in model.named_modules()] == names
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert any(isinstance(module, ShiftedConv) for module in model.modules())
    assert {id(p) for p in layers._rest.parameters()} <= {id(p) for p in model.parameters()}  # no second set of weights


def test_memory_is_bounded_by_a_window() -> None:
    stream = Stream(_AVERAGE, window=0.8, hop=0.2, fps=25)
    held = []
    for number in range(400):
        stream.push(np.full((20, 24, 3), number % 256, dtype=np.uint8))
        held.append(len(stream._frames))
    assert max(held[:40]) == max(held[40:]) <= 21


def test_a_gap_gives_the_newest_window_only_and_says_so() -> None:
    stream = Stream(_AVERAGE, window=1.0, hop=0.25)
    frame = torch.zeros(3, 20, 24, dtype=torch.uint8)
    for time in (0.0, 0.3, 0.6, 0.9):
        assert stream.push(frame, time) is None
    found = stream.push(frame, 2.0)
    assert found is not None
    assert (found.start_seconds, found.end_seconds) == (1.0, 2.0)
    assert stream.counts.skipped_windows == 4
    stream.reset()
    assert stream.push(frame, 10.0) is None
    found = stream.push(frame, 11.0)
    assert found is not None
    assert found.start_seconds == 10.0


def test_the_clock_or_the_rate_tells_the_time_where_nobody_does() -> None:
    frame = np.zeros((20, 24, 3), dtype=np.uint8)
    stream = Stream(_AVERAGE, window=0.5, hop=0.5, fps=10)
    assert [stream.push(frame) is not None for _ in range(11)] == [False] * 5 + [True] + [False] * 4 + [True]
    live = Stream(_AVERAGE, window=1e-4, hop=1e-4)
    found = [live.push(frame) for _ in range(50)]
    assert any(found)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [({"hop": 0}, "hop is 0"), ({"window": -1.0}, "window is"), ({"top_k": 0}, "top_k is"), ({"fps": 0.0}, "fps is")],
)
def test_numbers_out_of_range_are_refused(arguments, words) -> None:
    with pytest.raises(ValueError, match=words):
        Stream(_AVERAGE, **arguments)


@pytest.mark.parametrize(
    "frame",
    [
        torch.zeros(3, 4, 4),
        torch.zeros(1, 4, 4, dtype=torch.uint8),
        np.zeros((4, 4), dtype=np.uint8),
        np.zeros((4, 4, 3), dtype=np.float32),
        "frame",
    ],
)
def test_what_is_no_frame_is_refused(frame) -> None:
    with pytest.raises(ValueError, match="a frame is uint8"):
        Stream(_AVERAGE).push(frame, 0.0)


def test_times_must_increase() -> None:
    stream = Stream(_AVERAGE)
    frame = torch.zeros(3, 20, 24, dtype=torch.uint8)
    stream.push(frame, 1.0)
    for time in (1.0, 0.5, float("nan")):
        with pytest.raises(ValueError, match="time is"):
            stream.push(frame, time)
