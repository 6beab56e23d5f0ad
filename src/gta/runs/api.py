"""`gta.train` and `gta.open_dataset`: what the command line does, for scripts and notebooks."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gta.config import ClipConfig, Split, TrainConfig
from gta.recipes.files import find_config
from gta.runs.train import train as train_config

if TYPE_CHECKING:
    from gta.clips.plain import ClipDataset
    from gta.training.fit import TrainResult


def train(
    config: TrainConfig | str | Path, *, resume: bool = False, live: bool | None = None, **overrides: Any
) -> "TrainResult | None":
    """Train a model, as `gta train` does.

    Args:
        config: a configuration (`gta.recipe("finetune").override(...)`), the name of a recipe, the path of a
            configuration file, or a run folder, to continue it with `resume=True` and its own configuration.
        resume: continue from the last checkpoint in the run folder, if there is one.
        live: whether to draw a progress bar; by default, only in a terminal or a notebook.
        overrides: values for fields of the configuration, by their names on the command line with "_" for "-":
            `data`, `epochs`, `seed`, `output`, `num_workers`, `batch_size`, `lr`, ...; any other field by its dotted
            name, `**{"optim.weight_decay": 0.01}`.

    Returns:
        The run folder, the best checkpoint and the metrics of every epoch; None in all processes but the first.

    Raises:
        OptionError: the recipe, file, run folder or field does not exist, a value is invalid or given twice, or no data
            set is given.
        GtaError: see `gta.runs.train.train`.

    >>> gta.train("finetune", data="videos", epoch=3)
    Traceback (most recent call last):
    gta.errors.OptionError: there is no field epoch: did you mean epochs?
    """
    if not isinstance(config, TrainConfig):
        config = find_config(config)
    return train_config(config.override(overrides), resume=resume, live=live)


def open_dataset(
    root: str | Path,
    split: Split = "train",
    *,
    clip: ClipConfig | None = None,
    training: bool | None = None,
    layout: str = "auto",
    fold: int = 1,
    classes: tuple[str, ...] | None = None,
    seed: int = 0,
) -> "ClipDataset":
    """Open a data set for PyTorch's `DataLoader`.

    Args:
        root: folder of the data set.
        split: the split to open.
        clip: sampling and preprocessing of clips: `predictor.clip`, `gta.recipe("finetune").data.clip`, or your own
            `gta.config.ClipConfig`; by default, the paper's protocol with 8 frames of 224 pixels.
        training: True: one random clip of each video, a new one each time it is read; False: the views for
            evaluation. By default, True for the split `train` only.
        layout: layout of the folder; `auto` detects it.
        fold: split of UCF-101, HMDB-51 or UTD-MHAD, 1 to 3.
        classes: class names in the order of a model's outputs; by default, the data set's own order.
        seed: seed for sampling and augmentation.

    Returns:
        A data set whose items are `{"clip": uint8 (3, T, H, W) or (V, 3, T, H, W), "label": int, "index": int}`, with
        the attribute `classes`; `gta.prepare(batch["clip"], clip)` turns a batch of training clips into model input.

    Raises:
        DataError: the folder is missing, empty or has an unknown layout.
        OptionError: there is no such split, layout or fold.
        TypeError: `clip` is a whole configuration.

    >>> data = gta.open_dataset("videos", "train", clip=gta.recipe("synthetic").data.clip)
    >>> batch = next(iter(torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)))
    >>> batch["clip"].shape, batch["clip"].dtype
    (torch.Size([4, 3, 8, 56, 56]), torch.uint8)
    """
    from gta.clips.dataset import VideoDataset
    from gta.clips.plain import ClipDataset
    from gta.datasets.listing import open_videos

    if clip is not None and not isinstance(clip, ClipConfig):
        raise TypeError(f"`clip` is a {type(clip).__name__}: give a ClipConfig, such as gta.recipe(...).data.clip")
    videos = open_videos(root, split, layout=layout, classes=classes, fold=fold)  # pyright: ignore[reportArgumentType]
    draws = split == "train" if training is None else training
    return ClipDataset(VideoDataset(videos, clip or ClipConfig(), training=draws, seed=seed))
