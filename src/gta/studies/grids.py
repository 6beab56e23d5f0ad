"""Grids of experiments as plain data: rows (which model), and one budget for all of them.

A grid is a table such as the paper's (`gta.studies.tables`). Each of its rows is trained with several seeds, and every
one of these cells gets the same videos, epochs, batches, augmentation and optimiser. Nothing here imports PyTorch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from gta.config import (
    ClipConfig,
    DataConfig,
    Difficulty,
    ModelConfig,
    OptimConfig,
    Places,
    Precision,
    RunConfig,
    TrainConfig,
    config_from_json,
    config_to_json,
)
from gta.errors import OptionError
from gta.stored import shown


@dataclass(frozen=True)
class Row:
    """One line of a table: a model. `paper_ssv1` and `paper_ssv2` are the paper's top-1 there, in percent."""

    key: str
    """Short name of the row, used for folders: lower-case letters, digits, `-` and `_`."""
    label: str
    """What the table calls it."""
    model: str = ""
    """Name for `create_model`; none for an ensemble."""
    part: str = ""
    """Heading under which the row stands, such as the backbone."""
    at: Places | None = None
    """Attention blocks per stage: how many, their indices, or "all"; the model's own choice if None, none if empty."""
    num_groups: int = 8
    """Channel groups G."""
    num_regions: int = 8
    """Regions R."""
    mixing: Mapping[str, Any] | None = None
    """How GTA mixes frames, other than by default: fields of `gta.blocks.MixingOptions`."""
    pretrained: str | None = None
    """Starting weights, as in `ModelConfig`: a checkpoint file, or `imagenet`; None: random ones."""
    freeze: Literal["none", "backbone"] = "none"
    """`backbone`: only the attention blocks and the head train."""
    num_frames: int | None = None
    """Frames per clip, where the backbone reads another number than the budget says."""
    ensemble: tuple[str, ...] = ()
    """Nothing is trained: the scores of these rows are averaged, seed by seed."""
    paper_ssv1: float | None = None
    """The paper's top-1 on Something-Something V1, in percent."""
    paper_ssv2: float | None = None
    """The paper's top-1 on Something-Something V2, in percent."""


@dataclass(frozen=True)
class Budget:
    """What every cell of a grid gets, whatever its row."""

    num_train: int = 1280
    """Synthetic training videos (not used with a data set of one's own)."""
    num_val: int = 640
    """Synthetic held-out videos (not used with a data set of one's own)."""
    data_seed: int = 0
    """Seed of the synthetic videos."""
    frame_size: tuple[int, int] = (72, 96)
    """Height and width of the synthetic videos, in pixels."""
    difficulty: Difficulty = "normal"
    """Of the synthetic videos; see `gta synthesize`."""
    epochs: int = 20
    """Passes over the training videos."""
    batch_size: int = 32
    """Clips per step."""
    dropout: float = 0.0
    """Dropout before the classifier."""
    clip: ClipConfig = field(default_factory=ClipConfig)
    """How a video becomes a clip; a row may read another number of frames."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Loss, optimiser and schedule."""
    precision: Precision = "32"
    """Precision of the computation."""
    accelerator: Literal["cpu", "gpu"] = "cpu"
    """Kind of device."""
    compile: bool = False
    """Compile the models with torch.compile."""
    num_workers: int = 0
    """Processes that load videos for each cell; 0 loads in the cell's own process."""
    cache_frames: bool = True
    """Decode each video once for the whole grid and read the small decoded frames from a file after that."""

    def __post_init__(self) -> None:
        least = {"num_train": 1, "num_val": 1, "data_seed": 0, "epochs": 1, "batch_size": 1, "num_workers": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise OptionError(f"{name} of the budget is {getattr(self, name)}: it must be {bound} or more")
        if not 0 <= self.dropout < 1:
            raise OptionError(f"dropout of the budget is {self.dropout}: it must lie in [0, 1)")
        if self.precision == "fp16" and self.accelerator == "cpu":
            raise OptionError("precision of the budget is fp16: it needs accelerator gpu; use bf16 or 32")


@dataclass(frozen=True)
class Grid:
    """A table: title, rows, and the budget that all of them get."""

    name: str
    """Name on the command line and of the result folder."""
    title: str
    """Heading of the report."""
    question: str
    """What the table asks, in a sentence or two."""
    rows: tuple[Row, ...]
    """The lines of the table, in order."""
    references: tuple[str, ...]
    """Keys of the rows that others are compared with: each row with the one under its own heading, else the first."""
    budget: Budget = field(default_factory=Budget)
    """What every cell gets."""

    def __post_init__(self) -> None:
        keys = [row.key for row in self.rows]
        if not keys:
            raise OptionError(f"grid {self.name!r} has no rows")
        for key in (self.name, *keys):
            if not key or not all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in key):
                raise OptionError(f"grid {self.name!r}: the name {key!r} must consist of letters, digits, - and _ only")
        doubled = sorted({key for key in keys if keys.count(key) > 1})
        if doubled:
            raise OptionError(f"grid {self.name!r} has more than one row {doubled[0]!r}")
        trained = [row.key for row in self.rows if not row.ensemble]
        for row in self.rows:
            if bool(row.model) == bool(row.ensemble):
                raise OptionError(f"grid {self.name!r}, row {row.key!r}: give it either a model or an ensemble of rows")
            other = next((key for key in row.ensemble if key not in trained), None)
            if other is not None or len(row.ensemble) == 1:
                what = f"{other!r} is not a row that is trained" if other is not None else "an ensemble needs two rows"
                raise OptionError(f"grid {self.name!r}, row {row.key!r}: {what}")
        strangers = [key for key in self.references if key not in keys]
        if strangers or not self.references:
            raise OptionError(f"grid {self.name!r}: the reference {''.join(strangers[:1])!r} is not one of its rows")

    def row(self, key: str) -> Row:
        """The row with this key."""
        return next(row for row in self.rows if row.key == key)

    @property
    def trained(self) -> tuple[Row, ...]:
        """The rows that are trained: all but the ensembles."""
        return tuple(row for row in self.rows if not row.ensemble)

    @property
    def has_ssv1(self) -> bool:
        """Whether the paper's top-1 on Something-Something V1 is known for any row."""
        return any(row.paper_ssv1 is not None for row in self.rows)

    @property
    def has_ssv2(self) -> bool:
        """The same for Something-Something V2."""
        return any(row.paper_ssv2 is not None for row in self.rows)

    def reference(self, row: Row) -> Row:
        """The row that `row` is compared with."""
        candidates = [self.row(key) for key in self.references]
        return next((other for other in candidates if other.part == row.part), candidates[0])


