"""Configuration files: what is read back, what extends what, and errors that name file and line."""

import contextlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import gta
from gta.config import OptimConfig, TrainConfig, config_to_json
from gta.errors import OptionError
from gta.recipes import RECIPES
from gta.recipes.files import file_schema, read_config_file, write_yaml
from gta.settings import field_names
from gta.short_names import SHORT_NAMES


def _write(folder: Path, text: str, name: str = "run.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_is_read_back_from_yaml_and_json(name: str, tmp_path: Path) -> None:
    config = RECIPES[name]()
    assert read_config_file(_write(tmp_path, write_yaml(config))) == config
    assert read_config_file(_write(tmp_path, json.dumps(config_to_json(config)), "config.json")) == config


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert read_config_file(_write(tmp_path, "# nothing\n")) == TrainConfig()


def test_extends_a_recipe_and_other_files(tmp_path: Path) -> None:
    _write(tmp_path, "extends: finetune\noptim: {lr: 1e-3, momentum: 0.8}\n", "base.yaml")
    (tmp_path / "inner").mkdir()
    path = _write(tmp_path / "inner", "extends: ../base.yaml\noptim:\n  lr: 2e-3\ndata:\n  root: my videos\n")
    expected = gta.recipe("finetune").override(
        {"optim.lr": 0.002, "optim.momentum": 0.8, "data.root": Path("my videos")}
    )
    assert read_config_file(path) == expected


def test_short_names_stand_for_the_same_fields_as_on_the_command_line(tmp_path: Path) -> None:
    text = "extends: finetune\ndata: videos\nnum_workers: 1\nmodel: tsm50\nnum_frames: 4\nepochs: 3\nrun: {seed: 2}\n"
    names = {"data": "videos", "num_workers": 1, "model": "tsm50", "num_frames": 4, "epochs": 3, "run": {"seed": 2}}
    config = gta.recipe("finetune").override(names)
    assert (config.data.root, config.model.name, config.data.clip.num_frames) == (Path("videos"), "tsm50", 4)
    assert (config.run.max_epochs, config.run.seed, config.data.num_workers) == (3, 2, 1)
    assert read_config_file(_write(tmp_path, text)) == config


def test_mappings_that_are_values_are_replaced_not_merged(tmp_path: Path) -> None:
    _write(tmp_path, "model: {at: {res3: 2, res4: 3}}\n", "base.yaml")
    path = _write(tmp_path, "extends: base.yaml\nmodel: {at: {res5: 1}}\n")
    assert read_config_file(path).model.at == {"res5": 1}


AT = {"res2": 1, "res3": (0,), "res4": (1, 3), "res5": "all"}
AT_WORDS = ["res2", "1", "res3", "0,", "res4", "1,3", "res5", "all"]


def test_attention_is_placed_by_count_index_or_everywhere_in_files(tmp_path: Path) -> None:
    config = gta.recipe("synthetic").override("model.at", AT)
    assert config_to_json(config)["model"]["at"] == {"res2": 1, "res3": [0], "res4": [1, 3], "res5": "all"}
    assert read_config_file(_write(tmp_path, write_yaml(config))) == config
    assert read_config_file(_write(tmp_path, json.dumps(config_to_json(config)), "config.json")) == config
    assert read_config_file(_write(tmp_path, "model: {at: {blocks: [3, 6]}}\n")).model.at == {"blocks": (3, 6)}


def test_attention_is_placed_by_count_index_or_everywhere_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from gta.cli import run

    assert run(["train", "synthetic", "--print", "--yaml", "--model.at", *AT_WORDS]) == 0
    path = _write(tmp_path, capsys.readouterr().out)
    assert read_config_file(path).model.at == AT
    assert run(["train", str(path), "--print"]) == 0  # what a file says is the default of the command line
    assert json.loads(capsys.readouterr().out)["model"]["at"] == config_to_json(read_config_file(path))["model"]["at"]
    for words, complaint in (
        (["blocks"], "--model.at: give stages and their blocks in turn, such as res3 2 res4 1,3 res5 all"),
        (
            ["blocks", "some"],
            "--model.at: blocks is 'some': give a number of blocks, their indices with commas, or all",
        ),
        (["blocks", "1,,2"], "--model.at: blocks is '1,,2'"),
    ):
        assert run(["train", "synthetic", "--print", "--model.at", *words]) == 2
        assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "model:\n  at: {blocks: some}\n",
            "run.yaml:2: model.at is {'blocks': 'some'}: it must be a mapping, such as {'res3': 2, 'res4': [1, 3], "
            "'res5': 'all'} or null",
        ),
        ("model:\n  at: [blocks]\n", "run.yaml:2: model.at is ('blocks',): it must be a mapping, such as {'res3': 2"),
        ("model:\n  at: {blocks: [-1]}\n", "run.yaml:2: model.at is {'blocks': [-1]}: it must be a mapping, such as"),
        ("optim:\n  lr: 0.1\n  lrr: 2\n", "run.yaml:3: there is no field optim.lrr: did you mean optim.lr?"),
        ("epoch: 3\n", "run.yaml:1: there is no field epoch: did you mean epochs?"),
        ("batch-size: 3\n", "run.yaml:1: there is no field batch-size: did you mean batch_size?"),
        ("epochs: 0\n", "run.yaml:1: run.max_epochs is 0: it must be 1 or more"),
        ("run: {max_epochs: 3}\nepochs: 4\n", "run.yaml:2: run.max_epochs is set twice, also by epochs: set it once"),
        ("run: 3\nepochs: 4\n", "run.yaml:2: epochs sets run.max_epochs, but run is no mapping of fields"),
        ("data: 3\n", "run.yaml:1: data is 3: it must be a mapping of fields"),
        ("optim.lr: 0.1\n", "run.yaml:1: sections are nested in a file: write optim: {lr: ...} instead of optim.lr"),
        ("data:\n  clip.crop_size: 64\n", "run.yaml:2: sections are nested in a file: write clip: {crop_size: ...}"),
        ("data:\n  clip:\n    num_frames: 4\n", "run.yaml:3: model.num_frames is 8: it must equal data.clip.num_"),
        ("model: {name: tiny}\nrun:\n  seed: -1\n", "run.yaml:3: run.seed is -1: it must be 0 or more"),
        ("oprim: {}\n", "run.yaml:1: there is no field oprim: did you mean optim?"),
        ("data:\n  clip:\n    crop_size: 0\n", "run.yaml:3: data.clip.crop_size is 0: it must be 1 or more"),
        ("data:\n  clip: 3\n", "run.yaml:2: data.clip is 3: it must be a mapping of fields"),
        ("run:\n  seed: 1\noptim:\n", "run.yaml:3: optim is null: it must be a mapping of fields"),
        ("optim:\n  lr:\n", "run.yaml:2: optim.lr is null: it must be a number above 0"),
        ("optim:\n\n  lr: fast\n", "run.yaml:3: optim.lr is 'fast': it must be a number above 0"),
        ('optim:\n  lr: "0.01"\n', "run.yaml:2: optim.lr is '0.01': it must be a number above 0"),
        ("optim:\n  momentum: high\n", "run.yaml:2: optim.momentum is 'high': it must be a number in [0, 1)"),
        ("optim:\n  betas: [a, b]\n", "optim.betas is ('a', 'b'): it must be 2 values, each a number in [0, 1)"),
        (
            "optim:\n  step_epochs: [1, two]\n",
            "run.yaml:2: optim.step_epochs is (1, 'two'): it must be a list, each a whole number, 1 or more",
        ),
        ("optim:\n  betas: [0.9]\n", "run.yaml:2: optim.betas is (0.9,): it must be 2 values, each in [0, 1)"),
        ("optim:\n  betas: []\n", "run.yaml:2: optim.betas is (): it must be 2 values, each in [0, 1)"),
        ("optim:\n  betas: [0.9, 0.9, 0.9]\n", "optim.betas is (0.9, 0.9, 0.9): it must be 2 values, each in [0, 1)"),
        ("run:\n  max_epochs: 2.5\n", "run.yaml:2: run.max_epochs is 2.5: it must be a whole number, 1 or more"),
        ("run:\n  patience: no\n", "run.yaml:2: run.patience is False: it must be a whole number, 1 or more, or null"),
        ("run:\n  devices: 0\n", "run.yaml:2: run.devices is 0: it must be 1 or more or 'auto'"),
        ("run:\n  compile: yes please\n", "run.yaml:2: run.compile is 'yes please': it must be true or false"),
        ("run:\n  seed: true\n", "run.yaml:2: run.seed is True: it must be a whole number, 0 or more"),
        ("optim:\n  lr: .nan\n", "run.yaml:2: optim.lr is nan: it must be above 0"),
        ("optim:\n  optimizer: adam\n", "run.yaml:2: optim.optimizer is 'adam': it must be 'sgd' or 'adamw'"),
        ("model:\n  num_frames: 16\n", "run.yaml:2: model.num_frames is 16: it must equal data.clip.num_"),
        ("run: {seed: 1}\nmodel: {}\nrun: {seed: 2}\n", "run.yaml:3: run is set twice"),
        (
            "extends: finetun\n",
            "run.yaml:1: extends names neither a recipe nor a file: finetun; did you mean finetune?",
        ),
        ("\nextends: other.yaml\n", "run.yaml:2: extends names a file that is not there"),
        ("extends: [a]\n", "run.yaml:1: extends is ['a']"),
        ("extends: run.yaml\n", "run.yaml: it extends itself"),
        ("- a\n- b\n", "run.yaml:1: a configuration is a mapping of fields, not list"),
        ("a: [1\nb: 2\n", "not valid YAML"),
        ("a: !!python/object/apply:os.system ['true']\n", "not valid YAML"),
        ("a: " + "[" * 5000, "run.yaml"),
        ("?", "run.yaml:1: a field's name must be a string"),
        ("0: a\n", "run.yaml:1: a field's name must be a string"),
        ("data: &a\n  clip: *a\n", "run.yaml:2: not valid YAML (aliases are not supported"),
        ("data: {root: 2001-99-99}\n", "run.yaml: not valid YAML"),
        ("!!int a", "run.yaml: not valid YAML"),
    ],
)
def test_errors_name_file_and_line(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=re.escape(words)) as caught:
        read_config_file(_write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_json_errors_name_the_line(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"config\.json:2: optim\.lr is -1: it must be above 0"):
        read_config_file(_write(tmp_path, '{"optim":\n {"lr": -1}}', "config.json"))
    with pytest.raises(OptionError, match=r"config\.json:\d+: not valid JSON"):
        read_config_file(_write(tmp_path, '{"optim":\n {"lr": 1}', "config.json"))


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="no such file"):
        read_config_file(tmp_path / "absent.yaml")
    with pytest.raises(OptionError, match="a folder"):
        read_config_file(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(OptionError, match="not a text file"):
        read_config_file(tmp_path / "binary.yaml")


@given(text=st.text(alphabet="{}[]:,-# \n\"'abcoptimlrdatarunseed019.&*!|>?%@\t", max_size=60))
def test_any_text_is_a_configuration_or_one_line(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = _write(tmp_path_factory.mktemp("files"), text)
    with contextlib.suppress(OptionError):
        assert isinstance(read_config_file(path), TrainConfig)
        return
    with pytest.raises(OptionError, match=r"\A.*run\.yaml.*\Z"):  # one line
        read_config_file(path)


def test_overriding_leaves_the_original_and_checks_as_building_does() -> None:
    config = gta.recipe("synthetic")
    changed = config.override("optim.lr", 0.5, "data.clip.crop_size", 64)
    assert (changed.optim.lr, changed.data.clip.crop_size) == (0.5, 64)
    assert config == gta.recipe("synthetic")
    assert changed.override({"optim.lr": config.optim.lr, "data.clip.crop_size": config.data.clip.crop_size}) == config
    with pytest.raises(OptionError, match=r"there is no field optim\.lrate: did you mean optim\.lr"):
        config.override("optim.lrate", 1)
    with pytest.raises(OptionError, match=r"^there is no field epoch: did you mean epochs\?$"):
        config.override("epoch", 3)
    with pytest.raises(OptionError, match=r"^there is no field zzz: short names are data, epochs, seed, output"):
        config.override("zzz", 3)
    with pytest.raises(OptionError, match=r"^optim\.lr is -1: it must be above 0$"):
        config.override("optim.lr", -1)
    with pytest.raises(OptionError, match=r"^run\.max_epochs is True: it must be a whole number, 1 or more$"):
        config.override("run.max_epochs", True)
    with pytest.raises(OptionError, match=r"^optim\.lr is '0\.01': it must be a number above 0$"):
        config.override("optim.lr", "0.01")
    with pytest.raises(OptionError, match=r"model\.num_frames is 16: it must equal data\.clip\.num_frames"):
        config.override("model.num_frames", 16)
    both = config.override("model.num_frames", 16, "data.clip.num_frames", 16)
    assert both.data.clip.num_frames == 16
    with pytest.raises(ValueError, match="a value after each name"):
        config.override("optim.lr")
    for twice in ({"epochs": 3, "run.max_epochs": 4}, {"run": {"max_epochs": 3}, "epochs": 4}):
        with pytest.raises(OptionError, match=r"^run\.max_epochs is set twice"):
            config.override(twice)
    with pytest.raises(ValueError, match="a name twice"):
        config.override("lr", 0.1, "lr", 0.2)
    for name, value in (("run.max_epochs", 3.0), ("run.compile", 1), ("run.compile", "yes"), ("run.seed", True)):
        with pytest.raises(OptionError, match=f"^{name} is"):
            config.override(name, value)
    assert config.override("run.max_epochs", np.int64(3)).run.max_epochs == 3
    with pytest.raises(OptionError, match="'finetun' is not a recipe: did you mean 'finetune'"):
        gta.recipe("finetun")


def test_overriding_with_a_mapping_for_a_section_merges_as_a_file_does(tmp_path: Path) -> None:
    config = gta.recipe("finetune")
    expected = config.override({"optim.lr": 0.5, "data.clip.crop_size": 64, "data.batch_size": 3})
    sections = {"optim": {"lr": 0.5}, "data": {"clip": {"crop_size": 64}}, "data.batch_size": 3}
    assert config.override(sections) == expected
    text = "extends: finetune\noptim: {lr: 0.5}\ndata: {clip: {crop_size: 64}, batch_size: 3}\n"
    assert read_config_file(_write(tmp_path, text)) == expected
    assert config.override("optim", {}) == config
    assert config.override("optim", OptimConfig(lr=0.5)).optim == OptimConfig(lr=0.5)  # a whole section replaces it
    assert config.override("model.at", {"res3": 2}).override("model", {"at": {"res5": 1}}).model.at == {"res5": 1}
    with pytest.raises(
        OptionError, match=r"there is no field data\.clip\.crop_sizes: did you mean data\.clip\.crop_size"
    ):
        config.override("data", {"clip": {"crop_sizes": 64}})


def test_the_schema_knows_every_field_with_its_meaning() -> None:
    schema = file_schema()
    found: set[str] = set()

    def walk(entry: dict, place: str) -> None:
        entry = entry["anyOf"][0] if "$ref" in entry.get("anyOf", [{}])[0] else entry
        entry = schema["$defs"][entry["$ref"].rpartition("/")[2]] if "$ref" in entry else entry
        for name, inner in entry.get("properties", {}).items():
            assert inner.get("description"), f"{place}{name} says nothing"
            found.add(f"{place}{name}")
            walk(inner, f"{place}{name}.")

    walk(schema, "")
    assert {name: schema["properties"][name]["description"] for name in ("epochs", "num_frames")} == {
        "epochs": "Short for run.max_epochs.",
        "num_frames": "Short for model.num_frames and data.clip.num_frames.",
    }
    assert found == {*field_names(TrainConfig), *SHORT_NAMES, "extends"}
    assert schema["$defs"]["OptimConfig"]["properties"]["lr"]["exclusiveMinimum"] == 0


def test_the_published_schema_is_the_one_of_this_version() -> None:
    published = Path(__file__).parents[2] / "docs" / "train.schema.json"
    assert json.loads(published.read_text(encoding="utf-8")) == file_schema(), (
        "renew it: gta train --schema > docs/train.schema.json"
    )


def test_train_takes_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from gta.cli import run

    path = _write(tmp_path, "extends: synthetic\nrun: {seed: 5}\n")
    assert run(["train", str(path), "--optim.lr", "0.25", "--print"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["run"]["seed"], printed["optim"]["lr"]) == (5, 0.25)
    assert run(["train", str(path), "--print", "--yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["run"]["seed"] == 5
    path.write_text("data:\n  clip: {crop_size: 0}\n")
    assert run(["train", str(path), "--print"]) == 2
    assert f"{path}:2: data.clip.crop_size is 0: it must" in capsys.readouterr().err  # as it stands in the file
    path.write_text("data:\n  clip: {crop_sizes: 3}\n")
    assert run(["train", str(path), "--print"]) == 2
    problem = "there is no field data.clip.crop_sizes: did you mean data.clip.crop_size?"
    assert f"{path}:2: {problem}" in capsys.readouterr().err
    assert run(["train", "synthetic", "--yaml"]) == 2
    assert "--yaml requires --print" in capsys.readouterr().err


def test_python_takes_what_the_command_line_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gta.runs import api

    taken: list[tuple[TrainConfig, bool]] = []
    monkeypatch.setattr(api, "train_config", lambda config, resume, live: taken.append((config, resume)))
    folder = tmp_path / "moved"
    folder.mkdir()
    stored = gta.recipe("synthetic").override("run.seed", 7, "run.folder", "before")
    _write(folder, json.dumps(config_to_json(stored)), "config.json")
    gta.train(folder, resume=True)
    gta.train(str(folder), resume=True, epochs=3)
    gta.train(folder / "config.json")
    gta.train("synthetic")
    here = stored.override("run.folder", folder)
    assert taken == [
        (here, True),
        (here.override("run.max_epochs", 3), True),
        (stored, False),
        (gta.recipe("synthetic"), False),
    ]
    message = "'finetun' is neither a recipe, a configuration file nor a run folder: did you mean 'finetune'"
    with pytest.raises(OptionError, match=message):
        gta.train("finetun")
    with pytest.raises(OptionError, match=r"^data\.root is set twice: set it once$"):
        gta.train("synthetic", data="videos", **{"data.root": "others"})


def test_a_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    from gta.cli import run

    assert run(["train", "--schema"]) == 0
    assert json.loads(capsys.readouterr().out) == file_schema()
