"""Writing a study's result folder: two CSV files, Markdown, one HTML page and the plots as PNG."""

from collections.abc import Sequence
from pathlib import Path

from gta.files import write_bytes, write_text
from gta.studies.findings import Study
from gta.studies.report import cells_csv, html_page, markdown, rows_csv
from gta.studies.results import RowResult
from gta.viz.figures import png_bytes
from gta.viz.study import Bar, CostPoint, accuracy_figure, cost_figure, seed_curve_figure

CELLS = "cells.csv"
ROWS = "rows.csv"
REPORT = "report.md"
PAGE = "report.html"


def draw_pictures(study: Study) -> dict[str, tuple[str, bytes]]:
    """The plots: file name -> (caption, PNG)."""
    top1 = _bars(study, "top1", paper=True)
    direction = _bars(study, "direction_accuracy", paper=False)
    pictures = {
        "accuracy.png": (
            "Top-1 of every run (dots), mean and sample deviation"
            + ("; right: the paper's numbers, on another data set" if study.grid.has_ssv1 else ""),
            png_bytes(accuracy_figure(top1, ceiling=study.ceiling, title=study.grid.title)),
        )
    }
    if any(bar.values for bar in direction):
        title = "direction accuracy (50 % = guessing)"
        figure = accuracy_figure(direction, ceiling=None, title=title, x_label="direction accuracy, %")
        pictures["direction.png"] = ("How often the true class scores above its time reversal", png_bytes(figure))
    costs = [_cost(study, result) for result in study.rows if result.cells]
    if len(costs) > 1:
        pictures["cost.png"] = (
            "Top-1 over the cost of a clip: mean over the runs, line from the lowest to the highest",
            png_bytes(cost_figure(costs, ceiling=study.ceiling, title=study.grid.title)),
        )
    curves = {
        f"{result.row.part}  {result.row.label}" if result.row.part else result.row.label: [
            cell.curves["val_top1"] for cell in result.cells
        ]
        for result in study.rows
        if result.cells and not result.row.ensemble
    }
    if curves:
        figure = seed_curve_figure(
            curves, ceiling=study.ceiling, title=study.grid.title, y_label="top-1 on held-out videos, %"
        )
        pictures["curves.png"] = (
            "Learning curves: mean over the seeds, band from lowest to highest",
            png_bytes(figure),
        )
    return pictures


def _cost(study: Study, result: RowResult) -> CostPoint:
    label = f"{result.row.part}  {result.row.label}" if result.row.part else result.row.label
    runs = [cell.top1 for cell in result.cells]
    rate = study.speed.get(result.row.key)
    return CostPoint(label, runs, result.cells[0].gflops, rate, result.sees_order)


def _bars(study: Study, quantity: str, *, paper: bool) -> Sequence[Bar]:
    return [
        Bar(
            result.row.label,
            [value for cell in result.cells if (value := getattr(cell, quantity)) is not None],
            part=result.row.part,
            paper=result.row.paper_ssv1 if paper else None,
        )
        for result in study.rows
    ]


def write_study(study: Study, folder: Path) -> Path:
    """Write all files of the report into `folder`; returns the Markdown report's path."""
    pictures = draw_pictures(study)
    for name, (_, png) in pictures.items():
        write_bytes(folder / name, png)
    write_text(folder / CELLS, cells_csv(study))
    write_text(folder / ROWS, rows_csv(study))
    write_text(folder / REPORT, markdown(study, {name: caption for name, (caption, _) in pictures.items()}))
    write_text(folder / PAGE, html_page(study))
    return folder / REPORT
