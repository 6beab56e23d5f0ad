"""Reports say what the numbers say."""

import csv
import io
import re
from dataclasses import replace

import pytest

from gta.evaluation.statistics import summarise
from gta.studies.findings import Study, findings
from gta.studies.grids import Budget, Grid, Row
from gta.studies.output import write_study
from gta.studies.report import cells_csv, html_page, markdown, percent, points, rows_csv
from gta.studies.results import RESULT, collect, read_result, result_to_json

ROWS = (
    Row("flat", "backbone alone", "tiny", part="2D", paper_ssv1=17.0, paper_ssv2=26.8),
    Row("nl", "+ NL", "tiny_nl", part="2D", paper_ssv1=31.2, paper_ssv2=50.7),
    Row("gta", "+ GTA", "tiny_gta", part="2D", paper_ssv1=50.6, paper_ssv2=63.5),
)
GRID = Grid("demo", "A table", "Does it help?", ROWS, references=("gta",), budget=Budget())


@pytest.fixture
def study(result):
    tops = {"flat": (0.40, 0.42, 0.44), "nl": (0.38, 0.40, 0.39), "gta": (0.80, 0.84, 0.82)}
    cells = [
        result(
            row,
            seed,
            top1=top,
            direction_accuracy=0.95 if row == "gta" else 0.5,
            order_effect=0.9 if row == "gta" else 1e-6,
        )
        for row, values in tops.items()
        for seed, top in enumerate(values)
    ]
    return Study(GRID, collect(GRID, cells), (0, 1, 2), 0.5625, "64 videos", "gta study demo")


def test_numbers_as_text():
    assert percent(summarise([0.5, 0.6])) == "55.0 ± 7.1"
    assert percent(summarise([0.5])) == "50.0"
    assert percent(None) == "-"
    assert points(summarise([-0.4, -0.42, -0.38])) == "-40.0 [-45.0, -35.0]"
    assert points(summarise([0.031])) == "+3.1"


def test_gaps_are_paired_by_seed(study):
    gaps = {row.row.key: row.gap for row in study.rows}
    assert gaps["gta"] is None
    assert gaps["flat"].mean == pytest.approx(-0.4)
    assert gaps["flat"].deviation == pytest.approx(0.02)


def test_findings_follow_from_the_numbers(study):
    text = "\n".join(findings(study))
    assert "Blind to the order of frames, as measured: 2D, backbone alone; 2D, + NL" in text
    assert "44.0 %, at or below the computed ceiling of 56.25 %" in text
    assert "weakest run reaches 80.0 %" in text
    assert "2 of 3 pairs" in text
    assert "backbone alone / + NL (not significantly different)" in text
    assert "+ GTA ranks 1st of 3" in text


def test_rows_under_different_headings_are_compared_if_they_have_one_reference(result):
    rows = (
        Row("pixel", "pixel", "tiny_pixel_gta", part="alone", paper_ssv1=48.5),
        Row("gta", "GTA", "tiny_gta", part="after SA", paper_ssv1=50.6),
    )
    grid = Grid("demo", "T", "?", rows, references=("gta",))
    cells = [result("pixel", 0, top1=0.95), result("gta", 0, top1=0.94)]
    text = "\n".join(findings(Study(grid, collect(grid, cells), (0,), None, "", "")))
    assert "0 of 1 pairs" in text
    assert "alone, pixel / after SA, GTA (not significantly different)" in text  # one seed gives no interval
    assert "After SA, GTA ranks 2nd of 2" in text


def test_agreement_within_the_noise_is_counted(result):
    tops = {"flat": (0.40, 0.50, 0.60), "nl": (0.46, 0.49, 0.61), "gta": (0.80, 0.81, 0.82)}
    cells = [result(row, seed, top1=top) for row, values in tops.items() for seed, top in enumerate(values)]
    text = "\n".join(findings(Study(GRID, collect(GRID, cells), (0, 1, 2), None, "", "")))
    assert "3 of 3 pairs of rows are in the paper's order (SSv1), 1 of them not significantly different" in text


def test_differences_within_the_noise_are_marked(result):
    tops = {"flat": (0.40, 0.50, 0.60), "nl": (0.45, 0.44, 0.45), "gta": (0.80, 0.81, 0.82)}
    cells = [result(row, seed, top1=top) for row, values in tops.items() for seed, top in enumerate(values)]
    text = "\n".join(findings(Study(GRID, collect(GRID, cells), (0, 1, 2), None, "", "")))
    assert "backbone alone / + NL (not significantly different)" in text


