import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gta import cli
from gta.datasets.listing import open_videos
from gta.synthetic import CLASSES, REVERSALS, render_mask, synthesize, write_mask
from gta.synthetic.parameters import draw_parameters
from gta.synthetic.render import render

SIZE = (48, 64)
FEW = ("Opening something", "Covering something with something")
SMALL = {"num_videos": 8, "val_fraction": 0.5, "frame_size": SIZE, "classes": FEW}


def in_one_color(parameters, color):
    looks = {
        name: dataclasses.replace(getattr(parameters, name), color=color, second_color=color)
        for name in ("look", "cover")
    }
    return dataclasses.replace(parameters, handle_color=color, inside_color=color, noise=0.0, **looks)


@settings(deadline=None, max_examples=25)
@given(name=st.sampled_from(CLASSES), seed=st.integers(0, 1000), index=st.integers(0, 10_000))
def test_a_mask_is_what_changes_with_the_object_s_colours(name, seed, index):
    parameters = draw_parameters(seed, index)
    mask = render_mask(name, parameters, frame_size=SIZE)
    pictures = [render(name, in_one_color(parameters, (v, v, v)), frame_size=SIZE).astype(int) for v in (0.0, 1.0)]
    assert mask.dtype == np.uint8
    assert mask.shape == pictures[0].shape[:3]
    assert np.abs((pictures[1] - pictures[0]) - mask[..., None]).max() <= 1


@pytest.mark.parametrize("name", ["Something appearing", "Covering something with something", "Moving something down"])
def test_the_masks_of_a_pair_are_each_other_s_reversal(name):
    parameters = draw_parameters(0, 3)
    first, second = (render_mask(one, parameters, frame_size=SIZE) for one in (name, REVERSALS[name]))
    assert np.array_equal(first, second[::-1])
    assert not np.array_equal(first, second)


def test_what_has_no_mask():
    with pytest.raises(ValueError, match="'Juggling' is not one of"):
        render_mask("Juggling", draw_parameters(0, 0))
    with pytest.raises(ValueError, match="frame size 30x64"):
        render_mask(FEW[0], draw_parameters(0, 0), frame_size=(30, 64))


@pytest.mark.parametrize("layout", ["folder", "ssv2", "ssv1", "kinetics"])
def test_masks_lie_beside_the_videos_and_are_no_videos(tmp_path, layout):
    root = tmp_path / "d"
    synthesize(root, layout=layout, **SMALL)
    listed = [open_videos(root, split).records for split in ("train", "val")]
    summary = synthesize(root, layout=layout, **SMALL, masks=True)  # added to a finished data set
    assert (summary.num_rendered, summary.num_kept) == (0, 8)
    assert [open_videos(root, split).records for split in ("train", "val")] == listed
    for record in (record for records in listed for record in records):
        path = root / "masks" / record.path.relative_to(root).with_suffix(".npz")
        with np.load(path, allow_pickle=False) as stored:
            assert stored["mask"].shape[1:] == SIZE
            assert stored["mask"].max() > 127
    assert len(list(root.rglob("*.npz"))) == 8
    again = synthesize(root, layout=layout, **SMALL, num_workers=1, masks=True)
    assert again.num_rendered == 0


def test_a_mask_that_is_missing_is_written_again_and_the_same(tmp_path):
    synthesize(tmp_path / "d", **SMALL, masks=True)
    path = next((tmp_path / "d" / "masks").rglob("*.npz"))
    before, others = path.read_bytes(), {file: file.stat().st_mtime_ns for file in (tmp_path / "d").rglob("*.mp4")}
    path.unlink()
    synthesize(tmp_path / "d", **SMALL, masks=True)
    with np.load(path) as stored:
        whole = stored["mask"]
    path.with_suffix(".old").write_bytes(before)
    with np.load(path.with_suffix(".old")) as stored:
        assert np.array_equal(stored["mask"], whole)
    assert others == {file: file.stat().st_mtime_ns for file in (tmp_path / "d").rglob("*.mp4")}


def test_one_mask_in_a_file_of_its_own(tmp_path):
    path = write_mask(tmp_path / "deep" / "mask.npz", FEW[0], seed=1, index=2, frame_size=SIZE)
    with np.load(path) as stored:
        assert np.array_equal(stored["mask"], render_mask(FEW[0], draw_parameters(1, 2), frame_size=SIZE))


def test_the_command_s_option(tmp_path):
    words = ["--num-videos", "32", "--height", "32", "--width", "32", "--num-workers", "0", "--masks"]
    assert cli.run(["synthesize", str(tmp_path / "d"), *words]) == 0
    assert len(list((tmp_path / "d" / "masks").rglob("*.npz"))) == 32
