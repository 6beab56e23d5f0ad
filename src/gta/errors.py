"""What a user can get wrong, as exceptions (floor 0).

Every error that the user can mend derives from `GtaError`: its text is one line that names the file, folder or option
and says what to do. The command line prints that line and exits with code 2; a library user catches the class.
Arguments of functions stand in backticks, as Python has them (`num_workers`), for which the command line prints its
option (--num-workers).
Shapes and arguments that do not fit raise the built-in `ValueError`, as PyTorch users expect.
"""

import re
from pathlib import Path
from typing import Any

from gta.terminal import printable

# pathlib makes one slash of the two in an address (`s3://bucket/clip.mp4`)
_ADDRESS = re.compile(r"^([a-z][a-z0-9+.-]+):/(?!/)")


class GtaError(Exception):
    """Base class of every mistake that the user, not the programmer, can mend; the text is one clear line."""

    exit_code = 2
    """What the command line exits with."""

    def __str__(self) -> str:
        """The text, on one line whatever names of files and values stand in it."""
        text = super().__str__()
        return printable(" ".join(text.split()) if "\n" in text else text)


class OptionError(GtaError):
    """A command-line option or a configuration field is unknown, missing or has a value that does not fit."""


class DataError(GtaError):
    """A data set folder, annotation file or list of videos is missing, empty or not in the expected layout."""


class CheckpointError(GtaError):
    """A checkpoint is missing, damaged, of another kind, or does not fit the model."""


class ExportError(GtaError):
    """A model cannot be exported as asked, or the exported one differs too much from the original."""


class RunFolderError(GtaError):
    """A run folder exists already, cannot be written, or does not hold what is needed to resume."""


class VideoError(GtaError):
    """A video cannot be read.

    Args:
        path: the file or frame folder.
        reason: why, in a few words, without the path.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        shown = _ADDRESS.sub(r"\1://", str(path))
        super().__init__(f"{shown}: {reason}")
        self.path = Path(path)
        self.reason = reason

    def __reduce__(self) -> tuple[type["VideoError"], tuple[Path, str]]:
        """Keep both arguments when the error crosses a process boundary (DataLoader workers pickle exceptions)."""
        return (VideoError, (self.path, self.reason))


def require_least(options: Any, **least: int) -> None:
    """Refuse numbers that are too small; fields of the options that are None are left alone.

    Args:
        options: a function's or a command's options, as fields.
        least: the smallest number that each field may have.

    Raises:
        OptionError: a number is smaller.
    """
    for name, lowest in least.items():
        value = getattr(options, name)
        if value is not None and value < lowest:
            raise OptionError(f"`{name}` is {value}: it must be {lowest} or more")
