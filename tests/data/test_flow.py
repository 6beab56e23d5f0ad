"""Folders of optical flow: what is read, in which order, what mirroring does to it, what is said of damaged ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gta
from gta.bulk.rows import PredictRows
from gta.checkpoint import read_checkpoint, write_checkpoint
from gta.cli import run
from gta.clips.dataset import VideoDataset, clip_views
from gta.clips.transforms import Normalize
from gta.config import ClipConfig, config_to_json
from gta.datasets.listing import VideoList
from gta.errors import VideoError
from gta.export.runtimes import load_exported
from gta.model_card import describe
from gta.types import VideoRecord
from gta.video.flow import FlowFolder

FLOWS = 6


def picture(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((40, 48), value, dtype=np.uint8)).save(path)


def write(folder, *, style="tsn", flows=FLOWS):
    """Grey values 10 + t to the right and 100 + t downwards; frames stand beside them."""
    for t in range(flows):
        names = (
            (f"flow_x_{t + 1:05d}.png", f"flow_y_{t + 1:05d}.png") if style == "tsn" else (f"u/{t}.png", f"v/{t}.png")
        )
        picture(folder / names[0], 10 + t)
        picture(folder / names[1], 100 + t)
        if style == "tsn":
            picture(folder / f"img_{t + 1:05d}.png", 200)
    return folder


@pytest.mark.parametrize("style", ["tsn", "folders"])
def test_both_parts_of_each_flow_and_of_those_after_it_are_channels(tmp_path, style):
    with FlowFolder(write(tmp_path / "video", style=style), 2) as flow:
        assert flow.num_frames == FLOWS
        assert flow.frame_range(None, None) == (0, FLOWS)
        stacks = flow.read([3, 0, 5])
        assert [group.shape for group in flow.read_groups([[0], [1, 2]])] == [(1, 4, 40, 48), (2, 4, 40, 48)]
    assert stacks.dtype == torch.uint8
    # x and y of the index, x and y of the next one; the last is repeated
    assert stacks[:, :, 0, 0].tolist() == [[13, 103, 14, 104], [10, 100, 11, 101], [15, 105, 15, 105]]
    assert (stacks == stacks[:, :, :1, :1]).all()


def test_what_is_no_flow_is_said(tmp_path):
    picture(tmp_path / "frames" / "00001.png", 0)
    with pytest.raises(VideoError, match="no optical flow: neither flow_x_00001"):
        FlowFolder(tmp_path / "frames", 5)
    with pytest.raises(VideoError, match="not a folder of optical flow"):
        FlowFolder(tmp_path / "nothing", 5)
    folder = write(tmp_path / "uneven")
    (folder / "flow_y_00003.png").unlink()
    with pytest.raises(VideoError, match="it has 6 horizontal but 5 vertical flow images"):
        FlowFolder(folder, 5)


def test_data_sets_give_stacks_and_mirror_their_horizontal_part(tmp_path):
    path = write(tmp_path / "a" / "video")
    videos = VideoList(tmp_path, "folder", "train", ("a",), (VideoRecord(Path(path), 0),))
    clip = ClipConfig(num_frames=3, flow=2, resize=(32, 40), crop_size=32, crop="random", flip="random")
    train = VideoDataset(videos, clip, training=True)
    assert train.sample_shape == (4, 3, 32, 32)
    seen = {tuple(train[epoch, 0].clip[:, 0, 0, 0].tolist()) for epoch in range(40)}
    plain = {line for line in seen if line[0] < 100}
    assert plain
    assert len(plain) < len(seen)
    for x, y, next_x, next_y in seen:
        assert (y in range(100, 106), next_y in range(100, 106)) == (True, True)
        where = y - 100
        assert x in (10 + where, 245 - where)  # to the left, if mirrored
        assert (next_x < 100) == (x < 100)
    test = VideoDataset(videos, clip, training=False)
    assert test[0].clip.shape == test.sample_shape == (1, 4, 3, 32, 32)
    assert torch.equal(test[0].clip, clip_views(path, clip))


def test_flow_of_no_movement_becomes_nought():
    clips = torch.full((1, 4, 2, 3, 3), 128, dtype=torch.uint8)
    out = Normalize((0.4, 0.4, 0.4), (0.1, 0.2, 0.3), flow=2)(clips)
    torch.testing.assert_close(out, torch.full(out.shape, (128 / 255 - 0.5) / 0.2))
    with pytest.raises(ValueError, match=r"uint8 \(\.\.\., 4, T, H, W\)"):
        Normalize((0.4, 0.4, 0.4), (0.1, 0.2, 0.3), flow=2)(clips[:, :3])


@pytest.fixture
def checkpoint(tmp_path):
    """A model of two flows in a row, with crops that are larger in evaluation."""
    torch.manual_seed(0)
    model = gta.create_model("tiny_flow", num_classes=2, num_frames=3, flow_length=2)
    clip = config_to_json(ClipConfig(num_frames=3, flow=2, resize=(40, 48), crop_size=32, test_crop_size=40))
    card = describe(model=model.arguments, classes=("up", "down"), clip=clip)
    path = tmp_path / "best.ckpt"
    write_checkpoint(path, {"gta": card, "state_dict": {f"model.{k}": v for k, v in model.state_dict().items()}})
    return path


def test_windows_tables_and_pages_are_made_of_flow_too(checkpoint, tmp_path):
    path = write(tmp_path / "video", flows=24)  # two seconds
    predictor = gta.Predictor.from_checkpoint(checkpoint, device="cpu")
    whole = predictor.predict(path)
    row = PredictRows(checkpoint)(0)((0, str(path)))
    assert (row.labels, row.duration, row.error) == (whole.labels, 2.0, None)
    assert row.scores == pytest.approx(whole.scores)
    assert PredictRows(checkpoint)(0)((0, str(tmp_path))).error.startswith("no optical flow")
    (window,) = predictor.predict_windows(path, window=2.0)
    assert window.scores == pytest.approx(whole.scores)
    assert run(["push", str(checkpoint), "me/m", "--output", str(tmp_path / "page")]) == 0
    page = (tmp_path / "page" / "README.md").read_text()
    assert "3 frames of 40x40 pixels (tsn, stride 1), 2 optical flows each, from a folder" in page
    assert "red, green" not in page


def test_a_model_of_flow_is_exported_where_there_is_flow_to_compare_on(checkpoint, tmp_path, capsys):
    words = ["export", str(checkpoint), "--to", "torch", "--output", str(tmp_path / "out")]
    assert run(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "gta export: the model reads optical flow, which is not rendered: give --data, a data set of flow"
    for name in ("up", "down"):
        write(tmp_path / "data" / "val" / name / "a")
    assert run([*words, "--data", str(tmp_path / "data")]) == 0
    exported = load_exported(tmp_path / "out", trust=True)
    assert exported.card.clip_shape == (4, 3, 40, 40)
    plain = exported.card.to_plain()["export"]["input"]
    assert "horizontal and vertical part" in plain["meaning"]
    path = tmp_path / "data" / "val" / "up" / "a"
    expected = gta.Predictor.from_checkpoint(checkpoint, device="cpu").predict(path)
    found = gta.Predictor.from_exported(tmp_path / "out", trust=True).predict(path)
    assert found.labels == expected.labels
    assert found.scores == pytest.approx(expected.scores, abs=1e-4)
    assert read_checkpoint(checkpoint).card.clip == exported.card.clip


def test_a_stream_has_no_flow(checkpoint, tmp_path, capsys):
    assert run(["watch", str(checkpoint), str(tmp_path / "a.mp4"), "--device", "cpu"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the model reads optical flow" in line


def test_a_model_of_flow_is_explained_on_a_folder_of_it(tmp_path):
    model = gta.create_model("tiny_flow_gta", num_classes=2, num_frames=4, flow_length=2)
    clip = ClipConfig(num_frames=4, flow=2, resize=32, crop_size=32)
    predictor = gta.Predictor(model, classes=("up", "down"), clip=clip)
    path = write(tmp_path / "video", flows=24)
    found = gta.explain(predictor, path, query=(0, 1, 1))
    assert found.frames.shape == (4, 32, 32, 3)
    shown = clip_views(path, clip)[0]
    assert np.array_equal(found.frames[..., :2], shown[:2].permute(1, 2, 3, 0).numpy())  # red, green: the first flow
    assert (found.frames[..., 2] == 128).all()
    again = gta.explain(predictor, gta.prepare(shown[None], clip), query=(0, 1, 1))
    assert np.array_equal(again.frames, found.frames)
    with pytest.raises(ValueError, match=r"uint8 \(T, 4, H, W\)"):
        gta.explain(predictor, torch.zeros(1, 3, 4, 32, 32))
    with pytest.raises(VideoError, match="no optical flow"):
        gta.explain(predictor, tmp_path)


def test_flow_is_not_served(checkpoint, capsys):
    assert run(["serve", str(checkpoint)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"gta serve: {checkpoint.parent.name} reads optical flow, which is not computed from uploaded videos"
