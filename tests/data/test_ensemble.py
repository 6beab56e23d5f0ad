"""`gta ensemble`: scores of several models averaged, and results that do not fit together."""

import json

import numpy as np
import pytest

import gta
from gta.cli import run

CLASSES = ("a", "b", "c")


def write_scores(path, scores, folder="/data", names=("1.mp4", "2.mp4", "3.mp4"), labels=(0, 1, 2), classes=CLASSES):
    np.savez(
        path,
        paths=np.array([f"{folder}/val/{name}" for name in names]),
        labels=np.array(labels, np.int64),
        scores=np.array(scores, np.float32),
        classes=np.array(classes),
    )
    return str(path)


FIRST = [[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.6, 0.3]]  # right, wrong, wrong
SECOND = [[0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9]]  # wrong, right, right


def test_ensemble_averages_and_measures(tmp_path, capsys):
    first = write_scores(tmp_path / "a.npz", FIRST)
    order = [2, 0, 1]  # other order, other folder: videos are matched by path
    second = write_scores(
        tmp_path / "b.npz", [SECOND[i] for i in order], "/elsewhere/x", [f"{i + 1}.mp4" for i in order], order
    )
    output, scores = tmp_path / "out.json", tmp_path / "out.npz"
    assert run(["ensemble", first, second, "--output", str(output), "--scores", str(scores)]) == 0
    written = json.loads(output.read_text())
    # averages: (.4 .5 .1) wrong, (.3 .6 .1) right, (.05 .35 .6) right
    assert written["top1"] == pytest.approx(2 / 3)
    assert [entry["top1"] for entry in written["ensemble"]] == pytest.approx([1 / 3, 2 / 3])
    with np.load(scores) as archive:
        assert archive["scores"] == pytest.approx((np.array(FIRST) + SECOND) / 2)
        assert list(archive["paths"]) == [f"/data/val/{n}.mp4" for n in (1, 2, 3)]
    assert "together: top-1 66.67 %" in capsys.readouterr().out
    # weighted 3 : 1 the first video is right, the third not
    assert run(["ensemble", first, second, "--weights", "3", "1", "--output", str(output)]) == 0
    assert json.loads(output.read_text())["top1"] == pytest.approx(2 / 3)
    assert json.loads(output.read_text())["confusion"]["rows_true_columns_predicted"][0] == [1, 0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("a", "b", "d")}, "its classes are not those of"),
        ({"names": ("1.mp4", "2.mp4", "4.mp4")}, "its 3 videos are not the 3 of"),
        ({"labels": (0, 1, 1)}, "its labels are not those of"),
    ],
)
def test_ensemble_of_results_that_do_not_fit(tmp_path, capsys, change, message):
    first = write_scores(tmp_path / "a.npz", FIRST)
    second = write_scores(tmp_path / "b.npz", SECOND, **change)
    assert run(["ensemble", first, second]) == 2
    assert message in capsys.readouterr().err


def test_ensemble_of_several_parts_of_one_file(tmp_path, capsys):
    names = ("1.mp4", "1.mp4", "2.mp4")
    first, second = (
        write_scores(tmp_path / f"{number}.npz", scores, folder=f"/{number}", names=names)
        for number, scores in enumerate((FIRST, SECOND))
    )
    assert run(["ensemble", first, second]) == 0
    assert "together: top-1 66.67 % over 3 videos" in capsys.readouterr().out
    fewer = write_scores(tmp_path / "c.npz", SECOND[:2], names=names[1:], labels=(1, 2))
    assert run(["ensemble", first, fewer]) == 2
    assert "its 2 videos are not the 3 of" in capsys.readouterr().err


def test_the_direction_is_measured_of_every_data_set_that_states_reversals(tmp_path):
    classes = ("swipe left", "swipe right", "wave")
    paths = [write_scores(tmp_path / f"{k}.npz", scores, classes=classes) for k, scores in enumerate((FIRST, SECOND))]
    assert run(["ensemble", *paths, "--output", str(tmp_path / "out.json")]) == 0
    # averages (.4 .55 .05) and (.3 .6 .1): the first video is taken for its reversal, the second is not
    assert json.loads((tmp_path / "out.json").read_text())["direction_accuracy"] == 0.5


def test_ensemble_mistakes(tmp_path, capsys):
    first = write_scores(tmp_path / "a.npz", FIRST)
    assert run(["ensemble", first]) == 2
    assert "1 result given: an ensemble needs two or more" in capsys.readouterr().err
    assert run(["ensemble", first, str(tmp_path / "gone.npz")]) == 2
    assert "no such file" in capsys.readouterr().err
    (tmp_path / "text.npz").write_text("no archive")
    assert run(["ensemble", first, str(tmp_path / "text.npz")]) == 2
    assert "not a score file" in capsys.readouterr().err
    assert run(["ensemble", first, first, "--weights", "1"]) == 2
    assert "--weights has 1 numbers for 2 results" in capsys.readouterr().err


def test_no_results_and_too_few_weights_are_named() -> None:
    with pytest.raises(ValueError, match="`results` is empty"):
        gta.ensemble([])
    with pytest.raises(TypeError, match=r"a single path, one\.npz: give a list"):
        gta.ensemble("one.npz")
    with pytest.raises(ValueError, match="2 results with weights"):
        gta.ensemble(["one.npz", "two.npz"], weights=[1.0])
