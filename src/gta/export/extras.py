"""Keeping the tools of exporting quiet."""

import contextlib
import io
import os
from collections.abc import Iterator


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
