"""Predictions along a video: where windows lie, that each is what its frames alone give, what failures say."""

import itertools
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gta.cli import run
from gta.clips.dataset import _windows, clip_views, window_views
from gta.config import ClipConfig
from gta.errors import VideoError
from gta.video.file import VideoFile
from gta.video.folder import FrameFolder
from gta.video.reading import open_video, read_video
from video_files import encode

CLIP = ClipConfig(num_frames=4, crop_size=32, resize=(40, 48), test_clips=2, test_crops=3)
FILES = {
    "planned.mp4": {"gop": 8, "options": {"bf": "2"}},
    "sequential.avi": {"codec": "mpeg4", "gop": 9, "max_b_frames": 2},
}


@pytest.mark.parametrize(
    ("duration", "window", "hop", "expected"),
    [
        (10, 4, 4, [(0, 4), (4, 8), (8, 10)]),
        (9, 4, 4, [(0, 4), (4, 8)]),  # less than half a window is left
        (4, 4, 1, [(0, 4), (1, 4), (2, 4)]),
        (3, 4, 4, [(0, 3)]),
        (10, 2, 5, [(0, 2), (5, 7)]),
    ],
)
def test_where_windows_lie(duration, window, hop, expected) -> None:
    assert _windows(float(duration), float(window), float(hop)) == expected


@given(st.floats(0.01, 100), st.floats(0.05, 20), st.floats(0.05, 20))
def test_windows_cover_and_stay_inside(duration: float, window: float, hop: float) -> None:
    times = _windows(duration, window, hop)
    assert times[0][0] == 0
    assert all(0 <= start < end <= duration and end - start <= window + 1e-9 for start, end in times)
    assert all(after[0] - before[0] == pytest.approx(hop) for before, after in itertools.pairwise(times))
    assert all(end - start >= window / 2 - 1e-9 for start, end in times[1:])


@pytest.mark.parametrize("name", FILES)
def test_groups_are_what_single_reads_give(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, num_frames=60, **FILES[name])
    groups = [[0, 3, 3, 1], [2, 9, 5], [9, 9], [4, 30, 31, 0], [59, 58]]
    with open_video(path) as video:
        assert isinstance(video, VideoFile)
        assert video.is_read_sequentially == name.startswith("seq")
        for group, frames in zip(groups, video.read_groups(groups), strict=True):
            assert torch.equal(frames, read_video(path, group))
        halved = list(video.read_groups([[7], [8]], fit=lambda frame: frame[:, ::2, ::2]))
        assert torch.equal(halved[1], read_video(path, [8])[:, :, ::2, ::2])


