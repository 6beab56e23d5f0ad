"""How deep each parameter of a network lies: what layer-wise learning-rate decay goes by."""

import re
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from torch import nn

_INSERTED = re.compile(r"(?:^|\.)attention\.")
_HOST = re.compile(r"(?:^|(?<=\.))host\.")


def layer_scales(model: nn.Module, decay: float) -> dict[str, float]:
    """Factor on the learning rate of each parameter: `decay` to the power of how many layers lie behind it.

    timm's networks say themselves which parameters form a layer (`group_matcher`). The head and all inserted attention
    learn at the full rate, the last block of the backbone at `decay` times that, its stem at the lowest.

    Args:
        model: holds a network of timm's.
        decay: in (0, 1].

    Returns:
        Parameter name -> factor in (0, 1]; those of the head and of attention have 1.

    Raises:
        ValueError: the model's backbone does not say what its layers are.
    """
    scales = dict.fromkeys((name for name, _ in model.named_parameters()), 1.0)
    if decay == 1.0:
        return scales
    prefix, network = _find_network(model)
    own: dict[str, str] = {}  # the network's own name of a parameter -> its name in the model
    for name, _ in network.named_parameters():
        plain = _HOST.sub("", name)
        if not _is_inserted(network, name):
            own[plain] = prefix + name
    depths = _depths(network, own)
    deepest = max(depths.values(), default=0)
    for plain, depth in depths.items():
        scales[own[plain]] = decay ** (deepest + 1 - depth)
    return scales


def _find_network(model: nn.Module) -> tuple[str, Any]:
    """The outermost module with timm's `group_matcher`, and its prefix."""
    for name, module in model.named_modules():
        if callable(getattr(module, "group_matcher", None)):
            return (f"{name}." if name else ""), module
    raise ValueError(
        "layer_decay needs a backbone that groups its parameters by layer (timm's networks do, C2D and SlowFast do "
        "not): set optim.layer_decay to 1"
    )


def _is_inserted(network: nn.Module, name: str) -> bool:
    """Whether a parameter belongs to attention that was put behind a block (`attention` beside `host`)."""
    for match in _INSERTED.finditer(name):
        parent = network.get_submodule(name[: match.start()])
        if isinstance(getattr(parent, "host", None), nn.Module):
            return True
    return False


def _depths(network: Any, names: Iterable[str]) -> dict[str, int]:
    from timm.models import group_parameters  # here, since importing timm takes seconds

    # timm asks a network for its parameters only, and here they have the names that they had before the insertion
    plain: Any = SimpleNamespace(named_parameters=lambda: ((name, None) for name in names))
    found: Any = group_parameters(plain, network.group_matcher(coarse=False), reverse=True)
    return {name: int(depth) for name, depth in found.items()}
