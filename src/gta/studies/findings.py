"""What a study shows, in sentences that follow from the numbers by rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gta.evaluation.statistics import Summary, paired_gap, proportion_error, ranks
from gta.studies.grids import Grid, Row
from gta.studies.results import CellResult, RowResult


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
        return len(self.grid.trained) * len(self.seeds)

    @property
    def num_done(self) -> int:
        """Finished ones among them."""
        return sum(len(row.cells) for row in self.rows if not row.row.ensemble)


def findings(study: Study) -> list[str]:
    """Sentences that follow from the numbers by rule: the ceiling, the winner, where the paper's order differs."""
    lines: list[str] = []
    finished = [result for result in study.rows if result.cells]
    if study.ceiling is not None and finished:
        lines += _ceiling_findings(finished, study.ceiling)
    for results, where in _groups(study.grid, finished):
        lines += _order_findings(results, where)
    return [line[0].upper() + line[1:] for line in lines]


def _groups(grid: Grid, finished: Sequence[RowResult]) -> list[tuple[list[RowResult], str]]:
    """The rows that are compared with each other, and their heading: those that have the same reference."""
    groups: dict[str, list[RowResult]] = {}
    for result in finished:
        groups.setdefault(grid.reference(result.row).key, []).append(result)
    several = len(groups) > 1
    return [(results, grid.row(key).part if several else "") for key, results in groups.items()]


_ERRORS_ALLOWED = 3
"""Standard errors by which the best of several runs may exceed an expected value without contradicting it."""


def _ceiling_findings(finished: Sequence[RowResult], ceiling: float) -> list[str]:
    blind = [result for result in finished if not result.sees_order]
    seeing = [result for result in finished if result.sees_order]
    lines = []
    if blind:
        worst, count = max((cell.top1, cell.num_videos) for result in blind for cell in result.cells)
        margin = _ERRORS_ALLOWED * proportion_error(ceiling, count)
        verdict = "at or below" if worst <= ceiling else "above (within sampling error)"
        verdict = verdict if worst <= ceiling + margin else "ABOVE"
        names = "; ".join(_name(result) for result in blind)
        lines.append(
            f"Blind to the order of frames, as measured: {names}. Their best run reaches {100 * worst:.1f} %, "
            f"{verdict} the computed ceiling of {100 * ceiling:.2f} %."
        )
    if seeing:
        least = min((cell.top1, _name(result)) for result in seeing for cell in result.cells)
        lines.append(
            f"Of the models that see the order, the weakest run reaches {100 * least[0]:.1f} % ({least[1]}), "
            f"{100 * (least[0] - ceiling):+.1f} points relative to the ceiling."
        )
    return lines


def _order_findings(results: Sequence[RowResult], where: str) -> list[str]:
    """Compare the order of rows by mean top-1 with the paper's, and say where the reference row stands."""
    means = {result.row.key: summary.mean for result in results if (summary := result.summary("top1"))}
    parts = {result.row.part for result in results}
    names = {result.row.key: _name(result) if len(parts) > 1 else result.row.label for result in results}
    rank = ranks(means)
    order = sorted(means, key=lambda key: rank[key])
    where = f"{where}: " if where else ""
    lines = [f"{where}order by mean top-1: {'; '.join(f'{names[key]} ({100 * means[key]:.1f})' for key in order)}."]
    reference = next((result.row.key for result in results if result.is_reference), None)
    if reference is not None:
        lines.append(f"{where}{names[reference]} ranks {_ordinal(rank[reference])} of {len(rank)}.")
    return lines + _paper_findings(results, names, means, where)


def _paper_findings(
    results: Sequence[RowResult], names: Mapping[str, str], means: Mapping[str, float], where: str
) -> list[str]:
    """Which pairs of rows are in the paper's order, and which of the differences are significant."""
    paper = {result.row.key: value for result in results if (value := result.row.paper_ssv1) is not None}
    shared = [key for key in means if key in paper]
    runs = {result.row.key: {cell.seed: cell.top1 for cell in result.cells} for result in results}
    pairs = [(one, other) for i, one in enumerate(shared) for other in shared[i + 1 :] if paper[one] != paper[other]]
    differing, doubtful = [], 0
    for one, other in pairs:
        significant = _significant(paired_gap(runs[one], runs[other]))
        if (means[one] - means[other]) * (paper[one] - paper[other]) > 0:
            doubtful += not significant
        else:
            remark = "" if significant else " (not significantly different)"
            differing.append(f"{names[one]} / {names[other]}{remark}")
    if not pairs:
        return []
    text = f"{where}{len(pairs) - len(differing)} of {len(pairs)} pairs of rows are in the paper's order (SSv1)"
    text += f", {doubtful} of them not significantly different" if doubtful else ""
    return [text + (f"; the others: {'; '.join(differing)}." if differing else ".")]


def _significant(gap: Summary | None) -> bool:
    """Whether the 95 % interval of a gap excludes 0; with a single seed there is none."""
    half = None if gap is None else gap.half_width
    return gap is not None and half is not None and abs(gap.mean) > half


def _ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, ..."""
    teen = number % 100 in (11, 12, 13)
    return f"{number}{'th' if teen else {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th')}"


def _name(result: RowResult) -> str:
    return f"{result.row.part}, {result.row.label}" if result.row.part else result.row.label
