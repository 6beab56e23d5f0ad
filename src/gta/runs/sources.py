"""Where the videos come from that a checkpoint is measured on."""

from dataclasses import dataclass
from pathlib import Path

from gta.config import DataConfig, Layout, config_from_json
from gta.errors import OptionError
from gta.hub import hub_name


@dataclass(frozen=True)
class Source:
    """The data set of an evaluation."""

    root: Path
    """Its folder, or a manifest file."""
    layout: Layout
    """Its layout; `auto`: to be detected."""
    fold: int
    """Split of UCF-101, HMDB-51 or UTD-MHAD, 1 to 3; 1 for all other data sets."""


def find_source(checkpoint: Path, root: Path | None, layout: Layout | None, fold: int | None) -> Source:
    """The data set as the options have it; without `root`, that of the run that wrote the checkpoint.

    Raises:
        OptionError: `root` is None, and no config.json beside the checkpoint tells it.
    """
    if root is not None:
        return Source(root, layout or "auto", 1 if fold is None else fold)
    from gta.training.folder import CONFIG, read_config

    stored = read_config(checkpoint.parent) if (checkpoint.parent / CONFIG).exists() else {}
    data = config_from_json(DataConfig, stored.get("data", {}))
    if data.root is None:
        named = hub_name(checkpoint)
        if named is not None:
            raise OptionError(f"hf://{named[0]}: a model on a hub does not say where its data is: give the folder")
        raise OptionError(f"{checkpoint}: no {CONFIG} next to it that names the data set: give the data set's folder")
    return Source(data.root, layout or data.layout, data.fold if fold is None else fold)
