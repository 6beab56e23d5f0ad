"""The paper's tables as grids: complete, buildable, and the same from a file."""

import json

import pytest

from gta.errors import OptionError
from gta.studies.grids import Budget, Grid, Row, grid_from_json, grid_to_json, training_of
from gta.studies.tables import create_grid, list_grids

GRIDS = [(name, size) for name in list_grids() for size in ("cpu", "gpu")]


@pytest.mark.parametrize(("name", "size"), GRIDS)
def test_every_row_can_be_built_and_differs_from_the_others(name, size):
    import torch

    from gta.runs.composition import build_model

    grid = create_grid(name, size)
    built = set()
    for row in grid.trained:
        with torch.device("meta"):
            model = build_model(training_of(row, grid.budget).model, num_classes=16)
        assert model.num_frames == (row.num_frames or grid.budget.clip.num_frames)
        built.add(json.dumps(model.arguments, sort_keys=True))
    assert len(built) == len(grid.trained)


@pytest.mark.parametrize(("name", "size"), GRIDS)
def test_grids_survive_json(name, size):
    grid = create_grid(name, size)
    assert grid_from_json(json.loads(json.dumps(grid_to_json(grid)))) == grid


def test_the_papers_numbers_are_those_of_its_tables():
    def numbers(name):
        return [row.paper_ssv1 for row in create_grid(name, "gpu").rows]

    assert numbers("table1") == [17.0, 31.2, 38.8, 50.6, 50.9, 51.7, 52.0, 53.4]
    assert numbers("table2") == [17.0, 46.2, 46.4, 37.4, 49.5, 50.6]
    assert numbers("table3") == [17.9, 37.6, None, 48.5, 47.1, 38.8, 48.4, 49.2, 47.9, 50.6]
    assert numbers("table4") == [47.5, 49.8, 50.4, 50.6, 50.0]
    assert [row.paper_ssv2 for row in create_grid("table1").rows] == [26.8, 50.7, 55.5, 63.5, 63.4, 63.9, 64.1, 64.9]


def test_grid_of_ones_own():
    grid = grid_from_json(
        {"rows": [{"key": "a", "label": "A", "model": "tiny"}, {"key": "b", "label": "B", "model": "tiny_gta"}]},
        source="mine.json",
    )
    assert (grid.name, grid.references, grid.budget) == ("mine", ("a",), Budget())


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([], "needs a name and a list of rows"),
        ({"rows": []}, "no rows"),
        ({"rows": [{"key": "a", "label": "A", "model": "tiny", "colour": 1}]}, "colour"),
        ({"rows": [{"key": "a/b", "label": "A", "model": "tiny"}]}, "a/b"),
        ({"rows": [{"key": "a", "label": "A", "model": "tiny"}], "budgets": {}}, "budgets"),
        ({"rows": [{"key": "a", "label": "A"}]}, "either a model or an ensemble of rows"),
        ({"rows": [{"key": "a", "label": "A", "model": "tiny", "ensemble": ["a", "a"]}]}, "either a model or an"),
        ({"rows": [{"key": "a", "label": "A", "ensemble": ["b", "c"]}]}, "'b' is not a row that is trained"),
        (
            {"rows": [{"key": "a", "label": "A", "model": "tiny"}, {"key": "b", "label": "B", "ensemble": ["a"]}]},
            "an ensemble needs two rows",
        ),
        ({"rows": [{"key": "a", "label": "A", "model": "tiny"}], "reference": "z"}, "'z'"),
        ({"rows": [{"key": "a", "label": "A", "model": "tiny"}] * 2}, "more than one"),
        ({"rows": [{"key": "a"}]}, "row 1 ('a'): a Row needs label"),
        (
            {"rows": [{"key": "a", "label": "A", "model": "tiny", "num_groups": "eight"}]},
            "num_groups of a Row is 'eight'",
        ),
        ({"rows": [{"key": "a", "label": "A", "model": "tiny"}], "budget": {"epochs": 0}}, "epochs of the budget is 0"),
        ({"rows": [{"key": "a", "label": "A", "model": "tiny"}], "budget": {"precision": "fp8"}}, "'32' or 'bf16'"),
        ({"rows": [{"key": "a", "label": "A", "model": "tiny"}], "budget": {"optim": {"lr": -1}}}, "lr"),
    ],
)
def test_mistakes_in_a_grid_file_are_named(values, words):
    with pytest.raises(OptionError, match=r"mine\.json") as caught:
        grid_from_json(values, source="mine.json")
    assert words in str(caught.value)


