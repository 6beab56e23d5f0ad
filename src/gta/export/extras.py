"""Keeping the tools of exporting quiet."""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without the tools' remarks on their own insides, bars on standard output and reports of use to their makers.

    Errors come through.
    """
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    former = {name: os.environ.get(name) for name in ("CI", "NNCF_CI")}
    os.environ.update(CI="true", NNCF_CI="true")  # what their telemetry goes by; nothing else of theirs does
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
        for name, value in former.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
