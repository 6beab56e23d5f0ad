"""The classes of the synthetic data set, and what a model that ignores the order of frames can reach on them.

Named like Something-Something templates. Seven pairs are each other's time reversal (the frames of one class, played
backwards, are the frames of the other); the two remaining classes look the same in both directions of time. The hard
size has five pairs more, each there and back: played backwards, such a class is still itself, and every step forth has
its like back, so neighbouring frames tell nothing. Only which half comes first does: the two classes of a pair are made
of the same frames, with their halves exchanged. Only the standard library is imported here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Motion = Literal["right", "down", "nearer", "open", "cover", "appear", "clockwise", "still", "shake"]
"""What happens to the object when time runs forwards; see `gta.synthetic.motion`."""


@dataclass(frozen=True)
class ActionClass:
    """One class: its name, the motion that is rendered, and in which order its frames are played."""

    name: str
    motion: Motion
    backwards: bool = False
    """Play the rendered frames backwards."""
    returns: bool = False
    """Do the motion and undo it, each in half of the clip."""
    exchanged: bool = False
    """Play the second half of the rendered frames before the first."""


ACTIONS: tuple[ActionClass, ...] = (
    ActionClass("Pushing something from left to right", "right"),
    ActionClass("Pushing something from right to left", "right", backwards=True),
    ActionClass("Moving something down", "down"),
    ActionClass("Moving something up", "down", backwards=True),
    ActionClass("Moving something towards the camera", "nearer"),
    ActionClass("Moving something away from the camera", "nearer", backwards=True),
    ActionClass("Opening something", "open"),
    ActionClass("Closing something", "open", backwards=True),
    ActionClass("Covering something with something", "cover"),
    ActionClass("Uncovering something", "cover", backwards=True),
    ActionClass("Something appearing", "appear"),
    ActionClass("Something disappearing", "appear", backwards=True),
    ActionClass("Turning something clockwise", "clockwise"),
    ActionClass("Turning something counter-clockwise", "clockwise", backwards=True),
    ActionClass("Holding something still", "still"),
    ActionClass("Shaking something", "shake"),
)

_THERE_AND_BACK: tuple[tuple[str, str, Motion], ...] = (
    ("Pushing something to the right and back", "Pushing something to the left and back", "right"),
    ("Moving something towards the camera and back", "Moving something away from the camera and back", "nearer"),
    ("Opening and closing something", "Closing and opening something", "open"),
    ("Covering and uncovering something", "Uncovering and covering something", "cover"),
    ("Something appearing and disappearing", "Something disappearing and appearing", "appear"),
)
HARD_ACTIONS: tuple[ActionClass, ...] = ACTIONS + tuple(
    ActionClass(name, motion, returns=True, exchanged=exchanged)
    for first, second, motion in _THERE_AND_BACK
    for name, exchanged in ((first, False), (second, True))
)

CLASSES: tuple[str, ...] = tuple(action.name for action in ACTIONS)
"""Names of the 16 classes; they serve as folder names as they are."""
HARD_CLASSES: tuple[str, ...] = tuple(action.name for action in HARD_ACTIONS)
"""Names of the 26 classes of the hard variant: `CLASSES` and five pairs of motions there and back."""

ACTION_BY_NAME: dict[str, ActionClass] = {action.name: action for action in HARD_ACTIONS}

REVERSALS: dict[str, str] = {
    first.name: second.name
    for first in ACTIONS
    for second in ACTIONS
    if first.motion == second.motion and first.backwards != second.backwards
}
"""Class -> the class that its frames show when played backwards. Classes that stay themselves have no entry."""

SAME_FRAMES: dict[str, str] = REVERSALS | {
    name: other for a, b, _ in _THERE_AND_BACK for name, other in ((a, b), (b, a))
}
"""Class -> the class of the same frames in another order: backwards, or with the halves exchanged."""


def template(name: str) -> str:
    """Write a class name as Something-Something's template: "Pushing [something] from left to right"."""
    return re.sub(r"\b[Ss]omething\b", lambda match: f"[{match.group()}]", name)


def permutation_invariant_ceiling(classes: Sequence[str] | Mapping[str, int] = CLASSES) -> float:
    """The best expected top-1, in [0, 1], of any model whose output does not depend on the order of the frames.

    Both classes of a pair (`SAME_FRAMES`) consist of the same frames, so such a model can recognise the pair but has to
    guess the class: the more frequent one is the best guess. With all 16 classes, equally frequent, this is (7 pairs +
    2 order-free classes) / 16; with all 26 hard ones, (12 + 2) / 26.

    Args:
        classes: names from `HARD_CLASSES`, each as frequent as any other; or name -> number of videos.

    Raises:
        ValueError: no classes, or a name that is not in `HARD_CLASSES`.
    """
    counts: dict[str, int] = dict(classes) if isinstance(classes, Mapping) else dict.fromkeys(classes, 1)
    if not sum(counts.values()):
        raise ValueError("the ceiling of 0 classes is undefined")
    unknown = [name for name in counts if name not in ACTION_BY_NAME]
    if unknown:
        raise ValueError(
            f"'{unknown[0]}' is not one of the {len(CLASSES)} synthetic classes or the {len(HARD_CLASSES)} hard ones"
        )
    missed = sum(min(count, counts.get(SAME_FRAMES.get(name, ""), 0)) for name, count in counts.items())
    total = sum(counts.values())
    return (2 * total - missed) / (2 * total)  # each pair was met twice
