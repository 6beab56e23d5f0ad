"""The command line's entrance: quick, without PyTorch, with one clear line and the right exit code."""

import ast
import errno
import itertools
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from gta import cli
from gta.commands.arguments import parse_arguments
from gta.errors import GtaError, OptionError
from gta.files import check_writable, write_json
from gta.training.signals import TrainingInterrupted

# Runs a command line in a fresh process and says on the last line of stdout which heavy modules it imported.
_PROBE = """
import sys
from gta.cli import run
try:
    code = run(sys.argv[1:])
except SystemExit as stop:
    code = stop.code or 0
heavy = {"torch", "torchvision", "timm", "lightning", "torchmetrics", "av", "matplotlib"} & set(sys.modules)
print("HEAVY", sorted(heavy))
sys.exit(code)
"""


def _fresh(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _PROBE, *arguments], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["trian"], []])
def test_answers_without_pytorch(arguments):
    result = _fresh(*arguments)
    assert result.returncode == (2 if arguments == ["trian"] else 0)
    assert "HEAVY []" in result.stdout


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_help_of_every_command_shows_options_without_pytorch(name):
    result = _fresh(name, "--help")
    assert result.returncode == 0, result.stderr
    assert "usage: gta" in result.stdout
    assert "HEAVY []" in result.stdout


_TAKES_HELP = [[name] for name in cli.COMMANDS if name not in ("completion", "data", "train")]
_TAKES_HELP += [["data", "check"], ["data", "show"], ["data", "prepare"], ["train", "finetune"]]


@pytest.mark.parametrize("words", _TAKES_HELP, ids=" ".join)
def test_help_is_short_and_names_what_it_takes(words, capsys):
    def shown(flag: str) -> str:
        with pytest.raises(SystemExit):
            cli.run([*words, flag])
        return capsys.readouterr().out

    short, everything = shown("--help"), shown("--help-all")
    assert "None" not in everything
    assert "''" not in everything  # that an option may be left out is said in words
    usage = everything.partition("\n\n")[0]
    assert not re.search(r"\b(STR|PATH|INT)\b", re.sub(r"\[--.*?\]+", "", usage)), usage  # named for what they are
    assert len(short.splitlines()) <= (110 if words[0] == "train" else 50)
    if short != everything:
        assert short.rstrip().endswith("--help-all")


@pytest.mark.parametrize("words", [[], ["completion"], ["data"], ["train"]], ids=" ".join)
def test_a_help_without_options_is_whole_at_once(words, capsys):
    assert cli.run([*words, "--help"]) == 0
    short = capsys.readouterr().out
    assert cli.run([*words, "--help-all"]) == 0
    assert capsys.readouterr().out == short


def test_short_help_is_whole_in_a_wide_terminal(monkeypatch, capsys):
    """Nothing stands beside the frames that are shortened."""
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        cli.run(["train", "finetune", "--help"])
    shown = capsys.readouterr().out
    assert "││" not in shown
    assert "--optim.momentum" not in shown
    assert os.environ["COLUMNS"] == "200"


def test_the_texts_of_help_fill_their_lines(monkeypatch, capsys):
    """Where a docstring breaks its lines, and how long they are, does not show."""
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit):
        cli.run(["export", "--help-all"])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    for line, following in itertools.pairwise(lines):
        if re.match(r"│ {10,}\S", following) and re.match(r"│ {10,}\S", line):
            next_word = following.strip("│ ").split()[0]
            assert len(line.rstrip("│ ")) + 1 + len(next_word) > 97, line


# What a command must be given before its options are looked at.
_NEEDED = {
    "convert": ["a.pth", "b.safetensors"],
    "data": ["check", "videos"],
    "evaluate": ["a.ckpt"],
    "explain": ["a.ckpt", "a.mp4"],
    "export": ["a.ckpt", "--to", "onnx"],
    "predict": ["a.ckpt", "a.mp4"],
    "push": ["a.ckpt", "owner/name"],
    "watch": ["a.ckpt", "a.mp4"],
    "probe": ["a.ckpt"],
    "study": ["table1"],
    "synthesize": ["videos"],
    "train": ["synthetic"],
}


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_unknown_option_is_one_line_and_code_2(name):
    result = _fresh(name, *_NEEDED.get(name, []), "--no-such-option", "1")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1, result.stderr
    assert "no-such-option" in result.stderr
    assert "HEAVY []" in result.stdout


