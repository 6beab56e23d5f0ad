"""What a study shows, in sentences that follow from the numbers by rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gta.studies.grids import Grid, Row
from gta.studies.results import CellResult, RowResult
from gta.studies.statistics import Summary, paired_gap, ranks


@dataclass(frozen=True)
class Study:
    """Everything that the report tells."""

    grid: Grid
    rows: tuple[RowResult, ...]
    seeds: tuple[int, ...]
    ceiling: float | None
    """Best top-1 without the order of frames, in [0, 1]; None if the data set does not say."""
    data: str
    """What the models were trained on and tested on, in a sentence."""
    command: str
    """Command that gives this study."""
    speed: Mapping[str, float] = field(default_factory=dict)
    """Key of the row -> training clips per second, all rows measured in turn; empty if that was not done (yet)."""

    @property
    def cells(self) -> list[CellResult]:
        """Finished cells, row by row."""
        return [cell for row in self.rows for cell in row.cells]

    def relative_speed(self, row: Row) -> float | None:
        """Training speed of a row in multiples of the row that it is compared with; None if it was not measured."""
        reference = self.grid.reference(row).key
        return self.speed[row.key] / self.speed[reference] if {row.key, reference} <= self.speed.keys() else None

    @property
    def num_planned(self) -> int:
        """Cells of the whole grid."""
        return len(self.rows) * len(self.seeds)


def findings(study: Study) -> list[str]:
    """Sentences that follow from the numbers by rule: the ceiling, the winner, where the paper's order differs."""
    lines: list[str] = []
    finished = [result for result in study.rows if result.cells]
    if study.ceiling is not None and finished:
        lines += _ceiling_findings(finished, study.ceiling)
    for part in dict.fromkeys(result.row.part for result in finished):
        lines += _order_findings([result for result in finished if result.row.part == part], part)
    return lines


def _ceiling_findings(finished: Sequence[RowResult], ceiling: float) -> list[str]:
    blind = [result for result in finished if not result.sees_order]
    seeing = [result for result in finished if result.sees_order]
    lines = []
    if blind:
        worst = max(cell.top1 for result in blind for cell in result.cells)
        verdict = "at or under" if worst <= ceiling else "ABOVE"
        names = "; ".join(_name(result) for result in blind)
        lines.append(
            f"Blind to the order of frames, as measured: {names}. Their best run reaches {100 * worst:.1f} %, "
            f"{verdict} the computed ceiling of {100 * ceiling:.2f} %."
        )
    if seeing:
        least = min((cell.top1, _name(result)) for result in seeing for cell in result.cells)
        lines.append(
            f"Of the models that see the order, the weakest run reaches {100 * least[0]:.1f} % ({least[1]}), "
            f"{100 * (least[0] - ceiling):+.1f} points from the ceiling."
        )
    return lines


def _order_findings(results: Sequence[RowResult], part: str) -> list[str]:
    """Compare the order of the rows by mean top-1 with the paper's, within one part of the table."""
    means = {result.row.key: summary.mean for result in results if (summary := result.summary("top1"))}
    names = {result.row.key: result.row.label for result in results}
    place = ranks(means)
    order = sorted(means, key=lambda key: place[key])
    where = f"{part}: " if part else ""
    lines = [f"{where}order by mean top-1: {', '.join(f'{names[key]} ({100 * means[key]:.1f})' for key in order)}."]
    paper = {result.row.key: value for result in results if (value := result.row.paper_ssv1) is not None}
    shared = [key for key in means if key in paper]
    runs = {result.row.key: {cell.seed: cell.top1 for cell in result.cells} for result in results}
    differing = [
        f"{names[first]} / {names[second]}{_doubt(paired_gap(runs[first], runs[second]))}"
        for i, first in enumerate(shared)
        for second in shared[i + 1 :]
        if (means[first] - means[second]) * (paper[first] - paper[second]) < 0
    ]
    total = len(shared) * (len(shared) - 1) // 2
    if total:
        lines.append(
            f"{where}{total - len(differing)} of {total} pairs of rows stand in the paper's order (SSv1)"
            + (f"; the others: {', '.join(differing)}." if differing else ".")
        )
    return lines


def _doubt(gap: Summary | None) -> str:
    """A remark if the seeds do not tell which of two rows is better."""
    half = None if gap is None else gap.half_width
    return "" if gap is None or half is None or abs(gap.mean) > half else " (not told apart by these seeds)"


def _name(result: RowResult) -> str:
    return f"{result.row.part}, {result.row.label}" if result.row.part else result.row.label
