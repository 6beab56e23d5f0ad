"""Models on a hub: pushed, described, fetched, used; a local folder and an endpoint of our own stand in for one."""

import base64
import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import yaml
from bulk_files import CLASSES, write_model, write_video

import gta
from gta.checkpoint import read_checkpoint
from gta.cli import run
from gta.commands.serve import load_models
from gta.errors import CheckpointError
from gta.export.card import read_card
from gta.hub import hub_name, results_place
from gta.runs.hub import push

TOKEN = "hf_notARealTokenButShapedLikeOne"


class _Hub(BaseHTTPRequestHandler):
    """The hub's API as far as pushing and fetching use it, with repositories in memory."""

    files: dict[str, dict[str, bytes]]

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, body: object = b"", **headers: str) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": f"Invalid token {TOKEN}"})
        elif self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization', 'me')}/{asked['name']}"
            self.files.setdefault(name, {})
            self._answer(200, {"url": f"http://{self.headers['Host']}/{name}", "name": name})
        elif self.path == "/api/validate-yaml":
            self._answer(200, {"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            named = [entry["path"] for entry in json.loads(body)["files"]]
            self._answer(200, {"files": [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in named]})
        elif "/commit/" in self.path:
            name = self.path.removeprefix("/api/models/").partition("/commit/")[0]
            for line in body.decode().splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.files[name][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            self._answer(
                200,
                {
                    "commitUrl": f"http://{self.headers['Host']}/{name}/commit/{'a' * 40}",
                    "commitOid": "a" * 40,
                    "success": True,
                },
            )
        else:
            self._answer(404)

    def do_GET(self) -> None:
        name, _, rest = self.path.lstrip("/").partition("/resolve/")
        file = rest.partition("/")[2]
        if name not in self.files:
            self._answer(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        elif file not in self.files[name]:
            self._answer(404, X_Error_Code="EntryNotFound")
        else:
            content = self.files[name][file]
            tag = hashlib.sha1(content).hexdigest()
            self._answer(200, content, ETag=f'"{tag}"', X_Repo_Commit="a" * 40)

    do_HEAD = do_GET  # noqa: N815


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Iterator[dict[str, dict[str, bytes]]]:
    from huggingface_hub import constants

    files: dict[str, dict[str, bytes]] = {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Hub", (_Hub,), {"files": files}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", address)
    yield files
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    config = {
        "data": {"root": "/home/somebody/secret place/my videos", "layout": "folder"},
        "run": {"seed": 3, "recipe": "finetune"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "results.json").write_text(json.dumps({"best": {"num_videos": 40, "top1": 0.625, "top5": 1.0}}))
    return write_model(folder / "best.ckpt")


def test_pushed_fetched_and_used(hub, model, tmp_path, capsys):
    assert run(["push", str(model), "somebody/nice-model"]) == 0
    assert "hf://somebody/nice-model" in capsys.readouterr().out
    assert set(hub["somebody/nice-model"]) >= {"model.safetensors", "config.json", "README.md"}
    video = write_video(tmp_path / "clip.mp4")
    assert run(["predict", "hf://somebody/nice-model", str(video), "--json", "--device", "cpu"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    expected = gta.Predictor.from_checkpoint(model, device="cpu").predict(video)
    assert [entry["label"] for entry in answer["predictions"]] == list(expected.labels)
    built = gta.create_model(pretrained="hf://somebody/nice-model")
    assert built.num_classes == len(CLASSES)
    stored = read_checkpoint(model).state_dict
    assert all(torch.equal(value, stored[name]) for name, value in built.state_dict().items())
    assert gta.create_model(pretrained="hf://somebody/nice-model", num_classes=7).num_classes == 7


def test_gta_serve_takes_it_under_its_name(hub, model, tmp_path):
    push(model, "somebody/nice-model")
    (served,) = load_models(("hf://somebody/nice-model",), "cpu")
    assert served.name == "nice-model"
    video = write_video(tmp_path / "clip.mp4")
    assert served.predictor.predict(video) == gta.Predictor.from_checkpoint(model, device="cpu").predict(video)


def test_results_about_a_hubs_model_go_into_a_folder_of_its_name(hub, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    push(model, "me/m")
    for number, name in enumerate(CLASSES):
        (tmp_path / "data" / "val" / name).mkdir(parents=True)
        write_video(tmp_path / "data" / "val" / name / "a.mp4", number)
    where = ["data", "--num-workers", "0", "--device", "cpu"]
    assert run(["evaluate", "hf://me/m", *where]) == 0
    assert run(["probe", "hf://me/m", *where, "--num-permutations", "1"]) == 0
    assert run(["export", "hf://me/m", "--to", "torch", "--clips", "1"]) == 0
    written = tmp_path / "me" / "m"
    assert (written / "evaluation_val_data.json").is_file()
    assert (written / "probe" / "probe.json").is_file()
    source = read_card(written / "model-torch").source
    content = hub["me/m"]["model.safetensors"]
    assert source == {"file": "model.safetensors", "sha256": hashlib.sha256(content).hexdigest()}
    assert not (tmp_path / "hf:").exists()
    capsys.readouterr()
    assert run(["evaluate", "hf://me/m"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "hf://me/m: a model on a hub does not say where its data is" in line
    assert results_place("hf://me/m@a/b") == Path("me/m@a_b/model.safetensors")


def test_the_page_says_what_is_known_and_no_path_of_the_machine(model, tmp_path):
    push(model, "somebody/nice-model", folder=tmp_path / "repository")
    page = (tmp_path / "repository" / "README.md").read_text()
    front = yaml.safe_load(page.split("---")[1])
    assert front["pipeline_tag"] == "video-classification"
    for text in (
        "my videos",
        "62.5 %",
        "100.0 %",
        "4 frames of 32x32",
        "gta predict hf://somebody/nice-model",
        "he2021gta",
    ):
        assert text in page
    assert "Views of a video in predictions: 1 clip x 1 crop, averaged" in page
    assert "secret place" not in page
    assert str(model.parent) not in page
    assert read_checkpoint(tmp_path / "repository" / "model.safetensors").classes == CLASSES


def test_every_result_is_shown_with_its_own_views(model, tmp_path, capsys):
    place = tmp_path / "run"
    shutil.copytree(model.parent, place)
    config = json.loads((place / "config.json").read_text())
    config["data"] |= {"val_views": "one", "clip": {"test_clips": 4, "test_crops": 3}}
    (place / "config.json").write_text(json.dumps(config))
    for clips, crops in ((2, 3), (1, 1)):
        found = {"num_videos": 7, "top1": 0.5, "top5": 1, "protocol": {"test_clips": clips, "test_crops": crops}}
        (place / f"evaluation_{clips}x{crops}.json").write_text(json.dumps(found))
    few = {"num_videos": 7, "top1": 0.5, "top5": 1, "per_class": {"a": {}, "b": {}}}
    (place / "few.json").write_text(json.dumps(few))
    (place / "old.json").write_text('{"top1": 0.25}')
    (place / "probe").mkdir()
    (place / "probe" / "probe.json").write_text('{"treatments": {"in order": {"top1": 0.5}}, "verdict": "It sees."}')
    push(place / model.name, "somebody/nice-model", folder=tmp_path / "repository")
    page = (tmp_path / "repository" / "README.md").read_text()
    results = page.split("## Results")[1].split("## Order of frames")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in results.splitlines() if line.startswith("|")]
    assert rows[0] == ["measured", "videos", "views (clips x crops)", "top-1", "top-5"]
    assert {row[0].replace("\\", ""): row[2] for row in rows[2:]} == {
        "best epoch of the training": "1 x 1",
        "evaluation_2x3": "2 x 3",
        "evaluation_1x1": "1 x 1",
        "few": "-",
        "old": "-",
    }
    assert {row[0]: row[4] for row in rows[2:] if row[0] in ("few", "old")} == {"few": "-", "old": "-"}
    assert [row[4] for row in rows[2:] if "2x3" in row[0]] == ["100.0 %"]
    assert "1 clip " not in results
    assert "With 1 clip x 1 crop of each video." in page.split("## Order of frames")[1]
    assert run(["predict", str(tmp_path / "repository"), "a.mp4"]) == 2
    assert f"give the checkpoint file in it, {tmp_path / 'repository' / 'model.safetensors'}" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(["predict", str(tmp_path / "empty"), "a.mp4"]) == 2
    assert "this is a folder, without best.ckpt" in capsys.readouterr().err


def test_mistakes_are_one_line_without_the_token(hub, model, monkeypatch, tmp_path, capsys):
    hub["somebody/empty"] = {}
    assert run(["predict", "hf://somebody/missing", "a.mp4"]) == 2
    assert "no such repository" in capsys.readouterr().err
    assert run(["predict", "hf://somebody/empty", "a.mp4"]) == 2
    assert "holds no model.safetensors" in capsys.readouterr().err
    assert run(["predict", "hf://one-part", "a.mp4"]) == 2
    assert "hf://owner/name" in capsys.readouterr().err
    monkeypatch.setenv("HF_TOKEN", TOKEN + "x")
    assert run(["push", str(model), "somebody/refused"]) == 2
    said = capsys.readouterr()
    assert "HF_TOKEN" in said.err
    assert TOKEN not in said.err + said.out
    assert said.err.count("\n") == 1
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", "http://127.0.0.1:9")
    assert run(["push", str(model), "one-part"]) == 2
    assert "owner/name" in capsys.readouterr().err
    assert run(["push", str(model), "one-part", "--output", str(tmp_path / "folder")]) == 2
    assert not (tmp_path / "folder").exists()
    assert "owner/name" in capsys.readouterr().err
    assert run(["push", str(model), "one-part", "--folder", str(tmp_path / "folder")]) == 2
    assert "--folder is now --output" in capsys.readouterr().err


def test_addresses():
    assert hub_name("hf://a/b") == hub_name(Path("hf://a/b")) == ("a/b", None)
    assert hub_name("hf://a/b@v1.0") == ("a/b", "v1.0")
    assert hub_name("a/b") is hub_name("hf://a") is hub_name("s3://a/b") is None
    with pytest.raises(CheckpointError, match="has the form hf://owner/name"):
        read_checkpoint("hf://a/b/c/d")
    with pytest.raises(ValueError, match="name"):
        gta.create_model()
