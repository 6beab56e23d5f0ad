"""The options that `gta evaluate` and `gta probe` share: what a checkpoint is measured on, and how."""

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from gta.commands.arguments import CheckpointPath, OptionalDataPath
from gta.config import Fold, Layout, Precision, Split
from gta.errors import require_least

if TYPE_CHECKING:
    from gta.runs.evaluate import Measuring


@dataclass(frozen=True)
class MeasuringOptions:
    """Those options, which come first."""

    checkpoint: CheckpointPath
    """Checkpoint (.ckpt) of a training run."""
    data: OptionalDataPath = None
    """Folder of the data set; the one of the training run if not given."""
    layout: Layout | None = None
    """Layout of the folder; `auto` detects it. If DATA is not given, as in the training run."""
    fold: Fold | None = None
    """Split of UCF-101, HMDB-51 or UTD-MHAD; 1 by default or, if DATA is not given, as in the training run."""
    split: Split = "val"
    """Which part of the data set."""
    batch_size: int = 16
    """Videos per step."""
    num_workers: int = 2
    """Processes that decode videos; 0 decodes in the main process."""
    precision: Precision = "32"
    """Precision of the computation."""
    device: str = "auto"
    """Where to compute: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, ..."""

    def __post_init__(self) -> None:
        require_least(self, batch_size=1, num_workers=0)

    @property
    def measuring(self) -> "Measuring":
        """The options as `gta.runs.evaluate` takes them."""
        from gta.runs.evaluate import Measuring

        shared = {item.name: getattr(self, item.name) for item in fields(MeasuringOptions)}
        del shared["checkpoint"]
        return Measuring(**shared)
