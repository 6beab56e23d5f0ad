"""explain.html in a real browser: clicks, keys and switches do what the record's arrays say.

What `open_page` checks after each test holds for all: no error, no dialog, no request beyond the file.
"""

import numpy as np
import pytest
import torch
from explanations import CLASSES, GRID, block, explanation

import gta
from gta.explain.regions import distinct_regions
from gta.terminal import printable
from gta.viz.explain_page import REGIONS_SHOWN, TABLE_SIDE, write_explain_page

DEEPEST = 0.72  # opacity of the strongest place, as in explain.js

_ALPHAS = """(node) => {
  const data = node.getContext("2d").getImageData(0, 0, node.width, node.height).data;
  return [node.height, node.width, Array.from({ length: data.length / 4 }, (_, i) => data[4 * i + 3])];
}"""


def _alphas(page, frame: int, panel: int = 0) -> np.ndarray:
    canvas = page.locator(".panel").nth(panel).locator(".frame canvas").nth(frame)
    rows, columns, values = canvas.evaluate(_ALPHAS)
    return np.array(values).reshape(rows, columns)


def _click(page, frame: int, y: float, x: float, panel: int = 0) -> None:
    view = page.locator(".panel").nth(panel).locator(".frame .view").nth(frame)
    view.scroll_into_view_if_needed()
    box = view.bounding_box()
    page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])


def _cross(page) -> list[float]:
    """Number of the frame that the mark is in, and its place in percent from the top and from the left."""
    return page.evaluate(
        """() => {
          const cross = document.querySelector(".cross"), frames = [...document.querySelectorAll(".frame")];
          return [frames.indexOf(cross.closest(".frame")), parseFloat(cross.style.top), parseFloat(cross.style.left)];
        }"""
    )


def _meters(page) -> list[float | None]:
    found = page.locator(".panel").first.locator(".frame figcaption span").all_inner_texts()
    return [float(text.split(" ")[0].replace("\u2212", "-")) if text.strip() else None for text in found]


def _show(page, label: str) -> None:
    select = page.locator(".panel").first.locator("select").first
    options = select.locator("option").all_inner_texts()
    (number,) = [number for number, text in enumerate(options) if label in text]
    select.select_option(str(number))


@pytest.fixture(scope="module")
def record():
    return explanation(block("nl"), block("sa"), block("ta"), block("gta"))


@pytest.fixture(scope="module")
def file(record, tmp_path_factory):
    return write_explain_page(tmp_path_factory.mktemp("explain") / "explain.html", [record])


def test_a_click_moves_the_cross_and_the_overlay_is_what_the_array_says(record, file, open_page):
    page = open_page(file)
    table = record.blocks[0].attention.table
    for frame, y, x in ((2, 0.1, 0.9), (0, 0.45, 0.55), (3, 0.95, 0.05)):
        _click(page, frame, y, x)
        cross = _cross(page)
        assert cross[0] == frame
        assert cross[1:] == pytest.approx([100 * y, 100 * x], abs=1.5)
        wanted = table[frame, int(y * GRID[1]), int(x * GRID[2])]
        for number in range(4):
            alphas = 255 * DEEPEST * wanted[number] / wanted.max()
            np.testing.assert_allclose(_alphas(page, number), alphas, atol=1.5)
        np.testing.assert_allclose(_meters(page), 100 * wanted.sum(axis=(1, 2)), atol=1.5)


def test_spatial_attention_covers_the_asked_frame_alone_and_swapping_shows_the_other_table(record, file, open_page):
    page = open_page(file)
    _show(page, "layer.sa")
    _click(page, 3, 0.5, 0.3)
    for maps, swapped in ((record.blocks[1].attention, False), (record.blocks[1].swapped, True)):
        page.get_by_label("swapped projections").set_checked(swapped)
        wanted = maps.table[3, 2, 1]
        np.testing.assert_allclose(_alphas(page, 3), 255 * DEEPEST * wanted / wanted.max(), atol=1.5)
        assert _alphas(page, 0).max() == 0
    assert "layer.<b>ta</b>" in page.inner_text("body")


def test_temporal_weights_are_bars_under_the_frames(record, file, open_page):
    page = open_page(file)
    _show(page, "layer.ta")
    _click(page, 1, 0.9, 0.9)
    wanted = record.blocks[2].attention.table[1, 4, 5]
    np.testing.assert_allclose(_meters(page), 100 * wanted, atol=0.3)
    assert all(_alphas(page, frame).max() == 0 for frame in range(4))
    widths = page.evaluate("[...document.querySelectorAll('.meter span')].map(bar => parseFloat(bar.style.width))")
    np.testing.assert_allclose(widths, 100 * wanted / wanted.max(), atol=0.5)


