"""Parts of reports with few, many and no classes, confusions and left-out videos."""

import numpy as np

from gta.viz.parts import Confusion, class_section, confusion_section, settings_section, skipped_section


def test_many_classes_fold_and_their_matrix_gives_way_to_its_worst_cells():
    names = [f"class {number}" for number in range(100)]
    per_class = {name: {"accuracy": number / 100, "num_videos": 5} for number, name in enumerate(names)}
    page = class_section(per_class)
    assert "76 more classes" in page
    assert page.index("class 0<") < page.index("class 23<") < page.index("<details>") < page.index("class 24<")
    many = confusion_section(np.eye(100, dtype=int), names, [Confusion("class 1", "class 2", 3, 5)])
    assert "heat" not in many
    assert "3 of 5" in many
    assert "60.0 %" in many
    assert "heat" in confusion_section(np.eye(24, dtype=int), names[:24], [])


def test_classes_without_videos_are_named_apart():
    page = class_section({"a": {"accuracy": 1.0, "num_videos": 2}, "b": {"accuracy": None, "num_videos": 0}})
    assert "1 class without a video here" in page
    assert page.count("<tr>") == 2


def test_nothing_wrong_is_said():
    assert "No video was classified as another class." in confusion_section(np.eye(2, dtype=int), ["a", "b"], [])
    assert "every video could be read" in skipped_section([])


def test_left_out_videos_are_listed_with_reasons_and_counted():
    page = skipped_section([(f"v{number}.mp4", "damaged <b>") for number in range(250)])
    assert "Left-out videos: 250" in page
    assert "50 more." in page
    assert page.count("damaged &lt;b&gt;") == 200


def test_settings_are_dotted_names():
    page = settings_section("How", {"data": {"root": "x", "clip": {"mean": [0.5]}}, "seed": None, "empty": {}})
    for words in ("data.root", "data.clip.mean", "[0.5]", "seed", "empty", "4 settings"):
        assert words in page
