"""Every kind of file that is written once and read back: whatever became of it, success or one line of ours."""

import copy
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gta.commands.study import StudyArguments, choose_grid
from gta.datasets.frame_store import FrameStore
from gta.datasets.listing import open_videos
from gta.datasets.prepare import PrepareSettings, prepare_videos
from gta.errors import GtaError
from gta.evaluation.score_files import read_scores, write_scores
from gta.recipes import recipe
from gta.recipes.files import read_config_file
from gta.settings import config_to_json
from gta.studies.folder import read_study, stored_study
from gta.studies.grids import grid_to_json
from gta.studies.results import CellResult, read_result, result_to_json
from gta.studies.speed import read_speed
from gta.studies.tables import create_grid
from gta.synthetic.build import synthesize
from gta.synthetic.classes import CLASSES

NASTY: list[Any] = [
    None,
    True,
    -1,
    0,
    10**30,
    1e308,
    -0.5,
    "",
    "x" * 2000,
    "a\nb",
    [],
    [[]],
    {},
    {"a": {}},
    "../x",
    "0",
]

RESULT = CellResult(
    row="a",
    seed=0,
    top1=0.5,
    top5=1.0,
    loss=0.7,
    direction_accuracy=None,
    reversed_top1=0.5,
    shuffled_top1=0.25,
    order_effect=0.1,
    per_class={"x": 0.5, "y": None},
    num_videos=4,
    num_parameters=100,
    gflops=0.1,
    clips_per_second=None,
    train_seconds=1.0,
    peak_memory_mib=None,
    curves={"loss": [1.0, None]},
    model={"name": "tiny"},
    versions={"torch": "2"},
    machine="m",
)


def _ssv2(folder: Path, name: str) -> Callable[[Path], object]:
    """A Something-Something v2 folder in which one of the lists is the file to read."""
    videos = folder / "videos"
    videos.mkdir(exist_ok=True)
    for number in (1, 2):
        (videos / f"{number}.webm").write_bytes(b"x")
    for kept, values in (("labels", {"Pushing something": "0", "Pulling something": "1"}), ("train", _TRAIN)):
        if kept != name:
            (folder / f"{kept}.json").write_text(json.dumps(values))
    return lambda _: open_videos(folder, "train")


_TRAIN = [{"id": "1", "template": "Pushing [something]"}, {"id": "2", "template": "Pulling [something]"}]


def _prepared(folder: Path) -> Callable[[Path], object]:
    source = folder.parent / "source"
    source.mkdir(exist_ok=True)
    return lambda path: prepare_videos(source, path.parent, PrepareSettings(), num_workers=0)


def _synthesize(folder: Path) -> object:
    return synthesize(folder, num_videos=1, val_fraction=0.0, classes=list(CLASSES)[:1], frame_size=(32, 32))


def _store(folder: Path) -> Callable[[Path], object]:
    (folder / "frames.bin").write_bytes(bytes(600))
    return lambda path: FrameStore(path.parent)


KINDS: dict[str, tuple[str, Any, Callable[[Path], Callable[[Path], object]]]] = {
    "list of Something-Something": ("train.json", _TRAIN, lambda folder: _ssv2(folder, "train")),
    "classes of Something-Something": (
        "labels.json",
        {"Pushing something": "0", "Pulling something": "1"},
        lambda folder: _ssv2(folder, "labels"),
    ),
    "record of a prepared copy": ("prepared.json", {"settings": asdict(PrepareSettings())}, _prepared),
    "record of a synthetic data set": (
        "synthetic.json",
        None,
        lambda _: lambda path: _synthesize(path.parent),
    ),
    "record of a study": (
        "study.json",
        {"format": 1, "grid": grid_to_json(create_grid("table1")), "data": None, "command": "gta study table1"},
        lambda _: lambda path: (read_study(path.parent), stored_study(path.parent)),
    ),
    "result of a cell": ("result.json", result_to_json(RESULT), lambda _: lambda path: read_result(path.parent)),
    "speeds of a study": (
        "speed.json",
        {"machine": "m", "rounds": 7, "clips_per_second": {"a": 1.5}},
        lambda _: lambda path: read_speed(path.parent),
    ),
    "grid file": (
        "grid.json",
        grid_to_json(create_grid("table1")),
        lambda _: lambda path: choose_grid(StudyArguments(grid=str(path))),
    ),
    "decoded frames": ("frames.json", {"videos": {"/a.mp4": [0, 2, 5, 10, 99, 1]}}, _store),
    "configuration": ("config.json", config_to_json(recipe("finetune")), lambda _: read_config_file),
}


