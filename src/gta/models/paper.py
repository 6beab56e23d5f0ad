"""The paper's Tables 1 and 5 (GFLOPs and parameters) beside what this package's models measure."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

from gta.models.flops import count_flops
from gta.models.registry import create_model


@dataclass(frozen=True)
class PaperRow:
    """One row of the paper, and the model that stands for it."""

    table: int
    title: str
    model: str
    num_classes: int
    clip: tuple[int, int, int]
    """Frames, height and width that the paper counts for."""
    gflops: float
    """Giga multiply-adds that the paper prints."""
    parameters: float | None = None
    """Million parameters that the paper prints, if it does."""
    note: str = ""


_IN_2D = (8, 224, 224)
_IN_3D = (64, 256, 256)
_R101_NOTE = "the paper prints 137 for both, which five blocks of either kind do not explain"

PAPER_ROWS: tuple[PaperRow, ...] = (
    PaperRow(1, "R2D-50", "r2d50", 174, _IN_2D, 32.7, 23.9),
    PaperRow(1, "R2D-50 + NL", "r2d50_nl", 174, _IN_2D, 61.1, 31.2),
    PaperRow(1, "R2D-50 + DNL", "r2d50_dnl", 174, _IN_2D, 49.9, 31.2),
    PaperRow(1, "R2D-50 + GTA", "r2d50_gta", 174, _IN_2D, 50.2, 31.2),
    PaperRow(1, "SlowFast-R50 16x8", "slowfast50_16x8", 174, _IN_3D, 131.4, 34.0),
    PaperRow(1, "SlowFast-R50 16x8 + NL", "slowfast50_16x8_nl", 174, _IN_3D, 239.9, 41.4),
    PaperRow(1, "SlowFast-R50 16x8 + DNL", "slowfast50_16x8_dnl", 174, _IN_3D, 169.1, 41.4),
    PaperRow(1, "SlowFast-R50 16x8 + GTA", "slowfast50_16x8_gta", 174, _IN_3D, 169.9, 41.4),
    PaperRow(5, "C2D-R50 + NL", "c2d50_nl", 400, (8, 256, 256), 77.0),
    PaperRow(5, "C2D-R50 + GTA", "c2d50_gta", 400, (8, 256, 256), 62.0),
    PaperRow(5, "SlowFast-R101 8x8 + NL", "slowfast101_8x8_nl", 400, (32, 256, 256), 137.0, note=_R101_NOTE),
    PaperRow(5, "SlowFast-R101 8x8 + GTA", "slowfast101_8x8_gta", 400, (32, 256, 256), 137.0, note=_R101_NOTE),
)


@dataclass(frozen=True)
class MeasuredRow:
    """A row of the paper with our numbers beside it."""

    paper: PaperRow
    gflops: float
    parameters: float
    mixing: float = 0.0
    """Of the parameters, those of the mixing matrices M, in millions."""

    @property
    def gflops_difference(self) -> float:
        """Ours minus the paper's."""
        return self.gflops - self.paper.gflops

    @property
    def parameters_difference(self) -> float | None:
        """Ours minus the paper's, in millions."""
        return None if self.paper.parameters is None else self.parameters - self.paper.parameters

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        row = asdict(self.paper)
        row["clip"] = list(self.paper.clip)
        row["gflops_paper"], row["parameters_paper"] = row.pop("gflops"), row.pop("parameters")
        difference = self.parameters_difference
        return row | {
            "gflops_ours": round(self.gflops, 3),
            "gflops_difference": round(self.gflops_difference, 3),
            "parameters_ours": round(self.parameters, 3),
            "parameters_of_mixing": round(self.mixing, 4),
            "parameters_difference": None if difference is None else round(difference, 3),
        }


def measure_row(row: PaperRow) -> MeasuredRow:
    """Build the row's model on shapes only and count its multiply-adds (giga) and parameters (million)."""
    with torch.device("meta"):
        model = create_model(row.model, num_classes=row.num_classes)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    mixing = sum(size for name, size in sizes.items() if name.endswith("mixing"))
    return MeasuredRow(row, count_flops(model, (3, *row.clip)) / 1e9, sum(sizes.values()) / 1e6, mixing / 1e6)


def measure_rows() -> Iterator[MeasuredRow]:
    """Every row, one after another."""
    return map(measure_row, PAPER_ROWS)


MATRICES_COUNTED = (
    "Parameters include the mixing matrices M, two for each GTA block (pixels and regions). "
    "The paper prints the same number for NL, DNL and GTA, so its counter left them out."
)
HEADINGS = ("Table", "Model", "Clip", "GFLOPs paper", "ours", "diff.", "Params (M) paper", "ours", "diff.")


def as_cells(row: MeasuredRow) -> tuple[str, ...]:
    """A row as texts under `HEADINGS`."""
    difference = row.parameters_difference
    return (
        str(row.paper.table),
        row.paper.title + (" *" if row.paper.note else ""),
        "x".join(map(str, row.paper.clip)),
        f"{row.paper.gflops:.1f}",
        f"{row.gflops:.2f}",
        f"{row.gflops_difference:+.2f}",
        "-" if row.paper.parameters is None else f"{row.paper.parameters:.1f}",
        f"{row.parameters:.2f}",
        "-" if difference is None else f"{difference:+.2f}",
    )


def as_markdown(rows: list[MeasuredRow]) -> str:
    """The rows as a Markdown table, with the notes below it."""
    lines = [HEADINGS, ("---:", "---", "---", *["---:"] * 6), *map(as_cells, rows)]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = dict.fromkeys(row.paper.note for row in rows if row.paper.note)
    return text + f"\n\n{counted_matrices(rows)}" + "".join(f"\n\n\\* {note}" for note in notes)


def counted_matrices(rows: list[MeasuredRow]) -> str:
    """A sentence on the mixing matrices among the parameters, with their numbers."""
    numbers = ", ".join(f"{row.paper.title} {row.mixing:.3f} M" for row in rows if row.mixing)
    return f"{MATRICES_COUNTED} Of ours they are: {numbers}."
