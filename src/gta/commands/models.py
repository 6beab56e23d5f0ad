"""`gta models`: list the models."""

import json
from dataclasses import dataclass
from typing import Annotated

import tyro

from gta.commands.arguments import parse_arguments
from gta.errors import OptionError


@dataclass(frozen=True)
class ModelsArguments:
    """List the models; any timm CNN also works by its name, alone or with a block as suffix (resnet18_gta)."""

    pattern: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="[PATTERN]")] = "*"
    """Names to show; * and ? are wildcards, e.g. "*gta"."""
    count: bool = False
    """Also count parameters and multiply-adds, for a clip of 224x224 pixels (takes a few seconds)."""
    json: bool = False
    """Print JSON."""


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta models`."""
    options = parse_arguments(ModelsArguments, arguments, command="gta models")
    from gta.models.registry import list_models

    names = list_models(options.pattern)
    if not names:
        raise OptionError(f"no model is called {options.pattern!r}: gta models lists them all")
    rows = [_count(name) if options.count else {"name": name} for name in names]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    width = max(map(len, names))
    for row in rows:
        counted = "  {num_frames:>3} frames  {gflops:8.2f} GFLOPs  {parameters:7.2f} M parameters"
        print(f"{row['name']:<{width}}{counted.format(**row)}" if options.count else row["name"])


def _count(name: str) -> dict[str, object]:
    import torch

    from gta.models.flops import count_flops
    from gta.models.registry import create_model

    with torch.device("meta"):
        model = create_model(name)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return {
        "name": name,
        "num_frames": model.num_frames,
        "gflops": round(count_flops(model, (model.in_channels, model.num_frames, 224, 224)) / 1e9, 3),
        "parameters": round(parameters / 1e6, 3),
    }