def _places(values: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [place]
    if isinstance(values, dict):
        found += [inner for key in values for inner in _places(values[key], (*place, key))]
    elif isinstance(values, list):
        found += [inner for number, value in enumerate(values) for inner in _places(value, (*place, number))]
    return found


def _edited(values: Any, place: tuple[Any, ...], value: Any, *, delete: bool) -> Any:
    if not place:
        return value
    edited = copy.deepcopy(values)
    parent = edited
    for step in place[:-1]:
        parent = parent[step]
    if delete:
        del parent[place[-1]]
    else:
        parent[place[-1]] = value
    return edited


def _read(read: Callable[[Path], object], path: Path) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            read(path)
        except GtaError as error:
            text = str(error)
        else:
            return "read"
    assert text.isprintable()
    return "refused"


@pytest.fixture(params=KINDS)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Any, Callable[[Path], object]]:
    name, values, prepare = KINDS[request.param]
    folder = tmp_path / "folder"
    folder.mkdir()
    if values is None:
        _synthesize(folder)
        values = json.loads((folder / name).read_text())
    read = prepare(folder)
    path = folder / name
    path.write_text(json.dumps(values))
    return path, values, read


def test_what_was_written_is_read(stored) -> None:
    path, _, read = stored
    if path.name != "prepared.json":  # there is nothing to prepare in an empty folder
        assert _read(read, path) == "read"


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_edited_values_are_read_or_refused(stored, data: st.DataObject) -> None:
    path, values, read = stored
    edited = _edited(
        values,
        data.draw(st.sampled_from(_places(values))),
        data.draw(st.sampled_from(NASTY)),
        delete=data.draw(st.booleans()),
    )
    path.write_text(json.dumps(edited))
    _read(read, path)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), junk=st.binary(min_size=1, max_size=4), cut=st.booleans())
def test_damaged_bytes_are_read_or_refused(stored, place: float, junk: bytes, cut: bool) -> None:
    path, values, read = stored
    content = json.dumps(values).encode()
    at = int(place * len(content))
    path.write_bytes(content[:at] if cut else content[:at] + junk + content[at + len(junk) :])
    _read(read, path)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"a":' * 100_000, "1" * 10_000, "[NaN]", '{"grid": 1e999}'])
def test_texts_without_end_are_refused(stored, content: str) -> None:
    path, _, read = stored
    path.write_text(content)
    assert _read(read, path) == ("read" if path.name == "speed.json" else "refused")  # speeds are measured anew


# ---- score files ----------------------------------------------------------------------------------------------------

SCORES = {
    "paths": ["a", "b"],
    "labels": np.array([0, 1]),
    "scores": np.array([[1.0, 0.0], [0.0, 1.0]], np.float32),
    "classes": ["x", "y"],
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.array([0, 2])}, r"labels lie in \[0, 2\], not in \[0, 1\]"),
        ({"labels": np.array([0, -1])}, "labels lie in"),
        ({"labels": np.array([0.0, 1.0])}, "labels has 1 axes of float64, not 1 of whole numbers"),
        ({"labels": np.array([0])}, "do not belong together"),
        ({"scores": np.array([[1.0, np.nan], [0.0, 1.0]])}, "a score is NaN"),
        ({"scores": np.array([1.0, 0.0])}, "scores has 1 axes"),
        ({"scores": np.zeros((2, 3))}, "scores of shape 2 x 3"),
        ({"classes": ["x", "x"]}, "a class is named twice"),
        ({"paths": [], "labels": np.zeros(0, np.int64), "scores": np.zeros((0, 2))}, "it holds no videos"),
    ],
)
def test_scores_that_do_not_fit_say_what(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    write_scores(path, **{**SCORES, **change})
    with pytest.raises(GtaError, match=message):
        read_scores(path)


def test_scores_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "s.npz"
    write_scores(path, **SCORES)
    found = read_scores(path)
    assert found.paths.tolist() == ["a", "b"]
    assert found.top1 == 1.0
    np.testing.assert_array_equal(found.scores, SCORES["scores"])


def test_scores_that_lack_an_array_say_which(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", paths=np.array(["a"]), labels=np.array([0]))
    with pytest.raises(GtaError, match="it lacks scores"):
        read_scores(tmp_path / "s.npz")


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", **{**SCORES, "paths": np.array([{}, {}], dtype=object)}, allow_pickle=True)
    with pytest.raises(GtaError, match=r"s\.npz: not a score file"):
        read_scores(tmp_path / "s.npz")


@settings(max_examples=80, deadline=None)
@given(place=st.floats(0, 1), junk=st.binary(min_size=1, max_size=6), cut=st.booleans())
def test_damaged_score_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, place: float, junk: bytes, cut: bool
) -> None:
    path = tmp_path_factory.mktemp("scores") / "s.npz"
    write_scores(path, **SCORES)
    content = path.read_bytes()
    at = int(place * len(content))
    path.write_bytes(content[:at] if cut else content[:at] + junk + content[at + len(junk) :])
    _read(read_scores, path)


def test_results_out_of_range_name_the_field(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps(result_to_json(replace(RESULT, top1=1.5))))
    with pytest.raises(GtaError, match=r"result\.json: top1 of a CellResult is 1\.5"):
        read_result(tmp_path)
