"""`gta demo`, small: every file it promises, the same numbers twice, and folders that are not its own left alone."""

import json

import pytest

from gta.cli import run

SMALL = ["--num-videos", "80", "--epochs", "1", "--num-workers", "0"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "demo"
    assert run(["demo", "--output", str(folder), *SMALL]) == 0
    return folder


def test_results_have_the_promised_keys_and_the_ceiling(demo):
    results = json.loads((demo / "results.json").read_text())
    assert results["ceiling"] == 9 / 16
    assert results["ceiling_sampling_error"] == pytest.approx((9 / 16 * 7 / 16 / results["num_test_videos"]) ** 0.5)
    assert list(results["models"]) == ["tiny", "tiny_gta"]
    for figures in results["models"].values():
        for key in ("top1", "top5", "direction_accuracy"):
            assert 0 <= figures[key] <= 1


def test_report_is_whole_and_names_both_models(demo):
    page = (demo / "report.html").read_text()
    assert page.endswith("</html>\n")
    for words in (
        "tiny_gta",
        "56.2 %",
        "Confusions",
        "Played backwards",
        "What the model sees",
        "open explain.html",
        "the ceiling",
        "freshly rendered",
        " predict ",
    ):
        assert words in page
    assert page.count("data:image/jpeg") == 5
    assert page.count("data:image/png") == 3  # attention, regions, mixing
    assert page.count('</td><td data-label="played">backwards') == 2 * 5


def test_explain_page_is_left_to_open(demo):
    page = (demo / "explain.html").read_text()
    assert page.endswith("</html>\n")
    assert len(page.encode()) < 8_000_000
    assert "What tiny_gta sees in 0.mp4" in page


def test_checkpoints_and_fresh_files_are_left_for_the_next_commands(demo, capsys):
    assert run(["predict", str(demo / "tiny_gta" / "best.ckpt"), str(demo / "fresh" / "0.mp4"), "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert answer["path"] == str(demo / "fresh" / "0.mp4")
    assert len(answer["predictions"]) == 5


def test_again_in_the_same_folder_gives_the_same_numbers(demo):
    before = (demo / "results.json").read_text()
    stamp = (demo / "videos").stat().st_mtime
    assert run(["demo", "--output", str(demo), *SMALL]) == 0
    assert (demo / "results.json").read_text() == before
    assert (demo / "videos").stat().st_mtime == stamp  # used again, not rendered again


def test_other_settings_in_the_same_folder_leave_the_results_alone(demo, capsys):
    before = (demo / "results.json").read_text()
    assert run(["demo", "--output", str(demo), *SMALL, "--seed", "1"]) == 2
    assert "seed" in capsys.readouterr().err
    assert (demo / "results.json").read_text() == before
    assert (demo / "tiny_gta" / "best.ckpt").exists()


def test_an_interrupted_demo_goes_on(demo):
    before = (demo / "results.json").read_text()
    (demo / "results.json").unlink()
    stamp = (demo / "tiny_gta" / "best.ckpt").stat().st_mtime
    assert run(["demo", "--output", str(demo), *SMALL]) == 0
    assert (demo / "results.json").read_text() == before
    assert (demo / "tiny_gta" / "best.ckpt").stat().st_mtime == stamp  # finished before, not trained again


def test_a_folder_of_somebody_else_is_refused_and_kept(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("ten years of work")
    assert run(["demo", "--output", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert (tmp_path / "thesis.txt").read_text() == "ten years of work"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--models", "tiny_gat"], "tiny_gat"),
        (["--max-epochs", "0"], "--epochs is 0"),
        (["--models", "tiny", "tiny"], "once"),
    ],
)
def test_wrong_options_cost_no_rendering(tmp_path, capsys, arguments, words):
    assert run(["demo", "--output", str(tmp_path / "demo"), *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
