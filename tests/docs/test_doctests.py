"""Examples in docstrings run as they stand; every public function and class has one."""

import ast
import doctest
import importlib
import inspect
import itertools
import pkgutil
import re
import shutil
from pathlib import Path

import pytest
import torch

import gta

_NEEDS_RUN = {"__main__"}
_FILES = ("clip.mp4", '"videos"', "runs/")
# What the public functions take and return, as frozen records.
RECORDS = (
    "gta.blocks.mixing_options.MixingOptions",
    "gta.blocks.spec.AttentionSpec",
    "gta.bulk.run.BulkOptions",
    "gta.checkpoint.Checkpoint",
    "gta.config.ClipConfig",
    "gta.config.DataConfig",
    "gta.config.ModelConfig",
    "gta.config.OptimConfig",
    "gta.config.RunConfig",
    "gta.config.TrainConfig",
    "gta.datasets.check.CheckReport",
    "gta.datasets.listing.VideoList",
    "gta.datasets.prepare.PrepareReport",
    "gta.evaluation.opposites.ChiralPair",
    "gta.evaluation.probe.ProbeResult",
    "gta.evaluation.scores.EvaluationResult",
    "gta.evaluation.statistics.Summary",
    "gta.explain.records.AttentionMaps",
    "gta.explain.records.BlockExplanation",
    "gta.explain.records.ClassMaps",
    "gta.explain.records.Explanation",
    "gta.explain.records.FrameImportance",
    "gta.explain.records.Mixing",
    "gta.export.run.Target",
    "gta.models.conversion.LoadReport",
    "gta.models.converting.Converted",
    "gta.paper.costs.PaperRow",
    "gta.runs.evaluate.Evaluation",
    "gta.streaming.stream.StreamCounts",
    "gta.streaming.watching.Summary",
    "gta.synthetic.build.SynthesisSummary",
    "gta.training.fit.TrainResult",
    "gta.training.step.Plan",
    "gta.types.Prediction",
    "gta.types.VideoInfo",
    "gta.types.VideoRecord",
    "gta.types.WindowPrediction",
)


def _modules_with_examples() -> dict[str, str]:
    """Module -> its source, for those with examples."""
    found = {}
    for module in pkgutil.walk_packages(gta.__path__, "gta."):
        spec = module.module_finder.find_spec(module.name)  # pyright: ignore[reportCallIssue]
        source = spec.loader.get_source(module.name) if spec else ""
        if ">>> " in source and module.name.rpartition(".")[2] not in _NEEDS_RUN:
            found[module.name] = source
    return found


@pytest.mark.parametrize(("name", "source"), _modules_with_examples().items(), ids=list(_modules_with_examples()))
def test_examples_run(
    name: str, source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if any(file in line for line in source.splitlines() if ">>> " in line or "    ... " in line for file in _FILES):
        shutil.copytree(request.getfixturevalue("prepared"), tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(importlib.import_module(name), extraglobs={"gta": gta, "torch": torch})
    assert result.attempted
    assert not result.failed


def test_every_public_function_and_class_has_an_example() -> None:
    for name in gta.__all__:
        value = getattr(gta, name)
        if name == "explain":  # a package that can be called
            value = value.explain
        if not inspect.ismodule(value) and callable(value):
            assert ">>> " in (value.__doc__ or ""), name


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_of_a_record_is_documented(name: str) -> None:
    """By its name in the class's docstring, or by a docstring of its own below it."""
    module, _, kind = name.rpartition(".")
    source = inspect.getsource(getattr(importlib.import_module(module), kind))
    (record,) = ast.parse(source).body
    assert isinstance(record, ast.ClassDef)
    words = re.findall(r"\w+", ast.get_docstring(record) or "")
    for field, following in itertools.pairwise([*record.body, ast.Pass()]):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            below = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            assert below or field.target.id in words, field.target.id
