"""Folders of optical flow: what is read, in which order, what mirroring does to it, what is said of damaged ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gta.clips.dataset import VideoDataset, clip_views
from gta.clips.transforms import Normalize
from gta.config import ClipConfig
from gta.datasets.listing import VideoList
from gta.errors import VideoError
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
