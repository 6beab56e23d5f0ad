"""Class names: what they say about direction. Free of PyTorch."""

import re
from collections.abc import Sequence

from gta.config import Flip

_SIDE = re.compile(r"\b(left|right)(wards?)?\b", re.IGNORECASE)
_MIRRORED = {"left": "right", "right": "left"}


def has_side(name: str) -> bool:
    """Whether a class name contains the word left or right, so that mirroring its videos would change the class."""
    return _SIDE.search(name.replace("_", " ")) is not None


def mirrored_name(name: str) -> str:
    """The class name with left and right exchanged, the case of the first letter kept."""

    def exchange(found: re.Match[str]) -> str:
        word = _MIRRORED[found.group(1).lower()]
        word = word.upper() if found.group(1).isupper() else word
        word = word.capitalize() if found.group(1).istitle() else word
        return word + (found.group(2) or "")

    # Underscores count as word characters in a pattern; names of folders often use them as spaces.
    return _SIDE.sub(exchange, name.replace("_", " \0 ")).replace(" \0 ", "_")


def flip_targets(classes: Sequence[str], flip: Flip) -> list[int | None]:
    """For each class, the label of its mirrored videos, or None where they must not be mirrored.

    - `none`: no video is mirrored; `random`: every class keeps its label.
    - `label_aware`: classes whose name contains the word left or right are not mirrored.
    - `swap`: those become the class with the two words exchanged; where there is no such class, not mirrored.
    """
    if flip == "none":
        return [None] * len(classes)
    if flip == "random":
        return list(range(len(classes)))
    numbers = {name.lower(): number for number, name in enumerate(classes)}
    targets: list[int | None] = []
    for number, name in enumerate(classes):
        if not has_side(name):
            targets.append(number)
        else:
            targets.append(numbers.get(mirrored_name(name).lower()) if flip == "swap" else None)
    return targets
