"""Videos from wherever a user has them: paths, folders, patterns, lists, bytes, open files, frames in memory."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch

import gta
from gta.clips.dataset import clip_views
from gta.clips.sources import as_file, source_views
from gta.config import ClipConfig
from gta.datasets.finding import find_videos, is_frame_folder, read_path_list
from gta.errors import DataError, VideoError
from gta.video.reading import read_video
from video_files import encode

CLIP = ClipConfig(num_frames=4, crop_size=32, resize=(40, 48), test_clips=2, test_crops=3)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("source") / "a.mp4", num_frames=20)


def _predictor() -> gta.Predictor:
    torch.manual_seed(0)
    model = gta.create_model("tiny_gta", num_classes=3, num_frames=4)
    return gta.Predictor(model, classes=("x", "y", "z"), clip=CLIP)


def test_every_way_to_hand_over_a_video_gives_the_same_views(video: Path) -> None:
    expected = clip_views(video, CLIP)
    frames = read_video(video)
    opened = video.open("rb")
    sources = {
        "text": str(video),
        "bytes": video.read_bytes(),
        "view": memoryview(video.read_bytes()),
        "buffer": io.BytesIO(video.read_bytes()),
        "file": opened,
        "channels first": frames,
        "channels last": frames.permute(0, 2, 3, 1),
        "array": frames.permute(0, 2, 3, 1).numpy(),
        "array, not contiguous": np.asfortranarray(frames.numpy()),
    }
    with opened:
        for name, source in sources.items():
            assert torch.equal(source_views(source, CLIP), expected), name


def test_wrong_frames_and_wrong_things_are_named() -> None:
    with pytest.raises(ValueError, match="must be uint8, 0 to 255, not float32"):
        source_views(torch.zeros(4, 3, 8, 8), CLIP)
    with pytest.raises(ValueError, match=r"not \(4, 8, 8\)"):
        source_views(np.zeros((4, 8, 8), np.uint8), CLIP)
    with pytest.raises(ValueError, match=r"not \(0, 3, 8, 8\)"):
        source_views(torch.zeros(0, 3, 8, 8, dtype=torch.uint8), CLIP)
    with pytest.raises(TypeError, match="not dict"), as_file({}):
        pass
    with pytest.raises(TypeError, match="mode 'rb'"), as_file(io.StringIO("x")):
        pass


def test_bytes_that_are_no_video_say_so_without_naming_a_temporary_file(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"^<bytes>: "):
        source_views(b"no video" * 100, CLIP)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video" * 100)
    with broken.open("rb") as file, pytest.raises(VideoError) as caught:
        source_views(file, CLIP)
    assert caught.value.path == broken


def test_many_videos_at_once_are_what_each_gives_alone(video: Path, tmp_path: Path) -> None:
    predictor = _predictor()
    other = encode(tmp_path / "b.mp4", num_frames=9)
    (tmp_path / "notes.txt").write_text("no video")
    (tmp_path / "broken.mp4").write_bytes(b"no video" * 100)
    sources = [video, other, tmp_path / "broken.mp4", read_video(video), other.read_bytes()]
    found = predictor.predict(sources, top_k=3, batch_size=2)
    assert [entry.path for entry in found] == [video, other, tmp_path / "broken.mp4", None, None]
    assert found[2].error
    assert found[2].labels == found[2].scores == ()
    for number in (0, 1, 3, 4):
        alone = predictor.predict(sources[number], top_k=3)
        assert found[number].labels == alone.labels
        assert found[number].scores == pytest.approx(alone.scores, abs=1e-6)
        assert found[number].error is None
    assert [entry.path for entry in predictor.predict(tmp_path)] == [other, tmp_path / "broken.mp4"][::1]
    with pytest.raises(VideoError, match="broken"):
        predictor.predict(tmp_path / "broken.mp4")
    with pytest.raises(ValueError, match="batch_size is 0"):
        predictor.predict([video], batch_size=0)


def test_a_model_with_another_number_of_classes_than_names_is_refused(video: Path) -> None:
    model = _predictor().model
    for names in (("x",), ("x", "y", "z", "w")):
        predictor = gta.Predictor(model, classes=names, clip=CLIP)
        with pytest.raises(
            ValueError, match=rf"the model gives 3 scores per clip, but `classes` has {len(names)} name"
        ):
            predictor.predict(video)


def test_a_folder_of_videos_in_a_list_says_how_to_give_it(video: Path, tmp_path: Path) -> None:
    folder, missing = _predictor().predict([video.parent, tmp_path / "missing.mp4"])
    assert folder.error is not None
    assert "give the folder alone, not in a list" in folder.error
    assert missing.error == "no such file"


def test_finding_videos_in_folders_patterns_and_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b/2.mp4", "b/1.MKV", "b/notes.txt", ".hidden/x.mp4", "a.webm", "b/.x.mp4", "b/photo_1.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for number in range(3):
        (tmp_path / "frames").mkdir(exist_ok=True)
        (tmp_path / f"frames/{number:05d}.jpg").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    found = find_videos([tmp_path])
    names = [str(path.relative_to(tmp_path)) for path in found.videos]
    assert names == ["a.webm", "b/1.MKV", "b/2.mp4", "frames"]
    assert {path.name for path in found.ignored} == {"notes.txt", "photo_1.jpg"}
    assert is_frame_folder(tmp_path / "frames")
    assert not is_frame_folder(tmp_path / "b")
    patterns = find_videos([f"{tmp_path}/b/*.mp4", f"{tmp_path}/**/*.webm", tmp_path / "b/2.mp4"])
    assert [path.name for path in patterns.videos][:2] == ["2.mp4", "a.webm"]
    assert find_videos(["missing.mp4"]).videos == (Path("missing.mp4"),)
    odd = tmp_path / "take[1].mp4"
    odd.touch()
    assert find_videos([odd]).videos == (odd,)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no videos in this folder"):
        find_videos([tmp_path / "empty"])
    with pytest.raises(DataError, match="no video matches this pattern"):
        find_videos([f"{tmp_path}/*.avi"])
    (tmp_path / "list.txt").write_text("\ufeff# clips\na.mp4\n\n  b c.mp4 \n")
    assert read_path_list(tmp_path / "list.txt") == ["a.mp4", "b c.mp4"]
    monkeypatch.setattr("sys.stdin", io.StringIO("x.mp4\n"))
    assert read_path_list("-") == ["x.mp4"]
    for name, text, reason in (("none.txt", "# nothing\n", "no path in it"), ("gone.txt", None, "no such file")):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=reason):
            read_path_list(tmp_path / name)
