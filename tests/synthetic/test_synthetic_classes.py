import subprocess
import sys

import pytest

from gta.synthetic.classes import ACTION_BY_NAME, CLASSES, REVERSALS, permutation_invariant_ceiling, template


def test_seven_pairs_and_two_order_free_classes():
    assert len(CLASSES) == len(set(CLASSES)) == 16
    assert len(REVERSALS) == 14
    assert set(CLASSES) - set(REVERSALS) == {"Holding something still", "Shaking something"}


def test_reversals_go_both_ways_and_pair_the_same_motion():
    for name, other in REVERSALS.items():
        assert REVERSALS[other] == name != other
        assert ACTION_BY_NAME[name].motion == ACTION_BY_NAME[other].motion


@pytest.mark.parametrize(
    ("name", "opposite"),
    [
        ("Pushing something from left to right", "Pushing something from right to left"),
        ("Moving something up", "Moving something down"),
        ("Moving something towards the camera", "Moving something away from the camera"),
        ("Opening something", "Closing something"),
        ("Covering something with something", "Uncovering something"),
        ("Something appearing", "Something disappearing"),
        ("Turning something clockwise", "Turning something counter-clockwise"),
    ],
)
def test_pairs_by_name(name, opposite):
    assert REVERSALS[name] == opposite


def test_names_can_be_folders():
    assert not any(set(name) & set('/\\:*?"<>|') for name in CLASSES)


def test_template_puts_brackets_around_each_thing():
    assert template("Covering something with something") == "Covering [something] with [something]"
    assert template("Something appearing") == "[Something] appearing"


def test_ceiling_is_computed_from_the_classes():
    assert permutation_invariant_ceiling() == 9 / 16
    assert permutation_invariant_ceiling(CLASSES[:2]) == 1 / 2
    assert permutation_invariant_ceiling(("Opening something", "Moving something up")) == 1
    assert permutation_invariant_ceiling((*CLASSES[:4], "Shaking something")) == 3 / 5


def test_ceiling_counts_the_videos_of_each_class():
    left, right = CLASSES[0], REVERSALS[CLASSES[0]]
    assert permutation_invariant_ceiling({left: 30, right: 10, "Shaking something": 60}) == pytest.approx(0.9)
    assert permutation_invariant_ceiling(dict.fromkeys(CLASSES, 40)) == 9 / 16
    with pytest.raises(ValueError, match="0 classes"):
        permutation_invariant_ceiling({left: 0})


def test_ceiling_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="0 classes"):
        permutation_invariant_ceiling(())
    with pytest.raises(ValueError, match="'Juggling' is not one of the 16"):
        permutation_invariant_ceiling(("Juggling",))


def test_no_torch_is_imported():
    code = "import sys, gta.synthetic; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