def test_the_most_distinct_regions_are_shown_and_all_are_toggled(record, file, open_page):
    page = open_page(file)
    _show(page, "regions")
    regions = record.blocks[3].regions
    shown = {region.index for region in distinct_regions(regions, REGIONS_SHOWN)}
    for region in (None, 0, 3, 5, 0):
        if region is not None:
            page.get_by_label(f"region {region}").click()
            shown ^= {region}
        wanted = 255 * DEEPEST * regions[1, sorted(shown)].sum(axis=0)
        np.testing.assert_allclose(_alphas(page, 1), wanted, atol=2.5)


def test_stretching_lets_weak_maps_be_seen(record, file, open_page):
    page = open_page(file)
    _click(page, 2, 0.1, 0.1)
    page.get_by_label("stretch").check()
    wanted = record.blocks[0].attention.table[2, 0, 0]
    stretched = (wanted - wanted.min()) / np.ptp(wanted)
    np.testing.assert_allclose(_alphas(page, 1), 255 * DEEPEST * stretched[1], atol=1.5)
    _show(page, "regions")
    for region in range(1, 6):
        page.get_by_label(f"region {region}").set_checked(False)
    page.get_by_label("region 0").check()
    first = record.blocks[3].regions[:, 0]
    np.testing.assert_allclose(_alphas(page, 1), 255 * DEEPEST * (first[1] - first.min()) / np.ptp(first), atol=1.5)


def test_class_maps_and_importance(record, file, open_page):
    page = open_page(file)
    for maps in record.class_maps:
        _show(page, printable(CLASSES[maps.class_index]))
        np.testing.assert_allclose(_alphas(page, 2), 255 * DEEPEST * maps.maps[2], atol=1.5)
    _show(page, "importance")
    lost = record.importance.lost[[0, 0, 1, 2]]
    assert _meters(page) == pytest.approx(-lost, abs=0.006)
    assert page.locator(".meter.less").count() == int((lost < 0).sum()) == 1


def test_the_matrix_is_that_of_the_chosen_group_and_head(record, file, open_page):
    page = open_page(file)
    mixing = record.blocks[3].mixing
    strongest = np.unravel_index(int(mixing.strength.argmax()), mixing.strength.shape)
    options = page.locator(".panel select").nth(2)
    assert f"group {strongest[0]}, head {strongest[1]}" in options.locator("option").first.inner_text()
    for number in (0, 4):
        options.select_option(str(number))
        rows, columns, values = page.locator("canvas.matrix").evaluate(_ALPHAS)
        wanted = np.abs(mixing.matrices[divmod(number, 3)]) / np.abs(mixing.matrices).max()
        np.testing.assert_allclose(np.array(values).reshape(rows, columns), 255 * DEEPEST * wanted, atol=2)
    canvas = page.locator("canvas.influence")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.1)
    expected = f"from frame 2 to frame 0: {100 * mixing.influence[0, 2]:.1f} %"
    assert expected in page.inner_text("body")


