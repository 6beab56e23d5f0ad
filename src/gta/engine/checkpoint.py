"""Checkpoints as the engine uses them; the format and its only reader are in `gta.checkpoint`."""

from gta.checkpoint import Checkpoint, load_file, load_weights, read_checkpoint, write_checkpoint
from gta.model_card import describe, library_versions

__all__ = [
    "Checkpoint",
    "describe",
    "library_versions",
    "load_file",
    "load_weights",
    "read_checkpoint",
    "write_checkpoint",
]
