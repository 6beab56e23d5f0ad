"""Which classes are each other's reversals because their data set says so; nothing is guessed from names here.

Training, studies and ensembles measure direction by these. The probe also finds pairs by the words of their names:
the rules of `gta.evaluation.opposites`, which also looks up the pairs stated here.
"""

from collections.abc import Sequence

from gta.datasets.layouts.utd_mhad import UTD_MHAD_REVERSALS
from gta.evaluation.opposites import Opposites, find_chiral_pairs, reversals_of
from gta.synthetic.classes import REVERSALS

STATED = Opposites(pairs=(*UTD_MHAD_REVERSALS.items(), *REVERSALS.items()))
"""The synthetic data set's time reversals and UTD-MHAD's chiral pairs, by their whole names."""


def stated_reversals(classes: Sequence[str]) -> dict[str, str]:
    """Return class -> its counterpart, both ways, for the stated pairs of which both classes are there."""
    return reversals_of(find_chiral_pairs(classes, STATED))
