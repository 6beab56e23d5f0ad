"""What a model attends to: arrays and records, no pictures.

`gta.explain(model, clip)` explains a clip: the package itself can be called, so that the function and the modules
share one name. `gta.explain.records` says how to read the result.
"""

import sys
from types import ModuleType

from gta.explain.records import (
    AttentionMaps,
    BlockExplanation,
    ClassMaps,
    Explanation,
    FrameImportance,
    Mixing,
)
from gta.explain.run import explain

__all__ = [
    "AttentionMaps",
    "BlockExplanation",
    "ClassMaps",
    "Explanation",
    "FrameImportance",
    "Mixing",
    "explain",
]


class _CallablePackage(ModuleType):
    """Importing one of its modules makes a package an attribute of `gta`; there, this one stands for the function."""

    __call__ = staticmethod(explain)


sys.modules[__name__].__class__ = _CallablePackage
