"""`train`: a training run from its configuration. Light to import: a wrong folder is told before PyTorch is loaded."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gta.config import TrainConfig
from gta.errors import DataError, OptionError

if TYPE_CHECKING:
    from gta.training.fit import TrainResult


def train(
    config: TrainConfig,
    *,
    resume: bool = False,
    change: Collection[str] = (),
    live: bool | None = None,
    max_val_videos: int | None = None,
    frames: Path | None = None,
    report: bool = True,
) -> "TrainResult | None":
    """Train as `config` says: open the data, build the model, fit.

    Args:
        config: the whole configuration.
        resume: continue from the run folder's last checkpoint, if it has one.
        change: fields of the optimiser in which a resumed run may differ from before, e.g. `["optim.lr"]`.
        live: draw a progress bar; whether somebody sees it (a terminal, a notebook) if not given.
        max_val_videos: validate on this many videos only.
        frames: folder of a frame store (`gta.datasets.frame_store`), which holds the videos' decoded frames.
        report: write report.html into the run folder.

    Returns:
        What the run left, or None in all processes but the first.

    Raises:
        OptionError: the configuration names no data, or something that is not available here.
        DataError: the data set cannot be trained on.
        GtaError: as `gta.training.fit.fit` says.
    """
    data = config.data
    if data.root is None:
        raise OptionError("no data: give the data set's folder with data.root")
    from gta.datasets.listing import open_videos  # which loads NumPy: not for gta train --help

    training = open_videos(data.root, "train", layout=data.layout, fold=data.fold, index=data.index)
    if len(training.classes) < 2:
        raise DataError(
            f"{data.root}: its only class is {', '.join(training.classes)}: training needs at least two classes"
        )
    validation = open_videos(
        data.root, "val", layout=data.layout, classes=training.classes, fold=data.fold, index=data.index
    )
    validation = replace(validation, records=validation.records[:max_val_videos])

    from gta.runs.composition import fit_videos

    return fit_videos(
        config, training, validation, resume=resume, live=live, change=change, frames=frames, report=report
    )
