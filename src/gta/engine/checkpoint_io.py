"""How Lightning reads and writes checkpoint files here: atomically, and never with code in them."""

from pathlib import Path
from typing import Any

from lightning.pytorch.plugins.io import CheckpointIO

from gta.checkpoint import load_file, write_checkpoint


class CheckpointFiles(CheckpointIO):
    """Lightning's interface to `write_checkpoint` and `load_file`."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write one file atomically."""
        write_checkpoint(path, checkpoint)

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read one file onto the CPU, whatever `map_location` says: Lightning moves what it restores."""
        return load_file(path)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete one file."""
        Path(path).unlink(missing_ok=True)
