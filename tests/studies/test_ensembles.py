"""Rows that average the scores of others: what is kept of a cell, what is averaged, what the report says of it."""

import numpy as np
import pytest

from gta.commands.study import StudyArguments, choose_grid
from gta.errors import RunFolderError
from gta.evaluation.orders import ORDERED, REVERSED
from gta.studies.ensembles import SCORES, ensemble_results, read_orders, together, write_orders
from gta.studies.findings import Study
from gta.studies.grids import Grid, Row
from gta.studies.output import write_study
from gta.studies.results import collect

ROWS = (Row("a", "A", "tiny"), Row("b", "B", "tiny_gta"), Row("both", "A + B", ensemble=("a", "b")))
GRID = Grid("demo", "A table", "?", ROWS, references=("a",))
LABELS = np.array([0, 1, 0, 1])


def scores(*first):
    """Probabilities of the first of two classes, one for each video."""
    return np.stack([np.array(first), 1 - np.array(first)], axis=1).astype(np.float32)


@pytest.fixture
def cells(result, tmp_path):
    made = {}
    one, other = scores(0.9, 0.6, 0.4, 0.4), scores(0.6, 0.3, 0.7, 0.2)
    shuffled = scores(1, 1, 1, 1)
    orders = {
        "a": {ORDERED: one, REVERSED: one, "shuffled 1": shuffled},
        "b": {ORDERED: other, REVERSED: scores(0.1, 0.9, 0.1, 0.9), "shuffled 1": shuffled},
    }
    for seed in (0, 1):
        for row, gflops in (("a", 2.0), ("b", 3.0)):
            folder = tmp_path / row / str(seed)
            folder.mkdir(parents=True)
            if seed == 0 or row == "a":
                write_orders(folder, LABELS, orders[row])
            made[row, seed] = (result(row, seed, gflops=gflops, num_parameters=10, clips_per_second=6 * gflops), folder)
    return made


def test_scores_are_averaged_order_by_order(cells):
    (found,) = ensemble_results(GRID, cells, reversals={"a": "b", "b": "a"})  # of seed 1, b has no scores
    assert (found.row, found.seed) == ("both", 0)
    # in order: 0.75 0.45 0.55 0.3, all right, where a is right twice; backwards: 0.5 0.75 0.25 0.65
    assert (found.top1, found.direction_accuracy) == (1.0, 1.0)
    assert found.reversed_top1 == pytest.approx(0.25)
    assert found.shuffled_top1 == pytest.approx(0.5)
    assert found.order_effect == pytest.approx(0.7)
    assert found.loss == pytest.approx(-np.log([0.75, 0.55, 0.55, 0.7]).mean(), rel=1e-5)
    assert (found.gflops, found.num_parameters, found.train_seconds) == (5.0, 20, 120.0)
    assert found.clips_per_second == pytest.approx(1 / (1 / 12 + 1 / 18))
    assert found.per_class == {"a": 1.0, "b": 1.0}


def test_rows_tested_on_different_videos_are_no_ensemble(cells):
    write_orders(cells["b", 0][1], LABELS[::-1], {name: scores(1, 1, 1, 1) for name in (ORDERED, REVERSED)})
    with pytest.raises(RunFolderError, match="row both, seed 0: its rows were tested on different videos"):
        ensemble_results(GRID, cells, reversals={})


def test_damaged_scores_are_said(tmp_path):
    assert read_orders(tmp_path) is None
    (tmp_path / SCORES).write_bytes(b"PK no archive")
    with pytest.raises(RunFolderError, match=r"scores\.npz: damaged: delete the cell's folder"):
        read_orders(tmp_path)
    write_orders(tmp_path, LABELS, {ORDERED: scores(1, 1, 1, 1)})
    with pytest.raises(RunFolderError, match="damaged"):
        read_orders(tmp_path)


def test_the_report_has_the_ensemble_and_the_picture_of_cost(cells, tmp_path):
    results = [result for result, _ in cells.values()] + ensemble_results(GRID, cells, reversals={"a": "b", "b": "a"})
    study = Study(
        GRID, collect(GRID, results), (0, 1), 0.5, "4 videos", "gta study demo", {"a": 2.0, "b": 1.0, "both": 2 / 3}
    )
    assert (study.num_planned, study.num_done) == (4, 4)
    assert study.relative_speed(GRID.row("both")) == pytest.approx(1 / 3)
    report = write_study(study, tmp_path / "report").read_text(encoding="utf-8")
    line = next(line for line in report.splitlines() if line.startswith("| A + B"))
    assert "| 1 | 100.0 |" in line
    assert "| 5.0000 |" in line
    assert "![Top-1 over the cost of a clip" in report
    assert (tmp_path / "report" / "cost.png").read_bytes().startswith(b"\x89PNG")
    assert "Unfinished" not in report


def test_rows_of_an_ensemble_come_with_it():
    grid = choose_grid(StudyArguments("methods", rows=("gta-8-16",)))
    assert {row.key for row in grid.rows} == {"gta", "gta16", "gta-8-16"}
    assert [row.key for row in grid.trained] == ["gta", "gta16"]


def test_rates_of_networks_one_after_another():
    assert together([2.0, 2.0]) == 1.0
    assert together([2.0, None]) is None
    assert together([]) is None
