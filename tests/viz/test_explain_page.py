"""explain.html: what is stored in it is what the record says, within 8 bits and 8 MB, and names make no markup."""

import base64
import json
import re

import numpy as np
import pytest
from explanations import CLASSES, attention, block, explanation
from hypothesis import given
from hypothesis import strategies as st

from gta.explain import AttentionMaps
from gta.viz.explain_page import coarser, explain_page, influence_words, reduced, write_explain_page


def _data(page: str) -> dict:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return json.loads(text)


def _bytes(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8)


@pytest.mark.parametrize("kind", ["nl", "sa", "ta", "tape"])
def test_tables_read_back_within_half_a_step_of_8_bits(kind):
    record = explanation(block(kind))
    (stored,) = _data(explain_page([record]))["panels"][0]["blocks"]
    table = record.blocks[0].attention.table
    maps = stored["attention"]
    assert maps["query"] == list(table.shape[:3])
    assert maps["map"] == list(table.shape[3:])
    top = np.frombuffer(base64.b64decode(maps["top"]), "<f4")
    flat = table.reshape(len(top), -1)
    np.testing.assert_array_equal(top, flat.max(axis=1))
    found = _bytes(maps["bytes"]).reshape(flat.shape) / 255 * top[:, None]
    assert (np.abs(found - flat) <= top[:, None] * (0.5 / 255 + 1e-6)).all()


def test_signed_maps_read_back():
    rng = np.random.default_rng(0)
    table = rng.standard_normal((2, 3, 3, 2, 3, 3)).astype(np.float32)
    from dataclasses import replace

    signed = replace(block("nl"), attention=AttentionMaps(table[0, 0, 0], table, softmax=False))
    (stored,) = _data(explain_page([explanation(signed)]))["panels"][0]["blocks"]
    maps = stored["attention"]
    assert maps["signed"]
    top = np.frombuffer(base64.b64decode(maps["top"]), "<f4")
    found = (_bytes(maps["bytes"]).reshape(len(top), -1) - 128.0) / 127 * top[:, None]
    np.testing.assert_allclose(found, table.reshape(len(top), -1), atol=float(top.max()) / 250)


def test_mixing_and_regions_read_back():
    record = explanation(block("gta"))
    (stored,) = _data(explain_page([record]))["panels"][0]["blocks"]
    mixing, made = stored["mixing"], record.blocks[0].mixing
    found = (_bytes(mixing["bytes"]) - 128.0) / 127 * mixing["top"]
    np.testing.assert_allclose(found, made.matrices.reshape(-1), atol=mixing["top"] / 250)
    assert mixing["order"][0] == int(made.strength.reshape(-1).argmax())
    np.testing.assert_allclose(mixing["influence"], made.influence, atol=1e-5)
    assert stored["regions"]["shape"] == list(record.blocks[0].regions.shape)
    regions = record.blocks[0].regions
    low, high = (np.array(stored["regions"][name])[:, None, None] for name in ("low", "high"))
    found = low + _bytes(stored["regions"]["bytes"]).reshape(regions.shape) / 255 * (high - low)
    np.testing.assert_allclose(found, regions, atol=1 / 500)


def test_regions_that_hardly_differ_from_place_to_place_are_not_rounded_away():
    from dataclasses import replace

    faint = np.float32(0.5) + np.float32(1e-4) * np.random.default_rng(0).random((4, 2, 5, 6), dtype=np.float32)
    (stored,) = _data(explain_page([explanation(replace(block("gta"), regions=faint))]))["panels"][0]["blocks"]
    assert len(np.unique(_bytes(stored["regions"]["bytes"]))) > 100


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9), st.sampled_from(["nl", "sa", "ta"]))
def test_coarser_tables_keep_the_sums_of_their_maps(rows, columns, cells, kind):
    table = attention(np.random.default_rng(rows), kind, (2, rows, columns)).table
    small = coarser(table, kind, cells)
    assert small.shape[:3] == (2, min(rows, cells), min(columns, cells))
    sums = small.reshape(*small.shape[:3], -1).sum(axis=-1)
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    if cells >= max(rows, columns):
        np.testing.assert_array_equal(small, table)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12))
def test_reduced_maps_are_means_of_their_cells(rows, columns, cells):
    maps = np.random.default_rng(rows).random((2, rows, columns))
    small = reduced(maps, cells)
    cut = [[side * cell // min(side, cells) for cell in range(min(side, cells) + 1)] for side in (rows, columns)]
    for y, (top, bottom) in enumerate(zip(cut[0], cut[0][1:], strict=False)):
        for x, (left, right) in enumerate(zip(cut[1], cut[1][1:], strict=False)):
            np.testing.assert_allclose(small[:, y, x], maps[:, top:bottom, left:right].mean(axis=(1, 2)))


def test_resolution_is_given_up_to_stay_below_the_limit():
    record = explanation(block("nl", grid=(4, 7, 7)), size=(200, 300))
    large = explain_page([record])
    small = explain_page([record], most_bytes=len(large) * 2 // 3)
    assert len(small) <= len(large) * 2 // 3
    assert _data(small)["panels"][0]["size"] == [200, 300]
    with pytest.raises(ValueError, match=r"more than 0\.0: explain fewer frames"):
        explain_page([record], most_bytes=1000)


def test_a_slowfast_clip_of_non_local_blocks_beside_another_stays_below_8_mb():
    blocks = [block("nl", seed, grid=(16, 7, 7), frame_numbers=range(0, 64, 4)) for seed in range(3)]
    record = explanation(*blocks, frames=64, size=(112, 112))
    assert len(explain_page([record, record])) <= 8_000_000


def test_names_make_no_markup():
    page = explain_page([explanation(block("sa"), block("gta"))])
    for part in ("<img", "</script><script>", "<b>bold"):
        assert part not in page.replace('<script>"use strict"', "")
    names = [name for name, _ in _data(page)["panels"][0]["predictions"][0]["classes"]]
    assert sorted(names) == sorted(CLASSES)


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(ValueError, match="0 explanations"):
        explain_page([])
    with pytest.raises(ValueError, match="3 explanations"):
        explain_page([explanation()] * 3)
    from dataclasses import replace

    untabled = replace(block("sa"), attention=AttentionMaps(np.ones((5, 6), np.float32) / 30))
    with pytest.raises(ValueError, match=r"layer.sa.*table_side=7"):
        explain_page([explanation(untabled)])


def test_the_file_is_written_whole(tmp_path):
    path = write_explain_page(tmp_path / "deep" / "explain.html", [explanation()])
    assert path.read_text(encoding="utf-8").endswith("</html>\n")
    assert [file.name for file in path.parent.iterdir()] == ["explain.html"]


def test_the_sentence_on_influence_follows_from_the_numbers():
    influence = np.eye(3, dtype=np.float32)
    assert influence_words(influence) == "No frame uses another one."
    influence[2, 0] = 0.5
    assert "frame 2 uses frame 0, which changes its features by 50.0 %" in influence_words(influence)
    assert "100 % of what frames take from others is from earlier frames" in influence_words(influence)
    influence[0, 2] = 0.5
    assert "alike" in influence_words(influence)
