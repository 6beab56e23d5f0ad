"""Evaluation mode for a while (ground floor)."""

import contextlib
from collections.abc import Iterator

from torch import nn


@contextlib.contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Inside, the modules and all in them are in evaluation mode; afterwards each has the mode that it had.

    Frozen norms in a training network stay frozen. The modes are set one by one, not by `eval()`, which some modules
    override and which could not be taken back (low-rank adapters merge their weights in it).
    """
    modes = [(part, part.training) for module in modules for part in module.modules()]
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, mode in modes:
            part.training = mode
