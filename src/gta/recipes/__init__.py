"""Complete configurations of training runs: one Python function each, in a plain dictionary. Free of PyTorch.

`RECIPES[name]()` gives the `TrainConfig`; every field can be overridden on the command line of `gta train`.
`SUMMARIES[name]` is one line about it: the paper's table and what the paper reports, where it is the paper's.
"""

from collections.abc import Callable

from gta.config import TrainConfig
from gta.recipes import own, paper, synthetic

RECIPES: dict[str, Callable[[], TrainConfig]] = {**synthetic.RECIPES, **own.RECIPES, **paper.RECIPES}
SUMMARIES: dict[str, str] = {**synthetic.SUMMARIES, **own.SUMMARIES, **paper.SUMMARIES}

__all__ = ["RECIPES", "SUMMARIES"]
