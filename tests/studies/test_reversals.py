"""The reversals that data sets state."""

from gta.runs.reversals import stated_reversals
from gta.synthetic.classes import CLASSES, REVERSALS


def test_stated_pairs_count_where_both_are_there():
    both = {"swipe left": "swipe right", "swipe right": "swipe left"}
    assert stated_reversals(("swipe right", "wave", "swipe left")) == both
    assert stated_reversals(("swipe right", "wave")) == {}
    assert stated_reversals(CLASSES) == REVERSALS


def test_no_pair_is_guessed_from_words():
    assert stated_reversals(("Opening a door", "Closing a door")) == {}
