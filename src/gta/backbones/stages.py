"""Where the residual blocks of a network are: stages res2..res5 as lists of dotted module names."""

from collections.abc import Mapping

from torch import nn

STAGES = ("res2", "res3", "res4", "res5")
BLOCKS = "blocks"


def find_stages(network: nn.Module) -> dict[str, list[str]]:
    """The dotted names of the residual blocks in each stage res2..res5, outermost last.

    Known are this package's backbones (they say so themselves in `stages()`), timm's networks with a `feature_info`
    (the stages are those whose output is 4, 8, 16 and 32 times smaller than the input), and torchvision's ResNets and
    Swin transformers. All blocks of a transformer that has them in one row are in `blocks`, besides or without stages.
    Any other network has none; its blocks can be named one by one.
    """
    own = getattr(network, "stages", None)
    if callable(own) and not isinstance(own, nn.Module):
        return dict(own())  # type: ignore[arg-type]
    row = _row_of_blocks(network)
    info = getattr(network, "feature_info", None)
    if info:
        stages = _from_feature_info(network, list(info), row)
        return {**stages, BLOCKS: row} if row else stages
    if row:
        return {BLOCKS: row}
    swin = _torchvision_swin(network)
    if swin:
        return swin
    layers = [f"layer{number}" for number in range(1, 5)]
    if all(isinstance(getattr(network, layer, None), nn.Module) for layer in layers):
        return {stage: child_names(network, layer) for stage, layer in zip(STAGES, layers, strict=True)}
    return {}


def _row_of_blocks(network: nn.Module) -> list[str]:
    """The blocks of a transformer, one after another: timm's and MViT's `blocks`, `encoder.layers` of torchvision."""
    for container in (BLOCKS, "encoder.layers"):
        try:
            module = network.get_submodule(container)
        except AttributeError:
            continue
        if isinstance(module, nn.Sequential | nn.ModuleList):
            kinds = [type(block) for block in module]
            flat = not any(issubclass(kind, nn.Sequential | nn.ModuleList) for kind in kinds)
            if kinds and flat and not any(hasattr(block, BLOCKS) for block in module):
                return [f"{container}.{name}" for name, _ in module.named_children()]
    return []


def _torchvision_swin(network: nn.Module) -> dict[str, list[str]]:
    """The stages of torchvision's 2D and 3D Swin transformers: the parts of `features` whose blocks have attention."""
    features = getattr(network, "features", None)
    if not isinstance(features, nn.Sequential):
        return {}
    found = [
        f"features.{name}"
        for name, part in features.named_children()
        if isinstance(part, nn.Sequential) and len(part) and all(hasattr(block, "attn") for block in part)
    ]
    return {stage: child_names(network, part) for stage, part in zip(STAGES, found, strict=False)}


def child_names(network: nn.Module, container: str) -> list[str]:
    """Dotted names of the blocks directly inside a container (inside its `blocks` where it has such)."""
    module = network.get_submodule(container)
    inner = getattr(module, "blocks", None)
    if isinstance(inner, nn.Sequential | nn.ModuleList):
        container, module = f"{container}.blocks", inner
    return [f"{container}.{name}" for name, _ in module.named_children()]


def _from_feature_info(network: nn.Module, info: list[Mapping[str, object]], row: list[str]) -> dict[str, list[str]]:
    by_reduction = {int(str(entry["reduction"])): str(entry["module"]) for entry in info}
    if not all(2**power in by_reduction for power in range(2, 6)):
        return {}
    known = {name for name, _ in network.named_modules()}
    if not known.issuperset(by_reduction[2**power] for power in range(2, 6)):  # some of timm's networks name others
        return {}
    stages: dict[str, list[str]] = {}
    previous = by_reduction.get(2, "")
    for stage, reduction in zip(STAGES, (4, 8, 16, 32), strict=True):
        last = by_reduction[reduction]
        if last in row:  # the last block of the stage (Hiera), not a container
            stages[stage] = row[row.index(previous) + 1 if stages else 0 : row.index(last) + 1]
            previous = last
            continue
        containers = _between(network, previous, last)
        stages[stage] = [name for container in containers for name in child_names(network, container)]
        previous = last
    return stages


def _between(network: nn.Module, previous: str, last: str) -> list[str]:
    """Sibling containers after `previous` up to `last` (a stage may be made of several, as in EfficientNet)."""
    parent, _, key = last.rpartition(".")
    names = [name for name, _ in network.get_submodule(parent).named_children()]
    start = 0
    if previous.rpartition(".")[0] == parent and previous.rpartition(".")[2] in names:
        start = names.index(previous.rpartition(".")[2]) + 1
    elif not parent:
        start = names.index(key)
    chosen = names[start : names.index(key) + 1]
    if not parent:  # at the top level stems and pools stand between the stages
        chosen = [key]
    return [f"{parent}.{name}" if parent else name for name in chosen]


def every_other(count: int, num_blocks: int, first: int = 0) -> list[int]:
    """Indices `first, first + 2, ...` of `count` blocks out of `num_blocks`; starts earlier where they would not fit.

    Raises:
        ValueError: there are too few blocks.
    """
    room = num_blocks - 1 - 2 * (count - 1)
    if count < 0 or (count and room < 0):
        raise ValueError(f"{count} attention blocks do not fit after every other of {num_blocks} blocks")
    start = min(first, room)
    return [start + 2 * index for index in range(count)]


def spread(count: int, num_blocks: int) -> list[int]:
    """`count` indices of `num_blocks` blocks, evenly spread.

    Raises:
        ValueError: there are too few blocks.
    """
    if not 0 <= count <= num_blocks:
        raise ValueError(f"{count} attention blocks do not fit {num_blocks} blocks")
    return [num_blocks * (index + 1) // (count + 1) for index in range(count)]
