"""The pictures of an explanation: what they draw is what the record says, on scales that can be compared."""

import dataclasses
import io

import numpy as np
import pytest
from explanations import block, explanation
from PIL import Image

from gta.viz.explain_figures import attention_figure, block_label, mixing_figure, regions_figure
from gta.viz.figures import png_bytes
from gta.viz.overlays import heat_overlay, region_overlay
from gta.viz.strips import pick_columns


def _texts(figure) -> str:
    return "\n".join(text.get_text() for axis in figure.axes for text in [*axis.texts, axis.title]) + "\n".join(
        text.get_text() for text in figure.texts
    )


def test_labels_keep_what_tells_blocks_apart():
    assert block_label("backbone.network.layer2.0.attention.sa") == "layer2.0.sa"
    assert block_label("backbone") == "backbone"


def test_every_kind_of_block_has_its_row_and_names_are_no_formulas():
    record = explanation(block("nl"), block("sa"), block("ta"), block("gta"), model="$x_{")
    figure = attention_figure(record)
    assert png_bytes(figure).startswith(b"\x89PNG")
    words = _texts(figure)
    for part in ("layer.nl", "layer.sa", "layer.ta", "layer.gta", "evidence", "frame importance", r"\$x_{"):
        assert part in words


def test_bars_are_the_weights_of_temporal_attention():
    record = explanation(block("tape"))
    heights = [
        patch.get_height() for axis in attention_figure(record).axes for patch in axis.patches if patch.get_height()
    ]
    weights = record.blocks[0].attention.weights
    np.testing.assert_allclose(heights[-4:], weights / weights.max(), rtol=1e-5)


def test_matrices_share_one_symmetric_scale_and_axes_say_from_and_to():
    blocks = [block("gta", seed) for seed in (0, 1)]
    figure = mixing_figure(blocks, "x")
    limit = max(float(np.abs(one.mixing.matrices).max()) for one in blocks)
    highest = max(float(one.mixing.influence.max()) for one in blocks)
    scales = [axis.images[0].get_clim() for axis in figure.axes if axis.images]
    assert scales.count((pytest.approx(-limit), pytest.approx(limit))) == 2
    assert scales.count((0, pytest.approx(highest))) == 2
    labels = {axis.get_xlabel() for axis in figure.axes} | {axis.get_ylabel() for axis in figure.axes}
    assert {"from frame", "to frame"} <= labels
    assert "What to look for" in figure.get_supxlabel()
    with pytest.raises(ValueError, match="no block mixes frames"):
        mixing_figure([block("sa")], "x")


def test_regions_say_which_and_why():
    record = explanation(block("gta"))
    words = _texts(regions_figure(record, record.blocks[0]))
    assert "4 of 6 regions, the most distinct" in words.replace("\n", " ")
    with pytest.raises(ValueError, match="has no regions"):
        regions_figure(record, block("sa"))


def test_overlays_are_brightest_where_the_weight_is():
    frame = np.full((40, 40, 3), 100, np.uint8)
    weights = np.zeros((4, 4), np.float32)
    weights[1, 2] = 1
    drawn = heat_overlay(frame, weights, 1.0).astype(int)
    assert drawn[15, 25].sum() > drawn[35, 5].sum()
    assert np.ptp(drawn[30:, :10].reshape(-1, 3), axis=0).max() <= 1
    tinted = region_overlay(frame, weights, (1.0, 0.0, 0.0)).astype(int)
    assert tinted[15, 25, 0] > tinted[35, 5, 0]
    assert tinted[35, 5].tolist() == [30, 30, 30]


@pytest.mark.parametrize(("frames", "keep"), [(4, 1), (8, 0), (64, 33), (64, 63)])
def test_columns_are_few_and_hold_the_asked_frame(frames, keep):
    columns = pick_columns(frames, keep)
    assert len(columns) == min(frames, 8)
    assert keep in columns
    assert columns == sorted(set(columns))


def test_pictures_change_with_the_record():
    first, second = (
        np.asarray(Image.open(io.BytesIO(png_bytes(attention_figure(explanation(block("nl", seed)))))).convert("L"))
        for seed in (0, 1)
    )
    assert (first != second).any()


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("name", ["a very long class name " * 12, "\u5f53" * 90, "$x" * 80])
def test_long_names_are_cut_in_the_middle_so_that_they_fit(name):
    named = dataclasses.replace(block("sa"), name="stages.2.layers." * 6 + "last.sa")
    figure = attention_figure(explanation(named, model=name))
    right = figure.get_figwidth() * figure.dpi
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= right
    cut = [text.get_text() for text in figure.texts if "…" in text.get_text()]
    assert len(cut) >= 2
    assert cut[0].startswith(name[:1].replace("$", r"\$"))
    assert cut[0].endswith("%)")
    assert cut[1].endswith(".sa")