@pytest.mark.parametrize("name", FILES)
def test_a_window_is_what_its_frames_alone_give(tmp_path: Path, name: str) -> None:
    path = encode(tmp_path / name, num_frames=70, rate=25, **FILES[name])
    found = list(window_views(path, CLIP, window=1.0, hop=0.6))
    assert [(round(start, 3), round(end, 3)) for start, end, _ in found] == [
        (0, 1), (0.6, 1.6), (1.2, 2.2), (1.8, 2.8),
    ]  # fmt: skip
    frames = read_video(path)
    for start, end, views in found:
        folder = tmp_path / f"{start:.1f}"
        folder.mkdir()
        part = frames[round(25 * start) : round(25 * end)]
        from PIL import Image

        for number, frame in enumerate(part):
            Image.fromarray(frame.permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
        assert torch.equal(views, clip_views(folder, CLIP))


def test_times_of_a_variable_frame_rate(tmp_path: Path) -> None:
    times = [0, 40, 80, 1000, 1040, 1080, 2000, 2040, 3000, 3500]
    path = encode(tmp_path / "vfr.mkv", num_frames=len(times), timestamps=times)
    with open_video(path) as video:
        assert [video.frame_range(start, start + 1) for start in (0.0, 1.0, 2.0)] == [(0, 3), (3, 6), (6, 8)]
    assert len(list(window_views(path, CLIP, window=1.0, hop=1.0))) >= 3


def test_a_folder_of_pictures_has_windows_too(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(24):
        Image.new("RGB", (48, 40), (number, 0, 0)).save(tmp_path / f"{number}.png")
    with open_video(tmp_path) as video:
        assert isinstance(video, FrameFolder)
    assert [(start, end) for start, end, _ in window_views(tmp_path, CLIP, window=1.0, hop=1.0)] == [
        (0, 1), (1, 2),
    ]  # fmt: skip


@pytest.mark.parametrize(("window", "hop"), [(0, 1), (-1, 1), (1, 0), (float("inf"), 1), (1, float("nan"))])
def test_lengths_that_are_none(tmp_path: Path, window: float, hop: float) -> None:
    with pytest.raises(ValueError, match="it must be above 0"):
        list(window_views(tmp_path, CLIP, window=float(window), hop=float(hop)))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import gta
    from gta.checkpoint import write_checkpoint
    from gta.config import config_to_json
    from gta.model_card import describe

    torch.manual_seed(0)
    model = gta.create_model("tiny_gta", num_classes=3, num_frames=4)
    card = describe(model=model.arguments, classes=("a", "b", "c"), clip=config_to_json(CLIP))
    weights = {f"model.{name}": value for name, value in model.state_dict().items()}
    path = tmp_path_factory.mktemp("checkpoint") / "x.ckpt"
    write_checkpoint(path, {"gta": card, "state_dict": weights})
    return path


def test_the_command_prints_times(checkpoint: Path, tmp_path: Path, capsys) -> None:
    long = str(encode(tmp_path / "long.mp4", num_frames=75, rate=25))
    assert run(["predict", str(checkpoint), long, "--window", "1", "--hop", "0.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == long
    assert lines[1].split()[:4] == ["0.00", "-", "1.00", "s"]
    assert len(lines) == 1 + 6
    (tmp_path / "bad.mp4").write_bytes(b"\x00 no video")
    words = ["predict", str(checkpoint), long, str(tmp_path / "bad.mp4"), "--window", "2", "--top-k", "2", "--json"]
    assert run(words) == 2
    good, bad = json.loads(capsys.readouterr().out)
    assert [(part["start_seconds"], part["end_seconds"]) for part in good["windows"]] == [(0, 2), (2, 3)]
    assert len(good["windows"][0]["predictions"]) == 2
    assert bad["error"]
    assert bad["windows"] == []


def test_windows_score_as_the_python_interface_does(checkpoint: Path, tmp_path: Path) -> None:
    import gta

    predictor = gta.Predictor.from_checkpoint(checkpoint, device="cpu")
    path = encode(tmp_path / "v.mp4", num_frames=50, rate=25)
    whole = predictor.predict(path, top_k=3)
    (only,) = predictor.predict_windows(path, window=60.0, top_k=3)
    assert (only.labels, only.scores, only.start_seconds) == (whole.labels, whole.scores, 0)
    assert only.end_seconds == pytest.approx(2)
    with pytest.raises(ValueError, match="top_k is 0: it must be 1 or more"):
        list(predictor.predict_windows(path, window=1.0, top_k=0))
    with pytest.raises(VideoError):
        list(predictor.predict_windows(tmp_path / "absent.mp4", window=1.0))
    with pytest.warns(FutureWarning, match="^topk is top_k now; the old name will be removed in the next release$"):
        assert predictor.predict(path, topk=3) == whole
    with pytest.warns(FutureWarning) as told:
        (old,) = predictor.predict_windows(path, window_seconds=60.0, hop_seconds=1.0, topk=3)
    assert old == only
    assert {str(one.message).split(";")[0] for one in told} == {
        "window_seconds is window now",
        "hop_seconds is hop now",
        "topk is top_k now",
    }
    with pytest.raises(TypeError, match="top_k twice: topk is its old name"):
        predictor.predict(path, topk=3, top_k=3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--window", "0"], "--window is 0: it must be above 0 seconds"),
        (["--window", "2", "--hop", "-1"], "--hop is -1: it must be above 0 seconds"),
        (["--hop", "1"], "--hop requires --window"),
        (["--window", "inf"], "--window is inf"),
        (["--window", "2", "--batch-size", "2"], "omit --batch-size"),
    ],
)
def test_options_that_cannot_be(checkpoint: Path, words: list[str], said: str, capsys) -> None:
    assert run(["predict", str(checkpoint), "x.mp4", *words]) == 2
    assert said in capsys.readouterr().err
