"""The libraries that only exporting needs: asked for by name, with a clear message when one is missing."""

import contextlib
import importlib
import io
import os
from collections.abc import Iterator
from typing import Any

from gta.errors import OptionError


def require(name: str, purpose: str) -> Any:
    """Import a library of the extra `export`.

    Args:
        name: of the module.
        purpose: what needs it, for the message.

    Raises:
        OptionError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name.partition(".")[0]:
            raise  # something that the library itself needs
        raise OptionError(f"{purpose} needs {name}: pip install 'gta-video[export]'") from None


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """No progress bars on standard output, and no usage reports of OpenVINO's tools to their makers."""
    former = {name: os.environ.get(name) for name in ("CI", "NNCF_CI")}
    os.environ.update(CI="true", NNCF_CI="true")  # what their telemetry goes by; nothing else of theirs does
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for name, value in former.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
