"""Old names of keyword arguments that go on working for one release, with one FutureWarning that states the new name.

Nothing here imports PyTorch (floor 0).
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

_F = TypeVar("_F", bound=Callable[..., Any])


def renamed_keywords(**renamed: str) -> Callable[[_F], _F]:
    """Decorate a function that is also called with the old names of its arguments.

    Args:
        renamed: old name -> what it is called now.

    Raises:
        TypeError: a call gives an argument under both names.

    >>> @renamed_keywords(topk="top_k")
    ... def best(*, top_k: int = 5) -> int:
    ...     return top_k
    >>> best(top_k=2)
    2
    """

    def decorate(function: _F) -> _F:
        @functools.wraps(function)
        def call(*args: Any, **keywords: Any) -> Any:
            for old in renamed.keys() & keywords.keys():
                new = renamed[old]
                if new in keywords:
                    raise TypeError(f"{function.__qualname__}() got {new} twice: {old} is its old name")
                warnings.warn(
                    f"{old} is {new} now; the old name will be removed in the next release", FutureWarning, stacklevel=2
                )
                keywords[new] = keywords.pop(old)
            return function(*args, **keywords)

        return call  # pyright: ignore[reportReturnType]

    return decorate
