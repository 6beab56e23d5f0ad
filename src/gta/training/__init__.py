"""Training: it is handed the model and the loaders, and knows neither networks nor data sets.

fit (a whole run) -> loop (epochs, validations, checkpoints, signals) -> step (one training step) -> optim (parameter
groups, schedule), augment, averaging (EMA), norms (BatchNorm policies). launch (devices and processes), memory, folder
(what a run leaves behind), signals, display and curves; module is for users of Lightning.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gta.training.module import ClassifierModule

__all__ = ["ClassifierModule"]


def __getattr__(name: str) -> object:
    """Import the LightningModule only for those who ask for it (PEP 562)."""
    if name == "ClassifierModule":
        from gta.training.module import ClassifierModule

        return ClassifierModule
    raise AttributeError(f"module 'gta.training' has no attribute {name!r}")