def training_of(
    row: Row, budget: Budget, *, seed: int = 0, root: Path | None = None, folder: Path = Path(), num_threads: int = 1
) -> TrainConfig:
    """The training run of a cell: the row's model under the budget, on one device, validated about four times.

    Args:
        row: a row that is trained.
        budget: what every cell gets.
        seed: seed of weights, order and augmentation.
        root: folder of the data set.
        folder: run folder.
        num_threads: CPU threads.

    Raises:
        OptionError: a value of the row or of the budget is none of a training run.
    """
    clip = replace(budget.clip, num_frames=row.num_frames or budget.clip.num_frames)
    mixing: dict[str, Any] = dict(row.mixing or {})
    return TrainConfig(
        model=ModelConfig(
            name=row.model,
            num_frames=clip.num_frames,
            dropout=budget.dropout,
            at=None if row.at is None else dict(row.at),
            num_groups=row.num_groups,
            num_regions=row.num_regions,
            pretrained=row.pretrained,
            freeze=row.freeze,
            **mixing,
        ),
        data=DataConfig(
            root=root,
            batch_size=budget.batch_size,
            num_workers=budget.num_workers,
            max_skipped=1.0,
            val_views="all",
            clip=clip,
        ),
        optim=budget.optim,
        run=RunConfig(
            folder=folder,
            max_epochs=budget.epochs,
            seed=seed,
            precision=budget.precision,
            accelerator=budget.accelerator,
            devices=1,
            num_threads=num_threads,
            compile=budget.compile,
            validate_every=max(1, budget.epochs // 4),
            checkpoint_minutes=1.0,
        ),
    )


# ---- files ----------------------------------------------------------------------------------------------------------


def grid_to_json(grid: Grid) -> dict[str, Any]:
    """Turn a grid into plain JSON values; `grid_from_json` reads them."""
    return {
        "name": grid.name,
        "title": grid.title,
        "question": grid.question,
        "reference": list(grid.references),
        "rows": [
            {
                item.name: dict(value) if isinstance(value, Mapping) else value
                for item in fields(row)
                if (value := getattr(row, item.name)) != item.default
            }
            for row in grid.rows
        ],
        "budget": config_to_json(grid.budget),
    }


def grid_from_json(values: Any, *, source: str | Path = "grid") -> Grid:
    """Build a grid from JSON values; fields that are not given have their defaults.

    Raises:
        OptionError: a field is missing, unknown or ill-typed; the text names `source` and the field.
    """
    if not isinstance(values, dict) or not isinstance(values.get("rows"), list):
        raise OptionError(f"{source}: a grid needs a name and a list of rows (docs/study.md shows one)")
    known = {"reference", *(item.name for item in fields(Grid))} - {"references"}
    unknown = sorted(set(values) - known)
    if unknown:
        raise OptionError(f"{source}: a grid has no field {unknown[0]!r}")
    try:
        rows = tuple(_row(number, row) for number, row in enumerate(values["rows"], start=1))
        budget = config_from_json(Budget, values.get("budget", {}))
        reference = values.get("reference") or [row.key for row in rows[:1]]
        if not isinstance(reference, str | list):
            raise OptionError(f"reference is {shown(reference)}: it must be the key of a row, or a list of keys")
        name = str(values.get("name") or Path(source).stem)
        return Grid(
            name,
            str(values.get("title") or name),
            str(values.get("question") or ""),
            rows,
            (reference,) if isinstance(reference, str) else tuple(str(key) for key in reference),
            budget,
        )
    except OptionError as error:
        raise OptionError(f"{source}: {error}") from error


def _row(number: int, values: Any) -> Row:
    known = {item.name for item in fields(Row)}
    name = f"row {number}"
    if isinstance(values, dict):
        name += f" ({values['key']!r})" if "key" in values else ""
        unknown = sorted(map(str, set(values) - known))
        if unknown:
            raise OptionError(f"{name} has no field {unknown[0]!r}: known are {', '.join(sorted(known))}")
    try:
        return config_from_json(Row, values)
    except OptionError as error:
        raise OptionError(f"{name}: {error}") from error
