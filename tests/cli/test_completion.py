"""Completion: every command and option is in the scripts, and bash completes with them."""

import contextlib
import shutil
import subprocess

import pytest

from gta.cli import run
from gta.commands import COMMANDS
from gta.commands.completion import command_options, script
from gta.commands.train import SHORT_FLAGS


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (["gta", "ev"], "evaluate"),
        (["gta", "evaluate", "--spl"], "--split"),
        (["gta", "evaluate", "--split", ""], "train val test"),
        (["gta", "evaluate", ""], ""),
        (["gta", "train", "--optim.sched"], "--optim.schedule --optim.schedule-interval"),
        (["gta", "train", "--epo"], "--epochs"),
        (["gta", "train", "finetune_tr"], "finetune_transformer"),
        (["gta", "train", "finetune", "fin"], ""),  # a file or folder
        (["gta", "data", ""], "check show prepare"),
        (["gta", "study", "table4"], "table4"),
    ],
)
def test_bash_completes(line: list[str], expected: str) -> None:
    words = " ".join(f"'{word}'" for word in line)
    program = f'COMP_WORDS=({words}); COMP_CWORD={len(line) - 1}; _gta; echo "${{COMPREPLY[@]}}"'
    shell = shutil.which("bash")
    assert shell
    result = subprocess.run(
        [shell, "-c", f"{script('bash')}\n{program}"], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == expected
    assert result.stderr == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_command_is_there(shell: str) -> None:
    text = script(shell)
    assert all(name in text for name in COMMANDS)
    assert "num-workers" in text


def test_options_are_those_of_the_command() -> None:
    options = command_options("predict")
    assert {"--top-k", "--json", "--list", "--help"} <= set(options)
    assert "--checkpoint" not in options
    assert "--videos" not in options
    assert command_options("train")["--model.name"] == ()


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - {"data", "completion"}))  # they have commands of their own
def test_every_option_that_is_offered_is_in_the_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    shown = f"--help-all {' '.join(SHORT_FLAGS)} "
    for words in [["train"], ["train", "finetune"]] if command == "train" else [[command]]:
        with contextlib.suppress(SystemExit):
            run([*words, "--help-all"])
        shown += capsys.readouterr().out
    assert [option for option in command_options(command) if f"{option} " not in f"{shown} ".replace(",", " ")] == []


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", "tcsh"]) == 2
    assert "choose bash, zsh or fish" in capsys.readouterr().err
