"""A model that `gta export` wrote: it predicts like any other, and says in words that it cannot be explained."""

import copy
from pathlib import Path

import pytest
import torch
from served_models import NAMES, predictor, store
from starlette.testclient import TestClient

from gta.clips.dataset import clip_views
from gta.commands.serve import load_models
from gta.errors import CheckpointError
from gta.export.card import ExportCard
from gta.export.run import Target, export_network
from gta.export.runtimes import ExportedModel
from gta.model_card import ModelCard
from gta.predictor import Predictor
from gta.serving.handlers import Handlers, Visit
from gta.serving.limits import Limits
from gta.serving.server import create_app
from gta.serving.service import ServedModel, Service

_FACTS = {"model.onnx": {"sha256": "0" * 64, "bytes": 1}}


@pytest.fixture(scope="module")
def known() -> Predictor:
    return predictor()


@pytest.fixture(scope="module")
def service(known):
    """An exported network that is the known one, behind an interface of arrays as every runtime's."""
    card = ExportCard(ModelCard(known.model.arguments, NAMES, known.clip), "onnx", "int8", "logits", None, _FACTS)

    def run(clips):
        with torch.inference_mode():
            return known.model(known.prepare(torch.from_numpy(clips))).numpy()

    exported = Predictor(ExportedModel(card, run), classes=NAMES, clip=known.clip)
    exported.prepare = torch.nn.Identity()
    made = Service([ServedModel("small", exported), ServedModel("whole", known)], Limits(num_workers=1))
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(service):
    with TestClient(create_app(service, with_page=False)) as opened:
        yield opened


def test_it_predicts_as_the_model_it_was_made_from(client, clip, known):
    answer = client.post("/v1/predict", files={"file": clip.read_bytes()}, params={"model": "small", "reverse": True})
    labels, scores = known.best(clip_views(clip, known.clip), 5)
    assert [one["label"] for one in answer.json()["predictions"]] == list(labels)
    assert [one["score"] for one in answer.json()["predictions"]] == pytest.approx(list(scores), abs=1e-5)
    card = client.get("/v1/model").json()["models"][0]
    assert (card["format"], card["precision"], card["can_explain"]) == ("onnx", "int8", False)


@pytest.mark.parametrize("models", [{"model": "small"}, {"model": "whole", "compare": "small"}])
def test_an_explanation_is_refused_in_words(client, clip, models):
    answer = client.post("/v1/explain", files={"file": clip.read_bytes()}, params=models)
    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == "not_explained"
    assert "small is an exported one" in answer.json()["error"]["message"]


def test_the_page_says_so_where_the_explanation_would_be(service, clip):
    shown = Handlers(service, {"clip": clip}).explain(Visit(), None, "clip", "small", "none")
    assert 'role="alert"' in shown
    assert "exported" in shown


def test_what_is_named_on_the_command_line_is_loaded_as_everywhere(tmp_path):
    with pytest.raises(CheckpointError, match="hf://owner/name"):
        load_models(("hf://nobody",), "cpu")
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"card\.json: it does not describe an exported model"):
        load_models((str(tmp_path),), "cpu")
    assert not Path(tmp_path / "model.onnx").exists()


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_a_folder_of_gta_export_is_served(known, clip, tmp_path, runtime):
    pytest.importorskip({"onnx": "onnxruntime"}.get(runtime, runtime))
    store(known, tmp_path / "tiny.ckpt")
    folder = tmp_path / runtime
    target = Target(runtime, batch_size=1)
    export_network(copy.deepcopy(known.model), folder, target=target, classes=NAMES, clip=known.clip)
    made = Service(load_models((str(folder), str(tmp_path / "tiny.ckpt")), "cpu"), Limits(num_workers=1))
    try:
        client = TestClient(create_app(made, with_page=False))
        answers = [
            client.post("/v1/predict", files={"file": clip.read_bytes()}, params={"model": name}).json()["predictions"]
            for name in made.names
        ]
    finally:
        made.close()
    assert [one["label"] for one in answers[0]] == [one["label"] for one in answers[1]]
    assert [one["score"] for one in answers[0]] == pytest.approx([one["score"] for one in answers[1]], abs=1e-4)
