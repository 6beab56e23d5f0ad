"""What is asked of any network: evaluation mode for a while, and what weight decay spares (ground floor)."""

import contextlib
from collections.abc import Iterator
from typing import Any

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


def spared_from_decay(network: nn.Module) -> set[str]:
    """Names of the parameters that any module inside names in its `no_weight_decay()`, as timm's networks do."""
    own = {name for name, _ in network.named_parameters()}
    found: set[str] = set()
    for prefix, module in network.named_modules():
        spared: Any = getattr(module, "no_weight_decay", None)
        if callable(spared):
            names: Any = spared()
            found |= {f"{prefix}.{name}" if prefix else name for name in names}
    return found & own