def test_unknown_names():
    with pytest.raises(OptionError, match="table9"):
        create_grid("table9")


def test_reference_must_be_a_row():
    with pytest.raises(OptionError, match="reference"):
        Grid("g", "t", "q", (Row("a", "A", "tiny"),), references=("b",))


def test_a_row_may_start_from_weights_and_freeze_its_backbone():
    row = Row("a", "A", "resnet18_gta", at={"res5": (1,)}, pretrained="imagenet", freeze="backbone")
    grid = Grid("g", "t", "q", (Row("b", "B", "resnet18"), row), references=("b",))
    assert grid_from_json(json.loads(json.dumps(grid_to_json(grid)))) == grid
    plain, frozen = (training_of(row, grid.budget).model for row in grid.rows)
    assert (plain.pretrained, plain.freeze) == (None, "none")
    assert (frozen.pretrained, frozen.freeze, frozen.at) == ("imagenet", "backbone", {"res5": (1,)})


def test_rows_are_compared_under_their_own_heading():
    grid = create_grid("table1")
    compared = {row.key: grid.reference(row).key for row in grid.rows}
    assert compared["2d-nl"] == "2d-gta"
    assert compared["slowfast"] == "slowfast-gta"
    grid = create_grid("table3")
    assert {grid.reference(row).key for row in grid.rows} == {"gta"}


def test_methods_has_the_modules_of_other_papers_beside_the_papers_own():
    grid = create_grid("methods")
    models = [row.model for row in grid.rows]
    blocks = ("nl", "tea", "stm", "tam", "corr", "ms", "gcn", "gta")
    backbones = (
        "tiny",
        "tiny_tsm",
        "tiny_trn",
        "tiny_i3d",
        "tiny_slow",
        "tiny_eco",
        "tiny_eco_lite",
        "tiny_difference",
    )
    assert {*backbones, *(f"tiny_{block}" for block in blocks)} <= set(models)
    assert {grid.reference(row).key for row in grid.rows} == {"gta"}


def test_transformers_has_the_adapters_of_other_papers_beside_the_papers_own():
    grid = create_grid("transformers")
    suffixes = ("", "_ta", "_tape", "_st_adapter", "_aim", "_pixel_gta", "_gta")
    assert [row.model for row in grid.rows] == [f"tiny_vit{suffix}" for suffix in suffixes]
    assert {grid.reference(row).key for row in grid.rows} == {"gta"}


def test_hard_videos_are_asked_for_on_the_command_line(monkeypatch, tmp_path):
    from gta.commands.study import StudyArguments, choose_grid
    from gta.studies import study

    assert choose_grid(StudyArguments("table3")).budget.difficulty == "normal"
    own = choose_grid(StudyArguments("table3", difficulty="hard", epochs=2))
    assert (own.budget.num_train, own.budget.epochs) == (3840, 2)
    grid = choose_grid(StudyArguments("table3", difficulty="hard"))
    assert (grid.budget.num_train, grid.budget.epochs) == (3840, 10)  # at chance with the 1,280 x 8 of easy videos
    assert choose_grid(StudyArguments("table1", difficulty="hard")).budget.epochs == 16
    asked = {}
    monkeypatch.setattr(study, "synthesize", lambda root, **options: asked.update(options))
    study.prepare_videos(grid.budget, tmp_path, num_workers=0)
    assert asked["difficulty"] == "hard"
