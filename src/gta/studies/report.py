"""The report of a study: Markdown, CSV and one self-contained HTML page, all from the same table."""

from collections.abc import Mapping, Sequence

from gta.csv_files import table_text
from gta.evaluation.statistics import Summary, proportion_error
from gta.studies.findings import Study, findings
from gta.studies.results import RowResult
from gta.viz.charts import Series, bars, legend, line_chart
from gta.viz.page import Group, Html, bullets, code, figure, figures, isolated, page, paragraph, section, with_names
from gta.viz.page import table as html_table

CELL_COLUMNS = (
    "row",
    "seed",
    "top1",
    "top5",
    "loss",
    "direction_accuracy",
    "reversed_top1",
    "shuffled_top1",
    "order_effect",
    "num_videos",
    "num_parameters",
    "gflops",
    "clips_per_second",
    "train_seconds",
    "peak_memory_mib",
)

_SUMMARISED = (
    "top1",
    "direction_accuracy",
    "top5",
    "reversed_top1",
    "shuffled_top1",
    "clips_per_second",
    "train_seconds",
    "peak_memory_mib",
)


# ---- numbers as text ------------------------------------------------------------------------------------------------


def percent(summary: Summary | None) -> str:
    """Mean ± sample deviation in percent, e.g. "91.2 ± 0.8"."""
    if summary is None:
        return "-"
    mean = f"{100 * summary.mean:.1f}"
    return mean if summary.deviation is None else f"{mean} ± {100 * summary.deviation:.1f}"


def points(summary: Summary | None) -> str:
    """A difference in percentage points with its 95 % confidence interval, e.g. "-3.1 [-5.0, -1.2]"."""
    if summary is None:
        return ""
    mean = f"{100 * summary.mean:+.1f}"
    half = summary.half_width
    if half is None:
        return mean
    return f"{mean} [{100 * (summary.mean - half):+.1f}, {100 * (summary.mean + half):+.1f}]"


def _plain(summary: Summary | None, form: str) -> str:
    return "-" if summary is None else format(summary.mean, form)


