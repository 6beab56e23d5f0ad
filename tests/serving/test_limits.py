"""What one visitor asks for can neither stop the server nor fill it."""

import asyncio
import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import httpx
import pytest
import uvicorn
from served_models import store
from starlette.testclient import TestClient

from gta.config import ClipConfig
from gta.predictor import Predictor
from gta.serving import connections
from gta.serving import service as service_module
from gta.serving.kept import Kept
from gta.serving.limits import Limits, RefusedError
from gta.serving.metrics import Metrics
from gta.serving.middleware import Guard
from gta.serving.server import create_app
from gta.serving.service import ServedModel, Service
from gta.serving.visitor_files import Functions, check_call


def _code(answer) -> str:
    return answer.json()["error"]["code"]


def test_only_videos_may_be_large(client):
    headers = {"content-type": "application/json"}
    answer = client.post("/v1/predict", content=b"[" + b"[]," * 40_000 + b"[]]", headers=headers)
    assert (answer.status_code, _code(answer)) == (413, "too_large")
    assert "video" not in answer.json()["error"]["message"]
    with pytest.raises(RefusedError, match="too many values"):
        check_call(b"[" + b"[]," * 1000 + b"[]]", Functions([]))
    # The picture of a camera:
    check_call(b'{"fn_index": 0, "data": ["' + b"x" * 3_000_000 + b'"]}', Functions([[lambda _: True]]))


def test_calls_of_the_page_are_bounded(address):
    answer = httpx.post(f"{address}gradio_api/queue/join", content=bytes(5 << 20), timeout=60)
    assert (answer.status_code, _code(answer)) == (413, "too_large")


def test_routes_for_programs_tell_the_methods_that_they_have(address):
    for method, path in (("GET", "v1/predict"), ("POST", "v1/health"), ("DELETE", "v1/model"), ("HEAD", "v1/predict")):
        answer = httpx.request(method, f"{address}{path}", timeout=60)
        assert answer.status_code == 405
        assert method == "HEAD" or _code(answer) == "bad_request"
    answer = httpx.head(f"{address}v1/health", timeout=60)
    assert (answer.status_code, answer.content) == (200, b"")


def test_no_foreign_page_can_reach_a_server_of_this_machine(address):
    answer = httpx.get(f"{address}v1/health", headers={"host": "evil.example"}, timeout=60)
    assert (answer.status_code, _code(answer)) == (421, "wrong_host")
    answer = httpx.get(f"{address}config", headers={"origin": "http://evil.example"}, timeout=60)
    assert [name for name in answer.headers if name.startswith("access-control")] == []


@pytest.mark.parametrize("host", ["localhost", "localhost:7860", "127.0.0.1:1", "[::1]:80", "[::1]", "Model.Example"])
def test_names_of_this_machine_and_those_that_were_allowed_are_known(service, host):
    hosts = ("localhost", "127.0.0.1", "::1", "model.example")
    known = TestClient(create_app(service, with_page=False, hosts=hosts))
    assert known.get("/v1/health", headers={"host": host}).status_code == 200
    assert known.get("/v1/health", headers={"host": "localhost.evil.example"}).status_code == 421


def test_files_of_visitors_have_room_together(models, clip):
    made = Service(models[:1], Limits(num_workers=1, max_stored_mb=(clip.stat().st_size + 1000) / (1 << 20)))
    try:
        opened = TestClient(create_app(made, with_page=False))
        files = {"file": clip.read_bytes()}
        assert opened.post("/v1/predict", files=files).status_code == 200
        assert made.folder.num_bytes() == 0
        made.folder.new_file("a.mp4").write_bytes(bytes(2000))
        answer = opened.post("/v1/predict", files=files)
        assert (answer.status_code, _code(answer), answer.headers["retry-after"]) == (503, "full", "60")

        def chunks():
            yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp4"\r\n\r\n'
            yield bytes(clip.stat().st_size)

        headers = {"content-type": "multipart/form-data; boundary=x"}
        answer = opened.post("/v1/predict", content=chunks(), headers=headers)
        assert (answer.status_code, _code(answer)) == (503, "full")
        assert opened.post("/v1/predict", json={"path": "a"}).status_code == 403  # which brings no video
    finally:
        made.close()


def test_all_steps_of_a_request_share_its_time(models, clip, monkeypatch):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(service_module, "time", clock)
    made = Service(models[:1], Limits(num_workers=1, request_seconds=60.0))
    try:
        with made.queued():
            clock.now += 20
            video = made.read(clip)
            assert made.predict(video)
            clock.now += 50
            for step in (lambda: made.predict(video), lambda: made.explain(video, [0]), lambda: made.read(clip)):
                with pytest.raises(RefusedError) as refused:
                    step()
                assert refused.value.code in ("too_slow", "busy")
        with made.queued():
            assert made.predict(video)
    finally:
        made.close()


