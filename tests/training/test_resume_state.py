"""Where a run continues is checked before it is used, and what changes at a resume is said."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
from test_engine_fit import train

from gta.checkpoint import load_file, write_checkpoint
from gta.errors import CheckpointError, GtaError, OptionError, RunFolderError
from gta.training.folder import check_same_config

VALUES: list[Any] = [
    None,
    -1,
    10**12,
    1.5,
    float("nan"),
    "x",
    [],
    {},
    True,
    torch.zeros(2),
    torch.full((3, 3), float("nan")),
]


def _places(content: Any, found: list[tuple[Any, Any]], depth: int = 0) -> list[tuple[Any, Any]]:
    """Every (container, key) in the run's state, weights left out."""
    keys = content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in list(keys):
        if depth == 0 and key in ("gta", "state_dict"):
            continue
        found.append((content, key))
        if isinstance(content[key], dict | list) and depth < 5:
            _places(content[key], found, depth + 1)
    return found


def test_a_damaged_run_state_is_one_line(tmp_path) -> None:
    train(tmp_path / "run", max_epochs=1)
    last = tmp_path / "run" / "last.ckpt"
    whole = load_file(last)
    generator = np.random.default_rng(0)
    refused = 0
    for _ in range(80):
        content = copy.deepcopy(whole)
        places = _places(content, [])
        container, key = places[generator.integers(len(places))]
        if generator.random() < 0.3:
            del container[key]
        else:
            container[key] = VALUES[generator.integers(len(VALUES))]
        write_checkpoint(last, content)
        try:
            train(tmp_path / "run", max_epochs=2, max_steps=1, resume=True, checkpoint_minutes=1000.0)
        except GtaError as error:
            refused += 1
            several = str(error).count("\n")
        else:
            several = 0
        assert several == 0
    assert refused > 20


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["run"].update(epochs_done=-1), "epochs_done is -1"),
        (lambda c: c.update(batches_done=10**9), "batches_done is 1000000000"),
        (lambda c: c["training"].update(totals=[1.0]), "totals are not three numbers"),
        (lambda c: c.update(optimizer_states=[]), "the optimiser's state is missing"),
        (lambda c: c["state_dict"].pop("model.head.bias"), "belongs to another model: head.bias"),
        (lambda c: c["state_dict"].update({"model.head.bias": torch.zeros(9)}), "head.bias has shape (9,)"),
        (
            lambda c: c["optimizer_states"][0]["state"][0].update(momentum_buffer=torch.zeros(7)),
            "the optimiser's momentum_buffer has shape (7,)",
        ),
        (
            lambda c: c["optimizer_states"][0]["state"][0]["momentum_buffer"].fill_(float("inf")),
            "holds NaN or infinite numbers",
        ),
    ],
)
def test_what_cannot_be_is_named(tmp_path, change, words) -> None:
    train(tmp_path / "run", max_epochs=1, optim={"momentum": 0.9})
    last = tmp_path / "run" / "last.ckpt"
    content = load_file(last)
    change(content)
    write_checkpoint(last, content)
    with pytest.raises(CheckpointError) as caught:
        train(tmp_path / "run", max_epochs=2, resume=True, optim={"momentum": 0.9})
    assert words in str(caught.value)
    assert "last.ckpt" in str(caught.value)


@pytest.mark.parametrize("name", ["metrics.csv", "timing.csv"])
@pytest.mark.parametrize("text", ['epoch,seconds\n"1,2\n', "epoch\n,\n", "a,b\n1,2\n", "epoch\nx\n"])
def test_damaged_tables_are_one_line(tmp_path, name, text) -> None:
    train(tmp_path / "run", max_epochs=1)
    (tmp_path / "run" / name).write_text(text)
    with pytest.raises(RunFolderError, match=rf"{name}: damaged .* delete it to resume without its rows"):
        train(tmp_path / "run", max_epochs=2, resume=True)


def test_a_longer_cosine_says_that_the_rate_jumps(tmp_path, capsys) -> None:
    train(tmp_path / "run", max_epochs=1)
    capsys.readouterr()
    train(tmp_path / "run", max_epochs=4, resume=True)
    said = capsys.readouterr().err
    assert "planned for 1 epochs and now has 4: its cosine is stretched" in said
    assert "the learning rate jumps from 0 to 0.0" in said
    train(tmp_path / "run", max_epochs=4, resume=True)
    assert "stretched" not in capsys.readouterr().err


def test_early_stopping_is_announced_and_time_is_summed(tmp_path, capsys) -> None:
    first = train(tmp_path / "run", max_epochs=30, patience=2, optim={"lr": 1e-9})
    assert "stopped early: 2 validations in a row were no better than that of epoch" in capsys.readouterr().err
    assert first.total_seconds == first.seconds
    again = train(tmp_path / "run", max_epochs=30, patience=2, optim={"lr": 1e-9}, resume=True)
    assert "stopped early" in capsys.readouterr().err
    assert again.resumed
    assert again.total_seconds > again.seconds


def test_only_named_fields_of_the_optimiser_may_change(tmp_path) -> None:
    import gta
    from gta.config import config_to_json

    config = gta.recipe("synthetic")
    before, now = config_to_json(config), config_to_json(config.override("optim.lr", 0.5, "optim.momentum", 0.8))
    with pytest.raises(OptionError, match=r"optim\.lr is 0\.5, .* name it in `change`"):
        check_same_config(before, now)
    with pytest.raises(OptionError, match=r"optim\.momentum is 0\.8"):
        check_same_config(before, now, may_change=["optim.lr"])
    changed = check_same_config(before, now, may_change=["optim.lr", "optim.momentum", "optim.betas"])
    assert changed == {"optim.lr": (0.01, 0.5), "optim.momentum": (0.9, 0.8)}
    with pytest.raises(OptionError, match="only fields of the optimiser"):
        check_same_config(before, now, may_change=["model.name"])


def test_a_changed_learning_rate_counts_from_the_resume_on(tmp_path) -> None:
    train(tmp_path / "run", max_epochs=1, optim={"schedule": "constant", "warmup_epochs": 0.0})
    result = train(
        tmp_path / "run", max_epochs=2, resume=True, optim={"schedule": "constant", "warmup_epochs": 0.0, "lr": 0.01}
    )
    assert [row["lr"] for row in result.rows] == [0.1, 0.01]
