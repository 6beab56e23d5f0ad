"""Old name: the format of checkpoints and its only reader are in `gta.checkpoint`, descriptions in `gta.model_card`."""

import warnings

from gta.checkpoint import Checkpoint, load_file, load_weights, read_checkpoint, write_checkpoint
from gta.model_card import describe, library_versions

warnings.warn(
    "gta.engine.checkpoint is gta.checkpoint now (describe and library_versions: gta.model_card); "
    "the old name will be removed in the next release",
    FutureWarning,
    stacklevel=2,
)

__all__ = [
    "Checkpoint",
    "describe",
    "library_versions",
    "load_file",
    "load_weights",
    "read_checkpoint",
    "write_checkpoint",
]
