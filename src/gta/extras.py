"""The libraries of the extras (`pip install 'gta-video[...]'`): one line says what to install if one is missing.

Imported where they are needed, so that nobody else waits for them or needs them.
"""

import importlib
import importlib.util
from typing import Any

from gta.errors import OptionError


def require(name: str, purpose: str, *, extra: str) -> Any:
    """Import a library of an extra.

    Args:
        name: of the module.
        purpose: what needs it, for the message.
        extra: the extra that brings it.

    Raises:
        OptionError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name.partition(".")[0]:
            raise  # something that the library itself needs
        raise _missing(name, purpose, extra) from None


def require_installed(name: str, purpose: str, *, extra: str) -> None:
    """As `require`, without importing it yet.

    Raises:
        OptionError: it is not installed.
    """
    if importlib.util.find_spec(name) is None:
        raise _missing(name, purpose, extra)


def _missing(name: str, purpose: str, extra: str) -> OptionError:
    return OptionError(f"{purpose} needs {name}: pip install 'gta-video[{extra}]'")
