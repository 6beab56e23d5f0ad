"""The records that `gta.explain` returns: looking things up in them, and the .npz file."""

import numpy as np
import pytest

from gta.explain import AttentionMaps, BlockExplanation, ClassMaps, Explanation, FrameImportance, Mixing
from gta.explain.records import read_meta


def explanation() -> Explanation:
    """A made-up record of a clip of 4 frames of 6 x 8 pixels, with every kind of field filled."""
    rng = np.random.default_rng(0)
    spatial = BlockExplanation(
        name="backbone.res3.0.attention.sa",
        kind="sa",
        grid=(2, 3, 4),
        frame_numbers=(0, 3),
        query=(0, 1, 1),
        attention=AttentionMaps(rng.random((3, 4), dtype=np.float32), rng.random((2, 3, 4, 3, 4), dtype=np.float32)),
        swapped=AttentionMaps(rng.random((3, 4), dtype=np.float32)),
        partner="backbone.res3.0.attention.ta",
    )
    mixing = Mixing(*(rng.random(shape, dtype=np.float32) for shape in ((2, 2, 2, 2), (2, 2), (2, 2), (2, 2, 2, 2))))
    regions = rng.random((2, 5, 3, 4), dtype=np.float32)
    temporal = BlockExplanation(
        name="backbone.res4.0.attention.gta",
        kind="gta",
        grid=(2, 3, 4),
        frame_numbers=(0, 3),
        query=(0, 1, 1),
        mixing=mixing,
        regions=regions,
    )
    return Explanation(
        source='a "<b>$\u202e.mp4',
        model="tiny_gta",
        classes=("one", "two", "three"),
        frames=np.zeros((4, 6, 8, 3), dtype=np.uint8),
        seconds=None,
        forward=np.array([0.2, 0.7, 0.1], dtype=np.float32),
        backward=np.array([0.6, 0.3, 0.1], dtype=np.float32),
        class_index=1,
        query=(1, 3, 2),
        blocks=(spatial, temporal),
        class_maps=(ClassMaps(1, "backbone", rng.random((2, 3, 4), dtype=np.float32), (0, 3)),),
        importance=FrameImportance(1, np.array([[0, 1], [1, 2]]), 0.7, np.array([0.6, 0.5]), np.array([0.1, 0.2]), 0.3),
    )


def test_the_file_holds_every_array_and_the_coordinates(tmp_path):
    record = explanation()
    path = record.to_npz(tmp_path / "deep" / "record.npz")
    with np.load(path, allow_pickle=False) as stored:
        meta = read_meta(stored)
        assert set(stored) == {
            *("frames", "forward", "backward", "meta", "class_map0"),
            *("block0_attention", "block0_attention_table", "block0_swapped"),
            *("block1_mixing", "block1_region_mixing", "block1_strength", "block1_influence", "block1_regions"),
            *("importance_groups", "importance_left_out", "importance_blanked"),
        }
        for name, array in record.to_arrays().items():
            np.testing.assert_array_equal(stored[name], array)
    assert meta["source"] == record.source
    assert meta["blocks"][0]["grid"] == [2, 3, 4]
    assert meta["class"] == "two"
    assert meta["importance"]["intact"] == 0.7
    assert [file.name for file in path.parent.iterdir()] == ["record.npz"]


def test_a_part_of_a_name_is_enough_if_it_is_one_block_s():
    record = explanation()
    assert record.block("res4").kind == "gta"
    assert record.block("attention.sa").kind == "sa"
    with pytest.raises(ValueError, match="names 2 attention blocks: the model has backbone"):
        record.block("attention")
    with pytest.raises(ValueError, match="names 0 attention blocks"):
        record.block("res5")


def test_top_classes_of_both_directions():
    record = explanation()
    assert [name for name, _ in record.top(2)] == ["two", "one"]
    assert [name for name, _ in record.top(5, backward=True)] == ["one", "two", "three"]


def test_the_grid_s_frame_nearest_to_a_frame_of_the_clip():
    block = explanation().blocks[0]
    assert [block.grid_frame(frame) for frame in range(4)] == [0, 0, 1, 1]


def test_importance_is_the_log_odds_that_are_lost():
    importance = explanation().importance
    expected = [np.log(0.7 / 0.3) - np.log(p / (1 - p)) for p in (0.6, 0.5)]
    np.testing.assert_allclose(importance.lost, expected)
    sure = FrameImportance(0, importance.groups, 1.0, np.array([1.0, 0.0]), np.array([1.0, 0.0]), 0.0)
    assert sure.lost[0] == 0
    assert 600 < sure.lost[1] < np.inf
