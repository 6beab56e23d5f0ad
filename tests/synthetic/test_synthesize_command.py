import subprocess
import sys

import pytest

from gta import cli

SMALL = ["--height", "32", "--width", "32", "--num-workers", "0"]


def test_renders_a_folder_and_says_so(tmp_path, capsys):
    words = ["synthesize", str(tmp_path / "d"), "--num-videos", "32", "--val-fraction", "0.5", *SMALL]
    assert cli.run(words) == 0
    shown = capsys.readouterr()
    assert f"{tmp_path / 'd'}: 16 classes, 16 train, 16 val (folder layout)" in shown.out
    assert "rendered 32 videos" in shown.out
    assert "56.25 % top-1 at best" in shown.out
    assert shown.err == ""  # no progress bar where nobody watches
    assert len(list((tmp_path / "d").rglob("*.mp4"))) == 32
    assert cli.run(words) == 0
    assert "kept 32" in capsys.readouterr().out


def test_chosen_classes(tmp_path, capsys):
    chosen = ["--classes", "Opening something", "Closing something", "--num-videos", "4"]
    assert cli.run(["synthesize", str(tmp_path / "d"), *chosen, *SMALL]) == 0
    assert "50.00 % top-1 at best" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "required"),
        (["d", "--layout", "imagenet"], "layout"),
        (["d", "--num-video", "100"], "num-videos"),
        (["d", "--num-videos", "many"], "num-videos"),
        (["d", "--num-videos", "10"], "--num-videos is 10"),
        (["d", "--height", "33"], "the height is 33 pixels"),
        (["d", "--classes", "Juggling"], "'Juggling' is not one of"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    assert cli.run(["synthesize", *words]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert message in shown.err
    assert shown.err.count("\n") == 1
    assert not (tmp_path / "d").exists()


def test_the_command_does_not_import_torch(tmp_path):
    words = ["synthesize", str(tmp_path / "d"), "--num-videos", "32", *SMALL]
    code = f"import sys; from gta.cli import run; code = run({words!r}); sys.exit(code or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0