def _paper(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


# ---- CSV ------------------------------------------------------------------------------------------------------------


def cells_csv(study: Study) -> str:
    """One line per cell."""
    return table_text(CELL_COLUMNS, [[getattr(cell, name) for name in CELL_COLUMNS] for cell in study.cells])


def rows_csv(study: Study) -> str:
    """One line per row of the table: mean and sample deviation of every quantity over the seeds."""
    head = ["row", "label", "part", "model", "seeds", "sees_order", "num_parameters", "gflops"]
    head += [f"{name}_{kind}" for name in _SUMMARISED for kind in ("mean", "deviation")]
    head += [
        "gap_mean",
        "gap_half_width_95",
        "step_clips_per_second",
        "relative_speed",
        "paper_ssv1_top1_percent",
        "paper_ssv2_top1_percent",
    ]
    lines: list[list[object]] = []
    for result in study.rows:
        row = result.row
        line: list[object] = [row.key, row.label, row.part, row.model, len(result.cells)]
        first = result.cells[0] if result.cells else None
        line += [result.sees_order, first.num_parameters, first.gflops] if first else [None, None, None]
        for name in _SUMMARISED:
            summary = result.summary(name)
            line += [None, None] if summary is None else [summary.mean, summary.deviation]
        line += [None, None] if result.gap is None else [result.gap.mean, result.gap.half_width]
        line += [study.speed.get(row.key), study.relative_speed(row), row.paper_ssv1, row.paper_ssv2]
        lines.append(line)
    return table_text(head, lines)


# ---- the table ------------------------------------------------------------------------------------------------------


def _head(study: Study) -> list[str]:
    head = [
        "model",
        "runs",
        "top-1 %",
        "direction %",
        "sees order",
        f"gap to {study.grid.row(study.grid.references[0]).label}",
    ]
    head += ["played backwards %", "parameters", "GFLOPs", "clips/s", "relative speed", "memory MiB"]
    if study.grid.has_ssv1:
        head.append("paper, SSv1 %")
    if study.grid.has_ssv2:
        head.append("paper, SSv2 %")
    return head


def _line(study: Study, result: RowResult, head: Sequence[str]) -> list[str]:
    row = result.row
    speed = study.relative_speed(row)
    if result.cells:
        parameters, gflops = f"{result.cells[0].num_parameters / 1e6:.3f} M", f"{result.cells[0].gflops:.4f}"
    else:
        parameters, gflops = "-", "-"
    line = [
        row.label,
        str(len(result.cells)),
        percent(result.summary("top1")),
        percent(result.summary("direction_accuracy")),
        ("yes" if result.sees_order else "no") if result.cells else "-",
        points(result.gap),
        percent(result.summary("reversed_top1")),
        parameters,
        gflops,
        _plain(result.summary("clips_per_second"), ".0f"),
        "-" if speed is None else f"{speed:.2f}",
        _plain(result.summary("peak_memory_mib"), ".0f"),
    ]
    if "paper, SSv1 %" in head:
        line.append(_paper(row.paper_ssv1))
    if "paper, SSv2 %" in head:
        line.append(_paper(row.paper_ssv2))
    return line


def table(study: Study) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Head of the table, and its lines as (part, texts)."""
    head = _head(study)
    return head, [(result.row.part, _line(study, result, head)) for result in study.rows]


def _notes(study: Study) -> list[str]:
    count = next((result.num_videos for result in study.rows if result.cells), 0)
    budget = study.grid.budget
    notes = [
        "Top-1 and direction accuracy are of the final weights on the held-out videos: mean ± sample standard "
        "deviation over the runs, one for each seed. Direction: how often the true class scores above its own time "
        "reversal; guessing gives 50 %.",
        "Gap: difference of top-1 in percentage points, seed by seed, with the 95 % confidence interval of its mean "
        "(Student's t). Two rows differ significantly if the interval of their difference excludes 0. Sees order: "
        "whether any class probability of any held-out video changes when its frames are reversed or shuffled, as "
        "measured on the trained models.",
        f"Every cell: {budget.epochs} epochs, batches of {budget.batch_size}, {budget.optim.optimizer} with learning "
        f"rate {budget.optim.lr:g}, {budget.clip.crop_size}-pixel clips, {budget.accelerator} in {budget.precision} "
        "arithmetic. GFLOPs count a multiply-add once, for one clip. Memory: "
        + (
            "peak growth of the cell's process (weights, activations, optimiser, evaluation)."
            if budget.accelerator == "cpu"
            else "peak allocation on the GPU."
        ),
        "Clips/s: throughput of training, loading included; cells that run at the same time share the machine. "
        "Relative speed: training steps per second on clips in memory, as a multiple of the reference row's; all rows "
        "take turns in one process, medians.",
    ]
    if study.grid.has_ssv1 or study.grid.has_ssv2:
        notes.append(
            "The paper's numbers were measured on Something-Something V1 and V2 with ResNet-50 networks: another data "
            "set and other training. Only the order of the rows can be compared, not the values."
        )
    if count:
        notes.insert(
            1,
            f"With {count} held-out videos, sampling alone gives a single run a standard error of up to "
            f"{100 * proportion_error(0.5, count):.1f} points.",
        )
    return notes


def _environment(study: Study) -> list[str]:
    machines = sorted({cell.machine for cell in study.cells})
    versions: Mapping[str, str] = study.cells[0].versions if study.cells else {}
    text = ", ".join(f"{name} {version}" for name, version in versions.items())
    return [f"Machine: {'; '.join(machines)}.", f"Versions: {text}."] if study.cells else []


# ---- Markdown and HTML ----------------------------------------------------------------------------------------------


def markdown(study: Study, pictures: Mapping[str, str]) -> str:
    """The report in Markdown.

    Args:
        study: what to report.
        pictures: file name of a picture, relative to the report -> its caption.
    """
    head, lines = table(study)
    out = [f"# {study.grid.title}", "", study.grid.question, "", study.data]
    out += _progress_note(study)
    align = ["---"] + ["---:"] * (len(head) - 1)
    out += ["", "| " + " | ".join(head) + " |", "| " + " | ".join(align) + " |"]
    part = ""
    for group, texts in lines:
        if group and group != part:
            out.append("| " + " | ".join([f"**{group}**"] + [""] * (len(head) - 1)) + " |")
        part = group
        out.append("| " + " | ".join(texts) + " |")
    out += ["", "## Findings", ""] + [f"- {line}" for line in findings(study)]
    out += ["", "## How to read it", ""] + [f"- {line}" for line in _notes(study)]
    for name, caption in pictures.items():
        out += ["", f"![{caption}]({name})"]
    out += ["", "## How it was made", "", "```sh", study.command, "```", "", *_environment(study)]
    return "\n".join(out) + "\n"


def _progress_note(study: Study) -> list[str]:
    done = study.num_done
    if done == study.num_planned:
        return []
    return ["", f"**Unfinished: {done} of {study.num_planned} cells.**"]


def html_page(study: Study) -> str:
    """The report as one HTML page without scripts or second files."""
    head, lines = table(study)
    rows: list[list[str] | Group] = []
    part = ""
    for group, texts in lines:
        if group and group != part:
            rows.append(Group(isolated(group)))
        part = group
        rows.append([isolated(texts[0]), *texts[1:]])
    names = [result.row.label for result in study.rows]
    blocks = [
        paragraph(study.grid.question),
        paragraph(study.data),
        *(paragraph(line.strip("*"), kind="bad") for line in _progress_note(study) if line),
        html_table(head, rows),
        section("Findings", bullets(with_names(line, names) for line in findings(study))),
        *_plots(study),
        section("How to read it", bullets(_notes(study), kind="note")),
        section(
            "How it was made", code(study.command), *(paragraph(line, kind="note") for line in _environment(study))
        ),
    ]
    return page(study.grid.title, *blocks)


def _plots(study: Study) -> list[Html]:
    """Accuracies as bars, with a dot for each run, and the learning curves, means over the runs."""
    finished = [result for result in study.rows if result.cells]
    labels = [_label(result) for result in finished]
    plots: list[Html] = []
    for title, quantity, ceiling in (
        ("Top-1 on held-out videos", "top1", study.ceiling),
        ("Direction: the true class above its time reversal", "direction_accuracy", None),
    ):
        runs = {
            label: [100 * value for cell in result.cells if (value := getattr(cell, quantity)) is not None]
            for label, result in zip(labels, finished, strict=True)
        }
        if not any(runs.values()):
            continue
        means = {label: sum(values) / len(values) if values else None for label, values in runs.items()}
        limit = None if ceiling is None else 100 * ceiling
        words = "Mean over the runs; dots: single runs."
        if limit is not None:
            words += f" Dashed: best to be expected without the order of frames ({limit:.2f} %)."
        note = paragraph(words, kind="note")
        plots.append(section(title, note, bars(means, high=100, dots=runs, limit=limit)))
    trained = [result for result in finished if not result.row.ensemble]
    curves = [(_label(result), _mean_curve(result)) for result in trained]
    if any(curve for _, curve in curves):
        series = [Series(label, curve) for label, curve in curves]
        limit = None if study.ceiling is None else 100 * study.ceiling
        chart = line_chart(series, x_label="epoch", y_label="top-1, %", from_zero=True, limit=limit)
        names = legend(
            [label for label, _ in curves], limit="" if limit is None else "best without the order of frames"
        )
        plots.append(
            section(
                "Learning curves",
                paragraph("Top-1, %, mean over the runs.", kind="note"),
                names,
                figures(figure(chart)),
            )
        )
    return plots


def _label(result: RowResult) -> str:
    return f"{result.row.part}, {result.row.label}" if result.row.part else result.row.label


def _mean_curve(result: RowResult) -> list[float | None]:
    """Top-1 after each epoch in percent, mean over the runs; None where one of them was not validated."""
    series = [cell.curves.get("val_top1", ()) for cell in result.cells]
    return [
        None if any(value is None for value in values) else 100 * sum(values) / len(values)
        for values in zip(*series, strict=False)
    ]
