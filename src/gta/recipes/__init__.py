"""Complete configurations of training runs: one Python function each, in a plain dictionary. Free of PyTorch.

`RECIPES[name]()` gives the `TrainConfig`; every field can be overridden on the command line of `gta train`.
`SUMMARIES[name]` is one line about it: the paper's table and what the paper reports, where it is the paper's.
"""

from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from functools import partial

from gta.config import TrainConfig
from gta.errors import OptionError
from gta.recipes import own, paper, synthetic


def _named(name: str, make: Callable[[], TrainConfig]) -> TrainConfig:
    config = make()
    return replace(config, run=replace(config.run, recipe=name))


RECIPES: dict[str, Callable[[], TrainConfig]] = {
    name: partial(_named, name, make)
    for group in (synthetic.RECIPES, own.RECIPES, paper.RECIPES)
    for name, make in group.items()
}
SUMMARIES: dict[str, str] = {**synthetic.SUMMARIES, **own.SUMMARIES, **paper.SUMMARIES}
GROUPS: dict[str, tuple[str, ...]] = {
    "Synthetic videos": tuple(synthetic.RECIPES),
    "Your own videos": tuple(own.RECIPES),
    "The paper": tuple(paper.RECIPES),
}
"""Title -> names of the recipes that belong together."""

__all__ = ["GROUPS", "RECIPES", "SUMMARIES", "recipe"]


def recipe(name: str) -> TrainConfig:
    """Return the configuration of a recipe, to train with as it is or after `override`.

    Args:
        name: name of the recipe; `gta train --list` lists them, as does `RECIPES` of the module `gta.recipes`.

    Raises:
        OptionError: there is no recipe with this name.

    >>> config = recipe("finetune").override("optim.lr", 0.01, "data.root", "videos")
    >>> config.optim.lr, recipe("finetune").optim.lr
    (0.01, 0.005)
    """
    if name not in RECIPES:
        close = get_close_matches(str(name), RECIPES, n=1)
        hint = f"did you mean '{close[0]}'?" if close else "gta train --list shows them"
        raise OptionError(f"'{name}' is not a recipe: {hint}")
    return RECIPES[name]()
