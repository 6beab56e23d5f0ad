"""`gta.train` and `gta.open_dataset`: what the command line does, for scripts and notebooks."""

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gta.config import ClipConfig, TrainConfig
from gta.errors import OptionError
from gta.recipes import SHORT_NAMES, recipe
from gta.recipes.files import SUFFIXES, read_config_file
from gta.runs.train import train as train_config

if TYPE_CHECKING:
    from gta.clips.plain import ClipDataset
    from gta.training.fit import TrainResult


def train(
    config: TrainConfig | str | Path, *, resume: bool = False, live: bool | None = None, **overrides: Any
) -> "TrainResult | None":
    """Train a model, as `gta train` does.

    Args:
        config: a configuration (`gta.recipe("finetune").override(...)`), the name of a recipe, or a configuration
            file.
        resume: continue from the run folder's last checkpoint, if it has one.
        live: draw a progress bar; whether somebody sees it (a terminal, a notebook) if not given.
        overrides: other values of its fields, by the names of the command line with "_" for "-": `data`, `epochs`,
            `seed`, `output`, `num_workers`, `batch_size`, `lr`, ...; any field by its dotted name in a dictionary,
            `**{"optim.weight_decay": 0.01}`.

    Returns:
        What the run left: its folder, best checkpoint, measures of every epoch; None in all processes but the first.

    Raises:
        OptionError: there is no such recipe or field, a value does not fit, or no data is named.
        GtaError: as `gta.runs.train.train` says.

    >>> gta.train("finetune", data="videos", epoch=3)
    Traceback (most recent call last):
    gta.errors.OptionError: there is no field epoch: did you mean epochs?
    """
    if not isinstance(config, TrainConfig):
        name = str(config)
        config = read_config_file(name) if name.endswith(SUFFIXES) else recipe(name)
    return train_config(config.override(_full_names(overrides)), resume=resume, live=live)


def _full_names(overrides: dict[str, Any]) -> dict[str, Any]:
    """The values by the names of the fields."""
    full: dict[str, Any] = {}
    for name, value in overrides.items():
        if "." in name:
            full[name] = value
        elif name in SHORT_NAMES:
            full |= dict.fromkeys(SHORT_NAMES[name], value)
        else:
            close = get_close_matches(name, SHORT_NAMES, n=1)
            hint = f"did you mean {close[0]}?" if close else f"short names are {', '.join(SHORT_NAMES)}"
            raise OptionError(f"there is no field {name}: {hint}")
    return full


def open_dataset(
    root: str | Path,
    split: Literal["train", "val", "test"] = "train",
    *,
    clip: ClipConfig | None = None,
    training: bool | None = None,
    layout: str = "auto",
    fold: int = 1,
    classes: tuple[str, ...] | None = None,
    seed: int = 0,
) -> "ClipDataset":
    """Open a data set for PyTorch's own `DataLoader`.

    Args:
        root: folder of the data set.
        split: which part of it.
        clip: how a video becomes a clip: `predictor.clip`, `gta.recipe("finetune").data.clip`, or your own
            `gta.config.ClipConfig`; the paper's protocol with 8 frames of 224 pixels if not given.
        training: draw one random clip of each video, anew every time; otherwise the views of the evaluation. Whether
            `split` is `train` if not given.
        layout: how the folder is organised; `auto` looks at the files.
        fold: which official split of UCF-101 or HMDB-51, 1 to 3.
        classes: class names in the order of a model's outputs; the data set's own if not given.
        seed: seed of sampling and augmentation.

    Returns:
        A data set whose items are `{"clip": uint8 (3, T, H, W) or (V, 3, T, H, W), "label": int, "index": int}`, with
        `classes`; `gta.prepare(batch["clip"], clip)` makes the model's input of a batch of training clips.

    Raises:
        DataError: the folder is missing, empty or of no known layout.

    >>> data = gta.open_dataset("videos", "train", clip=gta.recipe("synthetic").data.clip)
    >>> batch = next(iter(torch.utils.data.DataLoader(data, batch_size=4, shuffle=True)))
    >>> batch["clip"].shape, batch["clip"].dtype
    (torch.Size([4, 3, 8, 56, 56]), torch.uint8)
    """
    from gta.clips.dataset import VideoDataset
    from gta.clips.plain import ClipDataset
    from gta.datasets.listing import open_videos

    videos = open_videos(root, split, layout=layout, classes=classes, fold=fold)  # pyright: ignore[reportArgumentType]
    draws = split == "train" if training is None else training
    return ClipDataset(VideoDataset(videos, clip or ClipConfig(), training=draws, seed=seed))
