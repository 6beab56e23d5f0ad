"""Hostile requests: nothing is told, nothing is left, and the server goes on (`hostile.py` beside this sends more)."""

import asyncio
import base64
import contextlib
import io
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from file_watch import Access, FileWatch, accesses_of, can_watch, foreign
from hostile import Attacker
from hostile_run import code_folders
from PIL import Image

from gta.serving.camera_frames import PREFIX, camera_frame
from gta.serving.limits import Limits, RefusedError
from gta.serving.metrics import Metrics
from gta.serving.middleware import Guard
from gta.serving.visitor_files import Functions, check_call

_GROWTH_BYTES = 150 << 20


def _memory(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def test_hostile_requests_are_told_nothing_and_leave_nothing(server, clip):
    host, _, port = server.address.removeprefix("http://").rstrip("/").partition(":")
    forbidden = [str(server.folder), str(Path.cwd()), sys.prefix]
    attacker = Attacker((host, int(port)), clip.read_bytes(), forbidden, without=("slow", "half"))
    attacker.run(51)
    before = _memory(server.pid), len(list(Path(f"/proc/{server.pid}/fd").iterdir()))
    with FileWatch(server.pid) if can_watch() else contextlib.nullcontext() as watch:
        report = attacker.run(68, seed=1)
    if watch is not None:
        assert len(watch.accesses) > 60
        assert foreign(watch.accesses, server.folder, code_folders()) == []
    assert report.leaks == []
    assert "Traceback" not in server.log.read_text()
    assert not [name for name in report.answers if name.split()[1].startswith("5")], report.answers
    assert _memory(server.pid) - before[0] < _GROWTH_BYTES
    assert len(list(Path(f"/proc/{server.pid}/fd").iterdir())) <= before[1] + 6
    (own,) = [path for path in server.folder.iterdir() if path.name.startswith("gta-serve")]
    assert {path.name for path in own.iterdir()} <= {"examples", "visitors"}
    read = [path.name for path in own.rglob("*") if path.is_file() and path.name in ("passwd", "environ")]
    assert read == []  # Gradio copies what it believes to be an upload
    assert httpx.get(f"{server.address}v1/health", timeout=60).status_code == 200


def _run(coroutine) -> None:
    """Run to the end in a thread of its own: the browser of other tests keeps an event loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, coroutine).result()


def test_a_body_that_never_ends_is_refused_in_time():
    answers = []

    async def app(scope, receive, send):
        while (await receive()).get("more_body"):
            pass

    async def receive():
        if answers_left:
            return answers_left.pop()
        await asyncio.sleep(60)
        raise AssertionError

    async def send(message):
        answers.append(message)

    answers_left = [{"type": "http.request", "body": b"x", "more_body": True}]
    guard = Guard(app, limits=Limits(body_seconds=0.05), metrics=Metrics())
    scope = {"type": "http", "method": "POST", "path": "/v1/predict", "headers": [], "client": None}
    _run(guard(scope, receive, send))
    assert answers[0]["status"] == 408
    assert b"slow_body" in answers[1]["body"]


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../etc/passwd", "visitors/../../etc/passwd", "http://127.0.0.1/a.mp4", "visitors/x", 7, ["a"]],
)
def test_calls_of_the_page_name_uploads_and_nothing_else(path):
    call = {"data": [{"deep": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}], "fn_index": 0}
    with pytest.raises(RefusedError, match="uploaded to this server"):
        check_call(json.dumps(call).encode(), Functions([[_anything]]))
    data = [{"video": {"path": f"visitors/{'0f' * 32}/clip.mp4"}}, {"path": None}, "path"]
    check_call(json.dumps({"data": data, "fn_index": 0}).encode(), Functions([[_anything] * 3]))


def _anything(_: object) -> bool:
    return True


def _nothing(value: object) -> bool:
    return value is None


def test_functions_get_the_values_that_they_take_and_no_others():
    functions = Functions([[_anything, _nothing], [_nothing]], streaming={1})
    check_call(b'{"data": [{"a": 1}, null], "fn_index": 0}', functions)
    check_call(b'{"data": [null], "fn_index": 1}', functions)
    check_call(b'{"data": [null], "fn_index": 1}', functions, streaming=True)
    with pytest.raises(RefusedError, match="no such function"):
        check_call(b'{"data": [null, null], "fn_index": 0}', functions, streaming=True)
    check_call(b'{"session_hash": "s", "event_id": "e"}', functions)  # it takes something back
    for call in (
        {"data": [None, {"a": 1}], "fn_index": 0},
        {"data": [7], "fn_index": 1},
        {"data": [], "fn_index": 1},
        {"data": [None, None], "fn_index": 1},
        {"data": {"0": None}, "fn_index": 1},
        {"fn_index": 1},
    ):
        with pytest.raises(RefusedError, match=r"The function takes|not valid for this function"):
            check_call(json.dumps(call).encode(), functions)


@pytest.mark.parametrize("number", [2, -1, "0", 10**30, [0], None, True])
def test_calls_of_functions_that_the_page_does_not_have_are_refused(number):
    with pytest.raises(RefusedError, match="no such function"):
        check_call(json.dumps({"data": [], "fn_index": number}).encode(), Functions([[], []]))


@pytest.mark.parametrize("body", [b"{", b"[" * 100_000, b"[" * 60 + b"]" * 60, b"\xff", b'{"session_hash": NaN}'])
def test_calls_that_are_no_json_or_too_deep_are_refused(body):
    with pytest.raises(RefusedError):
        check_call(body, Functions([[_anything]]))


def test_web_sockets_are_closed_at_once():
    sent = []

    async def send(message):
        sent.append(message)

    async def never(*_):
        raise AssertionError

    _run(Guard(never, limits=Limits(), metrics=Metrics())({"type": "websocket"}, never, send))
    assert [message["type"] for message in sent] == ["websocket.close"]


def test_what_strace_says_is_understood():
    lines = [
        'openat(AT_FDCWD</tmp/own>, "x\\"y", O_RDONLY|O_CLOEXEC) = 7</tmp/own/x"y>',
        'openat(AT_FDCWD</tmp/own>, "/etc/passwd", O_RDONLY) = 8</etc/passwd>',
        'openat(AT_FDCWD</tmp/own>, "/etc/none", O_RDONLY) = -1 ENOENT (No such file or directory)',
        'openat(AT_FDCWD</tmp/own>, "/etc/new", O_WRONLY|O_CREAT, 0666) = -1 EACCES (Permission denied)',
        'unlink("../up") = 0',
        'mkdirat(9</srv>, "a", 0777) = 0',
        'newfstatat(AT_FDCWD</tmp/own>, "/etc/hosts", {st_mode=S_IFREG|0644, st_size=9}, 0) = 0',
        'rename("/tmp/own/a", "/tmp/own/b") = 0',
        "+++ exited with 0 +++",
    ]
    seen = list(accesses_of(lines, "/tmp/own"))
    assert seen[0] == Access("openat", '/tmp/own/x"y', changes=False, opens=True, done=True)
    assert foreign(seen, Path("/tmp/own"), ["/usr/"]) == [
        *("mkdirat /srv/a", "openat /etc/new", "openat /etc/passwd", "unlink /tmp/up")
    ]


def _frame(size=(64, 48), mode="RGB", kind="JPEG", keep=None) -> str:
    held = io.BytesIO()
    Image.new(mode, size).save(held, kind)
    return PREFIX + base64.b64encode(held.getvalue()[:keep]).decode()


def test_frames_of_a_camera_are_pictures_of_a_cameras_size():
    frame = camera_frame(_frame())
    assert frame is not None
    assert (frame.shape, frame.dtype.name) == ((48, 64, 3), "uint8")
    grey = camera_frame(_frame(mode="L"))
    assert grey is not None
    assert grey.shape == (48, 64, 3)
    long = _frame((65_000, 1))  # as large as a model wants its shorter side, it would take all memory
    for text in (
        None,
        "",
        long,
        _frame((900, 100)),
        _frame(kind="PNG"),
        _frame(keep=300),
        f"{_frame()},{long}",
        PREFIX,
    ):
        assert camera_frame(text) is None
