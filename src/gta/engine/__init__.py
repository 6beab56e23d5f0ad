"""Moved: `gta.training` trains, `gta.evaluation` measures, `gta.checkpoint` reads and writes.

The old names work for one release. `gta.engine.ClassifierModule` is the LightningModule of `gta.training.module`.
"""

from typing import TYPE_CHECKING

from gta._moved import install

if TYPE_CHECKING:
    from gta.training.module import ClassifierModule

__all__ = ["ClassifierModule"]

install()


def __getattr__(name: str) -> object:
    """Import the LightningModule only for those who ask for it (PEP 562)."""
    if name == "ClassifierModule":
        from gta.training.module import ClassifierModule

        return ClassifierModule
    raise AttributeError(f"module 'gta.engine' has no attribute {name!r}")