def test_large_videos_leave_fewer_places(models):
    known = models[0].predictor
    clip = ClipConfig(num_frames=32, crop_size=256, resize=(256, 320), test_clips=10, test_crops=3)
    large = Predictor(known.model, classes=known.classes, clip=clip, device="cpu")
    made = Service([ServedModel("large", large)], Limits(num_workers=1, queue_size=64))
    try:
        with contextlib.ExitStack() as places:
            for _ in range((2 << 30) // (30 * 3 * 32 * 256 * 256)):
                places.enter_context(made.queued())
            with pytest.raises(RefusedError, match="busy"):
                made.require_room()
    finally:
        made.close()


@pytest.fixture
def quick(monkeypatch):
    """A server with little patience for heads: its port."""

    async def app(scope, receive, send):
        assert scope["type"] == "http"
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, http=connections.PatientProtocol, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(asyncio.run, server.serve(sockets=[listening]))
        yield listening.getsockname()[1]
        server.should_exit = True
        running.result(30)
    listening.close()


def test_who_sends_half_a_head_is_not_waited_for(quick):
    with socket.create_connection(("127.0.0.1", quick), timeout=30) as silent:
        assert silent.recv(10) == b""  # closed, not kept
    slow = socket.create_connection(("127.0.0.1", quick), timeout=30)
    with slow, pytest.raises(OSError, match=r"reset|pipe"):
        _trickle(slow)


def _trickle(slow: socket.socket) -> None:
    """A head of which each line arrives in time, and the whole does not."""
    slow.sendall(b"GET / HTTP/1.1\r\n")
    for letter in range(200):
        slow.sendall(b"x-a%d: 1\r\n" % letter)
        time.sleep(0.1)


def test_requests_one_after_the_other_have_time_each(quick):
    connection = http.client.HTTPConnection("127.0.0.1", quick, timeout=30)
    for _ in range(4):
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"ok"
        time.sleep(0.4)


def test_too_many_connections_are_told_to_come_back(quick, monkeypatch):
    monkeypatch.setattr(connections, "most_connections", lambda: 1)
    with socket.create_connection(("127.0.0.1", quick), timeout=30):
        answer = httpx.get(f"http://127.0.0.1:{quick}/", timeout=30)
        assert (answer.status_code, _code(answer), answer.headers["retry-after"]) == (503, "busy", "1")


def test_what_a_library_refuses_after_its_answer_began_is_no_defect(address, server):
    with pytest.raises(httpx.RemoteProtocolError):  # the connection ends: the answer had begun
        httpx.get(f"{address}gradio_api/queue/data?session_hash=unknown", timeout=60)
    assert "defect" not in server.log.read_text()


def test_open_pages_do_not_keep_a_server_that_is_to_stop(models, tmp_path):
    pytest.importorskip("gradio")
    words = [sys.executable, "-m", "gta", "serve", str(store(models[0].predictor, tmp_path / "a.ckpt")), "--port", "0"]
    program = subprocess.Popen(
        [*words, "--device", "cpu", "--num-workers", "1", "--request-seconds", "600", "--body-seconds", "600"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )
    try:
        assert program.stdout is not None
        address = program.stdout.readline().split()[0]
        with httpx.stream("GET", f"{address}gradio_api/heartbeat/abc", timeout=300) as page:
            assert page.status_code == 200
            reading = threading.Thread(target=lambda: list(page.iter_raw()), daemon=True)
            reading.start()
            program.send_signal(signal.SIGTERM)
            _, errors = program.communicate(timeout=120)  # the server's patience with answers is 601 s
            reading.join(60)
    finally:
        program.kill()
        program.wait()
    assert program.returncode == 0
    assert "Traceback" not in errors
    assert not reading.is_alive()


def test_streams_that_end_are_passed_on_as_they_are():
    sent = []

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data", "more_body": False})

    async def send(message):
        sent.append(message)

    async def never():
        await asyncio.sleep(60)

    scope = {"type": "http", "method": "GET", "path": "/gradio_api/heartbeat/x", "headers": [], "client": None}
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, Guard(app, limits=Limits(), metrics=Metrics())(scope, never, send)).result()
    assert [message.get("body") for message in sent] == [None, b"data"]


def test_what_is_kept_is_bounded_in_number_size_and_age(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("gta.serving.kept.time.monotonic", lambda: now[0])
    kept = Kept(3, 10.0, num_bytes=len, most_bytes=10)
    for name in "abcd":
        kept.put(name, "xx")
    assert [kept.get(name) for name in "abcd"] == [None, "xx", "xx", "xx"]
    kept.put("e", "x" * 7)
    assert [kept.get(name) for name in "bcde"] == [None, None, "xx", "x" * 7]
    now[0] += 9
    kept.put("f", "x")
    now[0] += 2
    kept.drop_old()
    assert len(kept) == 1
    assert kept.get("f") == "x"


def test_explanations_go_with_their_time(models, monkeypatch):
    made = Service(models[:1], Limits(num_workers=1, keep_seconds=0.2))
    try:
        made.explanations.put("token", "<p>")
        for _ in range(100):
            if not len(made.explanations):
                return
            time.sleep(0.05)
        raise AssertionError("it is still there")
    finally:
        made.close()


def test_the_log_names_neither_files_of_visitors_nor_tokens(caplog, service):
    client = TestClient(create_app(service, with_page=False))
    with caplog.at_level("INFO", logger="gta.serve.access"):
        for path in ("gradio_api/file=visitors/00/secret.mp4", "explanations/secret", "gradio_api/heartbeat/secret"):
            client.get(f"/{path}")
    assert "secret" not in caplog.text
    assert "/gradio_api/file=*" in caplog.text
    assert 'route="events"' in client.get("/metrics").text
