"""The report that a training run and an evaluation leave: what it says is what the other files say."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from gta.cli import run
from gta.datasets.listing import open_videos
from gta.evaluation.metrics import confusion_matrix, worst_confusions
from gta.runs.report import measured
from gta.synthetic import CLASSES, synthesize

SMALL = [
    "--data.num-workers=0",
    "--data.batch-size=4",
    "--run.accelerator=cpu",
    "--run.num-threads=1",
    "--data.clip.crop-size=32",
    "--data.clip.resize",
    "36",
    "48",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("reports")
    synthesize(root / "set", num_videos=16, val_fraction=0.5, classes=CLASSES[:4], frame_size=(48, 64))
    broken = next(root.glob("set/val/*")) / "broken <b>.mp4"
    broken.write_bytes(b"no video")
    options = [f"--data.root={root / 'set'}", f"--run.folder={root / 'run'}", *SMALL]
    assert run(["train", "synthetic", *options, "--run.max-epochs=2"]) == 0
    return root / "set", root / "run"


def test_the_training_report_says_what_the_other_files_say(trained):
    _, folder = trained
    page = (folder / "report.html").read_text(encoding="utf-8")
    results = json.loads((folder / "results.json").read_text())
    best = results["best"]
    assert f"{100 * best['top1']:.1f} % top-1 on {best['num_videos']} validation videos" in page
    assert f"after epoch {results['best_epoch']}" in page
    assert page.count("<svg") == 3
    assert "broken &lt;b&gt;.mp4" in page
    assert "data.clip.crop_size" in page
    assert "clips per second" in page
    for name, row in best["per_class"].items():
        assert f"{name}</bdi></td>" in page
        assert f"{100 * row['accuracy']:.1f} %" in page
    wrong = sum(pair["count"] for pair in best["worst_confusions"])
    assert wrong == round((1 - best["top1"]) * best["num_videos"])
    assert page.count("data:image/jpeg") == sum(len(pair["index"]) for pair in best["worst_confusions"]) > 0


def test_frames_shown_are_those_of_the_confused_videos(trained):
    root, folder = trained
    best = json.loads((folder / "results.json").read_text())["best"]
    videos = open_videos(root, "val")
    for pair, shown in zip(best["worst_confusions"], measured(best, videos).confusions, strict=True):
        assert (shown.truth, shown.predicted, shown.count) == (pair["true"], pair["predicted"], pair["count"])
        for example in shown.examples:
            assert Path(example.title).parent.name == pair["true"]
            assert example.frames is not None
            assert example.frames.shape[1:] == (48, 64, 3)


def test_resuming_a_finished_run_writes_the_report_again(trained):
    _, folder = trained
    before = (folder / "report.html").read_text(encoding="utf-8")
    (folder / "report.html").unlink()
    assert run(["train", str(folder), "--resume"]) == 0
    assert (folder / "report.html").read_text(encoding="utf-8") == before


def test_a_video_that_is_gone_is_said_to_be(trained, tmp_path):
    root, folder = trained
    best = json.loads((folder / "results.json").read_text())["best"]
    videos = open_videos(root, "val")
    moved = [record for record in videos.records if not record.path.exists()]
    assert moved == []
    from dataclasses import replace

    gone = replace(videos, records=tuple(replace(r, path=tmp_path / r.path.name) for r in videos.records))
    examples = [example for pair in measured(best, gone).confusions for example in pair.examples]
    assert examples
    assert all(example.frames is None and "cannot be shown" in example.note for example in examples)


def test_evaluate_writes_a_report_beside_its_numbers(trained, capsys):
    root, folder = trained
    assert run(["evaluate", str(folder / "best.ckpt"), "--num-workers", "0"]) == 0
    assert "evaluation_val.html" in capsys.readouterr().out
    page = (folder / "evaluation_val.html").read_text(encoding="utf-8")
    values = json.loads((folder / "evaluation_val.json").read_text())
    assert f"{100 * values['mean_class_accuracy']:.1f} %" in page
    assert "Confusions" in page
    assert str(root) in page


def test_results_named_like_a_page_are_not_overwritten_by_it(trained, tmp_path):
    _, folder = trained
    target = tmp_path / "numbers.html"
    assert run(["evaluate", str(folder / "best.ckpt"), "--num-workers", "0", "--output", str(target)]) == 0
    assert "top1" in json.loads(target.read_text())
    assert (tmp_path / "numbers.html.html").exists()


def test_worst_confusions_are_the_largest_cells_off_the_diagonal():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 200)
    scores = rng.random((200, 5)).astype(np.float32)
    found = worst_confusions(scores, labels, confusion_matrix(scores, labels), most=4, examples=3)
    predicted = scores.argmax(axis=1)
    counts = {(a, b): int(((labels == a) & (predicted == b)).sum()) for a in range(5) for b in range(5) if a != b}
    assert [pair["count"] for pair in found] == sorted(counts.values(), reverse=True)[:4]
    for pair in found:
        true, taken = pair["true"], pair["predicted"]
        assert counts[true, taken] == pair["count"]
        assert len(pair["rows"]) == 3
        assert (labels[pair["rows"]] == true).all()
        assert (predicted[pair["rows"]] == taken).all()
        shown = scores[pair["rows"], taken]
        others = scores[(labels == true) & (predicted == taken), taken]
        assert sorted(others, reverse=True)[:3] == list(shown)


def test_nothing_is_confused_where_all_is_right():
    right = np.eye(3, dtype=np.float32)
    assert worst_confusions(right, np.arange(3), confusion_matrix(right, np.arange(3))) == []


def test_damaged_results_in_a_checkpoint_are_refused(trained, tmp_path):
    """A report must not stumble over what somebody wrote into a checkpoint's record of the best epoch."""
    from gta.stored import StoredError
    from gta.training.run_state import check_run_state

    _, folder = trained
    import copy

    from gta.checkpoint import load_file

    content = load_file(folder / "last.ckpt")
    check_run_state(content, batches_per_epoch=10**6)
    best = content["run"]["best_result"]
    for change in (
        {"top1": 7.0},
        {"num_videos": -1},
        {"confusion": {"classes": ["x"], "rows_true_columns_predicted": [[1]]}},
        {"worst_confusions": [{"true": "?", "predicted": "?", "count": 1, "index": [0]}]},
        {"per_class": {"a": {"accuracy": "high", "num_videos": 1}}},
    ):
        damaged = copy.deepcopy({**content, "optimizer_states": [{}]})
        damaged["run"]["best_result"] = {**best, **change}
        with pytest.raises(StoredError, match=re.compile("|".join(change) + "|accuracy|confusion")):
            check_run_state(damaged, batches_per_epoch=10**6)