def test_a_blind_model_above_the_ceiling_is_not_hidden(result):
    for top1, words in ((0.56, "at or below"), (0.58, "above (within sampling error)"), (0.63, "ABOVE")):
        cells = [result("flat", 0, top1=top1), result("gta", 0, top1=0.5, order_effect=0.5)]
        text = "\n".join(findings(Study(GRID, collect(GRID, cells), (0,), 0.5625, "", "")))
        assert f"{words} the computed ceiling" in text


def test_markdown_has_every_row_and_the_warning(study):
    text = markdown(study, {"accuracy.png": "plot"})
    for row in ROWS:
        assert f"| {row.label} |" in text
    assert "| + GTA | 3 | 82.0 ± 2.0 | 95.0 ± 0.0 | yes |" in text
    assert "another data set" in text
    assert "gta study demo" in text
    assert "![plot](accuracy.png)" in text
    assert "Unfinished" not in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1


def test_unfinished_studies_say_so(result):
    study = Study(GRID, collect(GRID, [result("flat", 0)]), (0, 1), None, "", "")
    assert "Unfinished: 1 of 6 cells" in markdown(study, {})
    assert "Unfinished: 1 of 6 cells" in html_page(study)


def test_speed_is_told_against_the_reference_and_only_if_it_was_measured(study):
    assert "| relative speed |" in markdown(study, {})
    assert study.relative_speed(ROWS[0]) is None
    measured = replace(study, speed={"flat": 150.0, "nl": 50.0, "gta": 100.0})
    assert [measured.relative_speed(row) for row in ROWS] == [1.5, 0.5, 1.0]
    line = next(line for line in markdown(measured, {}).splitlines() if line.startswith("| + NL |"))
    assert "| 170 | 0.50 | 90 |" in line
    rows = list(csv.DictReader(io.StringIO(rows_csv(measured))))
    assert [(row["step_clips_per_second"], row["relative_speed"]) for row in rows] == [
        ("150.0", "1.5"),
        ("50.0", "0.5"),
        ("100.0", "1.0"),
    ]


def test_csv(study):
    cells = list(csv.DictReader(io.StringIO(cells_csv(study))))
    assert len(cells) == 9
    assert float(cells[0]["top1"]) == 0.40
    rows = list(csv.DictReader(io.StringIO(rows_csv(study))))
    assert [row["row"] for row in rows] == ["flat", "nl", "gta"]
    assert float(rows[2]["top1_mean"]) == pytest.approx(0.82)
    assert rows[2]["paper_ssv1_top1_percent"] == "50.6"
    assert (rows[0]["sees_order"], rows[2]["sees_order"]) == ("False", "True")


def test_html_stands_alone_and_escapes(result):
    rows = (Row("a", "<b>&", "tiny"), ROWS[2])
    grid = Grid("demo", "T < 3", "?", rows, references=("a",))
    study = Study(grid, collect(grid, [result("a", 0), result("gta", 0)]), (0,), None, "", "")
    page = html_page(study)
    assert "&lt;b&gt;&amp;" in page
    assert "T &lt; 3" in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "<script" not in page


def test_the_page_draws_the_numbers_of_the_runs(study):
    """Charts of the page itself, which stay readable on a narrow screen, not pictures made for a wide one."""
    page = html_page(study)
    assert "<img" not in page
    assert "best to be expected without the order of frames (56.25 %)" in page
    assert '<bdi>2D, + GTA</bdi></div><div class="track"' in page
    assert ">82.0 %</span>" in page
    assert page.count('class="dot"') == 2 * 9
    assert page.count("<svg") == 1


def test_all_files_are_written(study, tmp_path):
    report = write_study(study, tmp_path)
    assert report == tmp_path / "report.md"
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "report.md", "report.html", "cells.csv", "rows.csv", "accuracy.png", "direction.png", "cost.png", "curves.png"
    }  # fmt: skip
    for name in ("accuracy.png", "direction.png", "cost.png", "curves.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_results_survive_json(result, tmp_path):
    import json

    from gta.errors import RunFolderError

    cell = result("flat", 1)
    assert read_result(tmp_path) is None
    (tmp_path / RESULT).write_text(json.dumps(result_to_json(cell)))
    assert read_result(tmp_path) == cell
    (tmp_path / RESULT).write_text("{}")
    with pytest.raises(RunFolderError, match="another version"):
        read_result(tmp_path)
    (tmp_path / RESULT).write_text("{")
    with pytest.raises(RunFolderError, match="not valid JSON"):
        read_result(tmp_path)