# In the place of PyTorch: says what was loaded before it, and ends the process.
_NO_TORCH = """
import os, sys
heavy = {"torchvision", "timm", "lightning", "torchmetrics", "av", "matplotlib"} & set(sys.modules)
sys.stderr.write(f"PyTorch would be loaded now, after {sorted(heavy)}")
sys.stderr.flush()
os._exit(0)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize(
    "words",
    [
        ["predict", "a.ckpt", "a.mp4"],
        ["train", "synthetic", "videos"],
        ["evaluate", "a.ckpt", "videos"],
        pytest.param(
            ["serve", "a.ckpt"],
            marks=pytest.mark.skipif(
                not all(map(find_spec, ("gradio", "fastapi", "uvicorn"))), reason="the extra web is not installed"
            ),
        ),
    ],
    ids=lambda words: words[0],
)
def test_a_terminal_is_told_that_pytorch_is_loaded_before_it_is(words, tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(_NO_TORCH)
    for name in ("a.ckpt", "a.mp4", "videos/train/x/a.mp4", "videos/train/y/b.mp4", "videos/val/x/c.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"no video")
    ours, theirs = os.openpty()
    paths = f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    subprocess.run(
        [sys.executable, "-m", "gta", *words],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": paths}, stderr=theirs, timeout=60, check=True,
    )  # fmt: skip
    os.close(theirs)
    said = os.read(ours, 10_000).decode()
    os.close(ours)
    assert said.splitlines() == ["loading PyTorch ...", "PyTorch would be loaded now, after []"]


def test_every_command_is_in_the_usage(capsys):
    assert cli.run(["--help"]) == 0
    printed = capsys.readouterr().out
    for name in cli.COMMANDS:
        assert f"\n  {name} " in printed


def test_mistyped_command_names_the_nearest(capsys):
    assert cli.run(["evalute"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "gta: 'evalute' is not a command: did you mean 'evaluate'?\n"


def _with_command(monkeypatch, action):
    monkeypatch.setitem(cli.COMMANDS, "fake", "for the test")
    monkeypatch.setitem(sys.modules, "gta.commands.fake", SimpleNamespace(main=action))


def test_arguments_of_the_library_are_options_on_the_command_line(tmp_path, capsys):
    assert cli.run(["synthesize", str(tmp_path / "videos"), "--val-fraction", "1"]) == 2
    assert capsys.readouterr().err == "gta synthesize: --val-fraction is 1.0: it must lie in [0, 1)\n"


def test_errors_of_the_library_name_arguments_and_no_options():
    source = Path(cli.__file__).parent
    found = [
        f"{path.relative_to(source)}:{part.lineno}: {part.value}"
        for path in source.rglob("*.py")
        if path.parent.name != "commands"
        for raised in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(raised, ast.Raise)
        for part in ast.walk(raised)
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and re.search(r"--([a-z]|$)", part.value)
    ]
    assert found == []


def test_a_users_mistake_is_one_line_even_when_the_text_has_several(monkeypatch, capsys):
    def action(_):
        raise GtaError("clip.mp4: broken\n   twice")

    _with_command(monkeypatch, action)
    assert cli.run(["fake"]) == 2
    assert capsys.readouterr().err == "gta fake: clip.mp4: broken twice\n"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EROFS, "read-only"),
        (errno.EACCES, "permission"),
        (errno.EEXIST, "where a folder is needed"),
        (errno.ENOENT, "no such file or folder"),
    ],
)
def test_disk_errors_are_the_users_to_mend(monkeypatch, capsys, code, words):
    def action(_):
        raise OSError(code, "whatever", "/some/file")

    _with_command(monkeypatch, action)
    assert cli.run(["fake"]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert "/some/file" in message


def test_a_missing_file_without_a_name_is_a_defect_of_ours(monkeypatch):
    def action(_):
        raise OSError(errno.ENOENT, "whatever")

    _with_command(monkeypatch, action)
    with pytest.raises(FileNotFoundError):
        cli.run(["fake"])


@pytest.mark.parametrize("target", ["FILE/o.json", "FILE/deep/o.json", "/proc/nothing/o.json"])
def test_places_where_nothing_can_be_written_are_one_line(monkeypatch, capsys, tmp_path, target):
    (tmp_path / "file").touch()
    path = target.replace("FILE", str(tmp_path / "file"))
    for action in (lambda _: write_json(path, {}), lambda _: check_writable(path)):
        _with_command(monkeypatch, action)
        assert cli.run(["fake"]) == 2
        assert capsys.readouterr().err.startswith(f"gta fake: {path.partition('/deep')[0].removesuffix('/o.json')}")


def test_names_that_are_not_utf_8_can_be_printed():
    program = (
        "import sys, types; from gta import cli; cli.COMMANDS['fake'] = ''; "
        "module = types.SimpleNamespace(main=lambda _: print('caf\\udce9.mp4')); "
        "sys.modules['gta.commands.fake'] = module; sys.argv = ['gta', 'fake']; cli.main()"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout) == (0, "caf\\udce9.mp4\n"), result.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_run_that_a_signal_stopped_exits_as_shells_have_it_from_any_command(monkeypatch, capsys, number):
    def action(_):
        raise TrainingInterrupted(number, "checkpoint written")

    _with_command(monkeypatch, action)
    assert cli.run(["fake"]) == 128 + number
    assert capsys.readouterr().err == f"gta fake: stopped by {number.name}: checkpoint written\n"


def test_a_defect_of_ours_keeps_its_traceback(monkeypatch):
    def action(_):
        raise ZeroDivisionError

    _with_command(monkeypatch, action)
    with pytest.raises(ZeroDivisionError):
        cli.run(["fake"])


def test_interrupt_has_its_own_code(monkeypatch, capsys):
    def action(_):
        raise KeyboardInterrupt

    _with_command(monkeypatch, action)
    assert cli.run(["fake"]) == 130
    assert "interrupted" in capsys.readouterr().err


@dataclass(frozen=True)
class _Example:
    """Example."""

    count: int = 3
    """How many."""
    folder: Path = Path("x")
    """Where."""


def test_arguments_are_parsed_over_defaults():
    parsed = parse_arguments(_Example, ["--folder", "y"], command="gta x", default=_Example(count=5))
    assert parsed == _Example(count=5, folder=Path("y"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--cuont", "4"], ["--cuont", "did you mean --count?"]),
        (["--count", "many"], ["--count", "many"]),
        (["--count"], ["--count"]),
        (["stray"], ["stray"]),
    ],
)
def test_wrong_arguments_name_the_option_in_one_line(arguments, words):
    with pytest.raises(OptionError) as caught:
        parse_arguments(_Example, arguments, command="gta x")
    message = str(caught.value)
    assert "\n" not in message
    assert "gta x --help" in message
    for word in words:
        assert word in message


def test_help_shows_each_field_with_default_and_meaning(capsys):
    with pytest.raises(SystemExit) as caught:
        parse_arguments(_Example, ["--help"], command="gta x")
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    assert "--count INT" in printed
    assert "How many. (default: 3)" in printed
