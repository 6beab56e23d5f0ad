"""Cameras of visitors: the same answers as `gta.Stream`, each its own, and no more of them than allowed."""

import numpy as np
import pytest
from served_models import predictor

from gta.serving import cameras as cameras_module
from gta.serving.cameras import Cameras
from gta.serving.limits import RefusedError
from gta.streaming.stream import Stream


class _Clock:
    """Stands for the module `time`."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> _Clock:
    made = _Clock()
    monkeypatch.setattr(cameras_module, "time", made)
    return made


@pytest.fixture(scope="module")
def models():
    return [predictor(), predictor("tiny_nl", side=32)]


def _pictures(count: int, seed: int = 0):
    return np.random.default_rng(seed).integers(0, 256, (count, 48, 64, 3), dtype=np.uint8)


def test_two_cameras_in_turn_get_what_a_stream_of_their_own_gives(clock, models):
    cameras = Cameras(models, most=4)
    streams = [Stream(models[number], window=cameras_module.WINDOW_SECONDS) for number in range(2)]
    tokens: list[str | None] = [None, None]
    answers = 0
    for step in range(14):
        clock.now += 0.25
        for number, stream in enumerate(streams):
            picture = _pictures(14, seed=number)[step]
            tokens[number], found = cameras.push(tokens[number], number, picture)
            expected = stream.push(picture, clock.now)
            assert (found is None) == (expected is None)
            if found is not None and expected is not None:
                answers += 1
                assert found.labels == expected.labels
                assert found.scores == pytest.approx(expected.scores, abs=1e-5)
    assert answers == 2 * 6
    assert len(cameras) == 2


def test_after_an_interruption_a_window_begins_anew(clock, models):
    cameras = Cameras(models, most=4)
    token, found = None, None
    for picture in _pictures(10):
        clock.now += 0.25
        token, found = cameras.push(token, 0, picture)
    assert found is not None
    clock.now += 60
    for picture in _pictures(8):
        token, found = cameras.push(token, 0, picture)
        assert found is None  # no answer from what the camera saw a minute ago
        clock.now += 0.25


def test_another_model_takes_the_place_of_the_first(clock, models):
    cameras = Cameras(models, most=1)
    first, _ = cameras.push(None, 0, _pictures(1)[0])
    second, _ = cameras.push(first, 1, _pictures(1)[0])
    assert (first == second, len(cameras)) == (False, 1)


def test_beyond_the_limit_a_new_camera_waits_until_another_one_is_idle(clock, models):
    cameras = Cameras(models, most=2)
    for _ in range(2):
        cameras.push(None, 0, _pictures(1)[0])
    with pytest.raises(RefusedError, match="busy"):
        cameras.push("not a token of ours", 0, _pictures(1)[0])
    clock.now += 11
    cameras.push(None, 0, _pictures(1)[0])
    assert len(cameras) == 2


def test_cameras_that_have_gone_are_forgotten(clock, models):
    cameras = Cameras(models, most=4)
    first, _ = cameras.push(None, 0, _pictures(1)[0])
    second, _ = cameras.push(None, 1, _pictures(1)[0])
    cameras.drop([second, "unknown"])
    assert len(cameras) == 1
    clock.now += 9
    cameras.drop_old()
    assert len(cameras) == 1
    clock.now += 1
    cameras.drop_old()
    assert len(cameras) == 0
    assert cameras.push(first, 0, _pictures(1)[0])[0] != first
