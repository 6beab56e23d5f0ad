"""The routes for programs: answers are those of the predictor, refusals are clear and tell nothing of the machine."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import av
import pytest
import torch
from served_models import NAMES
from starlette.testclient import TestClient

from gta.clips.dataset import clip_views
from gta.serving import service as service_module
from gta.serving.batching import Batcher
from gta.serving.changes import changed
from gta.serving.limits import Limits, RefusedError
from gta.serving.server import create_app
from gta.serving.service import Service


def _send(client, content, name="clip.mp4", **query):
    return client.post("/v1/predict", files={"file": (name, content)}, params=query)


def _pairs(found):
    return {one["label"]: pytest.approx(one["score"], abs=1e-5) for one in found}


def _left(service):
    return [path for path in service.folder.path.rglob("*") if path != service.folder.kept]


def _refused(answer, status, code, service):
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["code"] == code
    assert str(service.folder.path) not in answer.text
    assert "Traceback" not in answer.text
    return answer.json()["error"]["message"]


@pytest.mark.parametrize("model", ["gta", "nl"])
def test_an_upload_gets_what_the_predictor_gives_and_is_gone_afterwards(client, clip, models, service, model):
    known = {one.name: one.predictor for one in models}[model]
    answer = _send(client, clip.read_bytes(), model=model, top_k=3, reverse=True).json()
    expected = known.predict(clip, top_k=3)
    assert [one["label"] for one in answer["predictions"]] == list(expected.labels)
    assert dict(zip(expected.labels, expected.scores, strict=True)) == _pairs(answer["predictions"])
    backwards = known.best(clip_views(clip, known.clip).flip(2), 3)
    assert dict(zip(*backwards, strict=True)) == _pairs(answer["reversed"])
    assert answer["model"] == model
    assert _left(service) == []


def test_a_changed_order_of_frames_is_what_the_model_sees(client, clip, models):
    known = models[0].predictor
    answer = _send(client, clip.read_bytes(), change="shuffle", amount=0.5, top_k=2).json()
    names, scores = known.best(changed(clip_views(clip, known.clip), "shuffle", 0.5), 2)
    assert dict(zip(names, scores, strict=True)) == _pairs(answer["predictions"])


def test_the_old_name_of_top_k_still_works_and_tells_the_new_one(client, clip):
    answer = _send(client, clip.read_bytes(), topk=2).json()
    assert len(answer["predictions"]) == 2
    assert "top_k" in answer["notice"]
    assert "notice" not in _send(client, clip.read_bytes(), top_k=2).json()


def test_a_file_of_the_allowed_folder_is_read_by_its_path_and_nothing_else(client, clip, service, tmp_path):
    ask = lambda path: client.post("/v1/predict", json={"path": path})  # noqa: E731
    assert ask("clip.mp4").status_code == 200
    assert clip.is_file()
    outside = tmp_path / "outside.mp4"
    outside.write_bytes(clip.read_bytes())
    link = clip.parent / "link.mp4"
    link.symlink_to(outside)
    others = ["../" * 20 + "etc/passwd", "/etc/passwd", str(outside), "link.mp4", ".", "none.mp4", "a" * 5000]
    words = {_refused(ask(path), 404, "not_found", service) for path in others}
    assert len(words) == 1
    _refused(client.post("/v1/predict", json={"path": "a\0b"}), 422, "no_video", service)
    link.unlink()


def test_without_a_folder_no_path_is_read(service, clip):
    client = TestClient(create_app(service, with_page=False))
    answer = client.post("/v1/predict", json={"path": str(clip)})
    _refused(answer, 403, "no_folder", service)


_LISTS = {
    "concat": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "hls": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    "empty": b"",
    "noise": bytes(range(256)) * 40,
    "zip": b"PK\x03\x04" + bytes(2000),
}


@pytest.mark.parametrize("name", _LISTS)
def test_what_is_no_video_is_refused_in_words(client, service, name):
    message = _refused(_send(client, _LISTS[name], name=f"../../{name}.mp4"), 422, "unreadable", service)
    assert message.startswith("The file cannot be read as a video: ")
    assert _left(service) == []


def test_a_damaged_video_is_refused(client, service, clip):
    content = clip.read_bytes()
    _refused(_send(client, content[: len(content) // 3]), 422, "unreadable", service)


def test_a_video_that_plays_too_long_is_refused(client, service, tmp_path):
    path = tmp_path / "long.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=2)
        stream.width = stream.height = 32
        for _ in range(14):
            for packet in stream.encode(av.VideoFrame(32, 32, "yuv420p")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    message = _refused(_send(client, path.read_bytes()), 422, "too_long", service)
    assert "7 s; at most 5 s" in message


def test_too_large_a_file_is_refused_with_and_without_its_length(client, service):
    big = bytes(2 << 20)
    _refused(_send(client, big), 413, "too_large", service)

    def chunks():
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
        for _ in range(32):
            yield bytes(1 << 16)

    headers = {"content-type": "multipart/form-data; boundary=x"}
    _refused(client.post("/v1/predict", content=chunks(), headers=headers), 413, "too_large", service)
    assert _left(service) == []


@pytest.mark.parametrize(
    ("request_arguments", "status", "code"),
    [
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415, "bad_type"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "bad_request"),
        ({"content": b"[" * 60_000, "headers": {"content-type": "application/json"}}, 400, "bad_request"),
        ({"json": ["clip.mp4"]}, 422, "no_video"),
        ({"files": {"other": b"x"}}, 422, "no_video"),
        ({"files": {"file": b"x"}, "params": {"model": "none"}}, 404, "no_model"),
        ({"files": {"file": b"x"}, "params": {"top_k": 0}}, 422, "bad_request"),
        ({"files": {"file": b"x"}, "params": {"change": "<b>"}}, 422, "bad_request"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "bad_request"),
    ],
)
def test_malformed_requests_are_told_what_is_wrong(client, service, request_arguments, status, code):
    _refused(client.post("/v1/predict", **request_arguments), status, code, service)


def test_facts_are_given_and_hold_no_path(client, models, service):
    assert client.get("/v1/health").json()["status"] == "ok"
    cards = client.get("/v1/model").json()["models"]
    assert [card["name"] for card in cards] == ["gta", "nl"]
    assert cards[0]["classes"] == list(NAMES)
    page = client.get("/docs").text
    assert "/v1/predict" in page
    assert "http://" not in page
    assert "https://" not in page
    _refused(client.get("/none"), 404, "bad_request", service)
    counted = client.get("/metrics").text
    assert 'gta_requests_total{route="/v1/health",status="200"}' in counted
    assert "gta_in_flight 0" in counted


def test_an_explanation_is_the_page_of_gta_explain(client, clip):
    answer = client.post("/v1/explain", files={"file": clip.read_bytes()}, params={"model": "gta", "compare": "nl"})
    assert answer.status_code == 200, answer.text
    assert '"model":"gta"' in answer.text
    assert '"model":"nl"' in answer.text
    assert "sandbox" in answer.headers["content-security-policy"]


def test_beyond_the_queue_requests_are_told_to_come_back(client, service, clip):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service, "_in_flight", service.limits.queue_size)
        answer = _send(client, clip.read_bytes())
        _refused(answer, 503, "busy", service)
        assert answer.headers["retry-after"] == "1"
    assert _send(client, clip.read_bytes()).status_code == 200


def test_with_a_password_nothing_answers_without_it(service):
    client = TestClient(create_app(service, ("mia", "s:ecret"), with_page=False))
    for path in ("/", "/v1/health", "/v1/model", "/metrics", "/docs", "/openapi.json", "/none"):
        for auth in (None, ("mia", "wrong"), ("", "")):
            answer = client.get(path, auth=auth)
            assert answer.status_code == 401
            assert answer.json()["error"]["code"] == "password"
    assert client.post("/v1/predict", files={"file": b"x"}).status_code == 401
    assert client.get("/v1/health", auth=("mia", "s:ecret")).status_code == 200


class _Gate:
    """Scores of batches, which wait until they are let through; the sizes of all are noted."""

    def __init__(self, known):
        self._known, self.opened, self.sizes = known, threading.Event(), []

    def scores(self, views):
        self.sizes.append(len(views))
        assert self.opened.wait(30)
        return self._known.batch_scores(views)


def test_requests_at_the_same_time_share_batches_and_get_their_own_answers(service, clip):
    video = service.read(clip)
    changes = ("none", "reverse", "freeze")
    alone = [service.submit(video, 0, change=change).result(20) for change in changes]
    gate = _Gate(service.models[0].predictor)
    batcher = Batcher(gate.scores, batch_size=4)
    futures = [batcher.submit(changed(service.views(video, 0), change, 1.0)) for _ in range(3) for change in changes]
    gate.opened.set()
    for future, expected in zip(futures, alone * 3, strict=True):
        torch.testing.assert_close(future.result(20), expected)
    batcher.close()
    assert sum(gate.sizes) == 9
    assert gate.sizes[0] <= 4
    assert 4 in gate.sizes  # those that waited went together, as many as are allowed


def test_a_decoder_that_hangs_or_dies_is_replaced(models, clip, tmp_path):
    """The process is stopped, as a hanging decoder would be; a request ends in time, and the next one is answered."""
    made = Service(models[:1], Limits(request_seconds=20.0, num_workers=1))
    try:
        made.read(clip)
        (worker,) = made.reader._all
        os.kill(worker._process.pid, 9)
        worker._process.join(20)
        assert made.read(clip).num_frames > 0  # it ended while nobody needed it
        (worker,) = made.reader._all
        os.kill(worker._process.pid, 19)
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(made.read, clip)
            time.sleep(0.3)
            os.kill(worker._process.pid, 9)
            with pytest.raises(RefusedError, match="crashed"):
                asked.result(20)
        assert made.read(clip).num_frames > 0
        (worker,) = made.reader._all
        os.kill(worker._process.pid, 19)
        with pytest.raises(RefusedError, match="took longer"):
            made.reader.read(clip, made._protocols, seconds=0.2)
        assert made.read(clip).num_frames > 0
    finally:
        made.close()
    assert not made.folder.path.exists()


def test_files_of_visitors_do_not_stay(service):
    path = service.folder.new_file("../../<b>.MP4")
    assert path.parent == service.folder.path
    assert path.suffix == ".mp4"
    path.write_bytes(b"x")
    nested = service.folder.path / "a" / "b"
    nested.mkdir(parents=True)
    (nested / "c").write_bytes(b"x")
    service.folder.remove_old()
    assert path.exists()
    old = time.time() - service.limits.keep_seconds - 5
    for item in (path, nested / "c", nested, nested.parent):
        os.utime(item, (old, old))
    service.folder.remove_old()
    assert list(service.folder.path.rglob("*.mp4")) == []
    assert not (nested / "c").exists()


def test_a_server_that_stops_refuses_new_requests(models, clip):
    made = Service(models[:1], Limits(num_workers=1))
    client = TestClient(create_app(made, with_page=False))
    made.is_draining = True
    answer = _send(client, clip.read_bytes())
    _refused(answer, 503, "stopping", made)
    assert "retry-after" in answer.headers
    made.close()


def test_a_defect_is_told_without_its_traceback(service, clip, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("secret")

    client = TestClient(create_app(service, with_page=False), raise_server_exceptions=False)
    monkeypatch.setattr(service_module.Service, "read", broken)
    answer = _send(client, clip.read_bytes())
    _refused(answer, 500, "defect", service)
    assert "secret" not in answer.text


def test_many_clients_at_once_get_their_answers(client, clip):
    content = clip.read_bytes()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: _send(client, content), range(16)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["predictions"][0]["label"] for answer in answers}) == 1