def test_keys_move_the_mark_and_stay_inside(file, open_page):
    page = open_page(file)
    _click(page, 0, 0.5, 0.5)
    page.locator(".frames").focus()

    before = _cross(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert _cross(page) == pytest.approx([0, before[1] + 100 / GRID[1], before[2] + 100 / GRID[2]], abs=0.1)
    page.keyboard.press(".")
    assert _cross(page)[0] == 1
    for key in ("ArrowLeft", "ArrowUp"):
        for _ in range(9):
            page.keyboard.press(key)
    assert _cross(page) == pytest.approx([1, 50 / GRID[1], 50 / GRID[2]], abs=0.1)
    for _ in range(6):
        page.keyboard.press(",")
    assert _cross(page)[0] == 0


def test_every_control_is_reached_with_the_tabulator(file, open_page):
    page = open_page(file)
    controls = page.locator("button:visible, select:visible, input:visible, [tabindex]").count()
    seen = set()
    for _ in range(controls):
        page.keyboard.press("Tab")
        seen.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
    assert len(seen) == controls


def test_the_clip_plays_forwards_and_backwards_with_the_prediction_of_each(record, file, open_page):
    from playwright.sync_api import expect

    page = open_page(file)
    slider = page.get_by_label("frame", exact=True)
    shown = [node.strip() for node in page.locator(".chances .label").all_inner_texts()]
    top = [printable(name) for name, _ in record.top(5)] + [printable(name) for name, _ in record.top(5, backward=True)]
    assert shown[:10] == top
    page.get_by_role("button", name="forwards").click()
    expect(slider).to_have_value("3")
    page.get_by_role("button", name="backwards").click()
    assert page.locator(".chances .now").get_attribute("data-played") == "backwards"
    expect(slider).to_have_value("0")
    assert page.locator(".player img").get_attribute("src") == page.locator(".frame img").first.get_attribute("src")


def test_a_finger_asks_too(record, file, open_page):
    page = open_page(file, width=600, touch=True)
    view = page.locator(".frame .view").nth(2)
    view.scroll_into_view_if_needed()
    box = view.bounding_box()
    page.touchscreen.tap(box["x"] + 0.75 * box["width"], box["y"] + 0.3 * box["height"])
    wanted = record.blocks[0].attention.table[2, 1, 4]
    np.testing.assert_allclose(_alphas(page, 0), 255 * DEEPEST * wanted[0] / wanted.max(), atol=1.5)


def test_two_models_are_asked_at_the_same_place(tmp_path, open_page):
    first = explanation(block("nl"), model="one")
    second = explanation(block("nl", seed=5, grid=(2, 3, 3), frame_numbers=(0, 2)), model="two")
    page = open_page(write_explain_page(tmp_path / "explain.html", [first, second]))
    left, right = (page.locator(".panel").nth(number).bounding_box() for number in range(2))
    assert left["x"] + left["width"] <= right["x"]
    _click(page, 3, 0.9, 0.1, panel=1)
    wanted = first.blocks[0].attention.table[3, 4, 0]
    np.testing.assert_allclose(_alphas(page, 1), 255 * DEEPEST * wanted[1] / wanted.max(), atol=1.5)
    other = second.blocks[0].attention.table[1, 2, 0]
    np.testing.assert_allclose(_alphas(page, 1, panel=1), 255 * DEEPEST * other[0] / other.max(), atol=1.5)
    page.set_viewport_size({"width": 600, "height": 900})
    assert page.locator(".panel").nth(1).bounding_box()["x"] == page.locator(".panel").nth(0).bounding_box()["x"]


@pytest.mark.parametrize("dark", [False, True])
def test_names_are_shown_and_do_nothing_at_every_width(file, open_page, dark):
    page = open_page(file, dark=dark)
    shown = page.inner_text("body")
    for name in CLASSES:
        assert printable(name) in shown
    assert "Nothing <b>bold</b> happened." in shown
    assert page.evaluate("document.querySelectorAll('img[src=x], [onerror]').length") == 0
    for width in (1280, 600, 360):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), width


def test_a_model_without_attention_has_its_evidence_and_predictions(tmp_path, open_page):
    record = explanation()
    page = open_page(write_explain_page(tmp_path / "explain.html", [record]))
    np.testing.assert_allclose(_alphas(page, 2), 255 * DEEPEST * record.class_maps[0].maps[2], atol=1.5)
    assert page.locator("canvas.matrix").count() == 0


def test_a_click_gives_what_the_model_itself_gives_for_that_query(tmp_path, open_page):
    """From the click to the model and back: the page's stored maps against a new explanation of the clicked point."""
    torch.manual_seed(0)
    model = gta.create_model("tiny_nl", num_classes=3, num_frames=8)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    clip = torch.randint(0, 256, (8, 3, 48, 48), dtype=torch.uint8)
    record = gta.explain(model, clip, classes=["a", "b", "c"], table_side=TABLE_SIDE, importance=False)
    page = open_page(write_explain_page(tmp_path / "explain.html", [record]))
    _, rows, columns = record.blocks[0].grid
    assert max(rows, columns) <= TABLE_SIDE
    for frame, row, column in ((5, 0, columns - 1), (2, rows - 1, 1)):
        y, x = (row + 0.5) / rows, (column + 0.5) / columns
        _click(page, frame, y, x)
        asked = gta.explain(
            model, clip, query=(frame, int(48 * y), int(48 * x)), classes=["a", "b", "c"], importance=False
        )
        weights = asked.blocks[0].attention.weights
        for number in range(8):
            np.testing.assert_allclose(_alphas(page, number), 255 * DEEPEST * weights[number] / weights.max(), atol=1.5)
