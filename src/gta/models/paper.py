"""The GFLOPs and parameters that papers print (`gta.paper`) next to those of this package's models."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from gta.models.flops import count_flops
from gta.models.registry import create_model
from gta.paper.costs import PAPER_ROWS, PaperRow


@dataclass(frozen=True)
class MeasuredRow:
    """A row of the paper with our numbers next to it."""

    paper: PaperRow
    """The row as printed."""
    gflops: float
    """Our multiply-adds of one clip, in 1e9."""
    parameters: float
    """Our number of parameters, in millions."""
    mixing: float = 0.0
    """How many of these parameters are in the mixing matrices M, in millions."""

    @property
    def gflops_difference(self) -> float | None:
        """Our multiply-adds minus the printed ones, in 1e9; None: not printed."""
        return None if self.paper.gflops is None else self.gflops - self.paper.gflops

    @property
    def parameters_difference(self) -> float | None:
        """Our parameters minus the printed ones, in millions; None: not printed."""
        return None if self.paper.parameters is None else self.parameters - self.paper.parameters

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        row = asdict(self.paper)
        row["clip"] = list(self.paper.clip)
        row["also"] = self.paper.also and list(self.paper.also)
        row["gflops_paper"], row["parameters_paper"] = row.pop("gflops"), row.pop("parameters")
        return row | {
            "gflops_ours": round(self.gflops, 3),
            "gflops_difference": _rounded(self.gflops_difference),
            "parameters_ours": round(self.parameters, 3),
            "parameters_of_mixing": round(self.mixing, 4),
            "parameters_difference": _rounded(self.parameters_difference),
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def measure_row(row: PaperRow) -> MeasuredRow:
    """Build the row's model on shapes only and count its multiply-adds (giga) and parameters (million)."""
    gflops = parameters = mixing = 0.0
    frames, height, width = row.clip
    for name, number in ((row.model, frames), *([row.also] if row.also else [])):
        with torch.device("meta"):
            model = create_model(name, num_classes=row.num_classes, num_frames=number, **row.options)
        sizes = {key: parameter.numel() for key, parameter in model.named_parameters()}
        gflops += count_flops(model, (3, number, height, width)) / 1e9
        parameters += sum(sizes.values()) / 1e6
        mixing += sum(size for key, size in sizes.items() if key.endswith("mixing")) / 1e6
    return MeasuredRow(row, gflops, parameters, mixing)


def measure_rows(rows: Sequence[PaperRow] = PAPER_ROWS) -> Iterator[MeasuredRow]:
    """Measure rows one after another; by default, the paper's own experiments."""
    return map(measure_row, rows)


MATRICES_COUNTED = (
    "Our parameters include the mixing matrices M: two per GTA block, one for pixels and one for regions. "
    "The paper prints the same number for NL, DNL and GTA, so it does not count them."
)
UNCHECKED = (
    "Of these, only TSM's table and pytorchvideo's model zoo were looked up; the others are commonly cited numbers."
)
HEADINGS = ("Table", "Model", "Clip", "GFLOPs paper", "ours", "diff.", "Params (M) paper", "ours", "diff.")


def as_cells(row: MeasuredRow, mark: str = "") -> tuple[str, ...]:
    """A row as texts under `HEADINGS`; `mark` refers to its note."""
    paper, gflops, parameters = row.paper, row.gflops_difference, row.parameters_difference
    year = "" if paper.year is None else f" ({paper.year})"
    return (
        str(paper.table),
        paper.title + year + (f" {mark}" if mark else ""),
        "x".join(map(str, paper.clip)),
        "-" if paper.gflops is None else f"{paper.gflops:.1f}",
        f"{row.gflops:.2f}",
        "-" if gflops is None else f"{gflops:+.2f}",
        "-" if paper.parameters is None else f"{paper.parameters:.1f}",
        f"{row.parameters:.2f}",
        "-" if parameters is None else f"{parameters:+.2f}",
    )


def marks(rows: Sequence[PaperRow]) -> dict[str, str]:
    """A mark for each note of the rows: an asterisk for the only one, else a, b, c."""
    notes = list(dict.fromkeys(row.note for row in rows if row.note))
    return dict(zip(notes, "*" if len(notes) == 1 else "abcdefghijklmnopqrstuvwxyz", strict=False))


def remarks(rows: Sequence[MeasuredRow]) -> list[str]:
    """The lines below a table: the mixing matrices, the notes, and the sources of numbers printed in other papers."""
    noted = marks([row.paper for row in rows])
    lines = [counted_matrices(rows)] if any(row.mixing for row in rows) else []
    lines += [f"{mark}: {note}" if mark != "*" else f"* {note}" for note, mark in noted.items()]
    sources: dict[str, list[str]] = {}
    for row in rows:
        if row.paper.source:
            sources.setdefault(row.paper.source, []).append(row.paper.title)
    if sources:
        told = (f"{', '.join(dict.fromkeys(titles))} from {source}" for source, titles in sources.items())
        lines.append(f"Printed numbers of other methods: {'; '.join(told)}.")
        lines.append(UNCHECKED)
    return lines


def as_markdown(rows: Sequence[MeasuredRow]) -> str:
    """The rows as a Markdown table, with the notes below it."""
    noted = marks([row.paper for row in rows])
    cells = [as_cells(row, noted.get(row.paper.note, "")) for row in rows]
    lines = [HEADINGS, ("---:", "---", "---", *["---:"] * 6), *cells]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    below = (f"\\{line}" if line.startswith("*") else line for line in remarks(rows))
    return text + "".join(f"\n\n{line}" for line in below)


def counted_matrices(rows: Sequence[MeasuredRow]) -> str:
    """State how many of the parameters are in the mixing matrices."""
    mixed = [row for row in rows if row.mixing]
    titles = [row.paper.title for row in mixed]
    numbers = (
        f"{row.mixing:.3f} M to {title}" + (f" with {row.paper.clip[0]} frames" if titles.count(title) > 1 else "")
        for row, title in zip(mixed, titles, strict=True)
    )
    return f"{MATRICES_COUNTED} They add {', '.join(numbers)}."
