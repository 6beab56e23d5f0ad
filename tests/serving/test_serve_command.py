"""`gta serve` as a process: it answers, drains at SIGTERM, leaves nothing behind; and what it refuses to start with."""

import http.client
import json
import os
import signal
import time
from pathlib import Path

import pytest
from served_models import predictor, serving, store

from gta.cli import run
from gta.commands.serve import model_name, read_password
from gta.errors import OptionError


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return store(predictor(), tmp_path_factory.mktemp("serve") / "tiny.ckpt")


def test_the_command_answers_drains_at_sigterm_and_leaves_nothing(checkpoint, clip, tmp_path):
    words = [str(checkpoint), "--port", "0", "--no-page", "--max-seconds", "5"]
    with serving(words, tmp_path / "log", TMPDIR=str(tmp_path)) as (address, pid):
        assert address.startswith("http://127.0.0.1:")
        connection = http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=60)
        head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="secret-name.mp4"\r\n\r\n'
        body = head + clip.read_bytes() + b"\r\n--x--\r\n"
        connection.putrequest("POST", "/v1/predict?top_k=1")
        connection.putheader("content-type", "multipart/form-data; boundary=x")
        connection.putheader("content-length", str(len(body)))
        connection.endheaders(body[:1000])
        time.sleep(1)  # Uvicorn has taken over by then
        os.kill(pid, signal.SIGTERM)  # in the middle of a request, which is answered all the same
        connection.send(body[1000:])
        answer = connection.getresponse()
        found = json.loads(answer.read())
        assert answer.status == 200, found
        assert len(found["predictions"]) == 1
        with pytest.raises(ConnectionError):
            http.client.HTTPConnection(address.removeprefix("http://").rstrip("/"), timeout=60).request("GET", "/")
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)  # of this one signal
    errors = (tmp_path / "log").read_text()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("gta-serve")] == []
    assert "secret-name" not in errors
    lines = [json.loads(line) for line in errors.splitlines() if line.startswith("{")]
    assert [line["status"] for line in lines] == [answer.status]
    assert lines[0]["path"] == "/v1/predict"
    assert str(checkpoint.parent) not in errors


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "no model given"),
        (["none.ckpt"], "none.ckpt"),
        (["none.ckpt", "--auth", "mia"], "--auth must be USER:FILE"),
        (["none.ckpt", "--auth", "mia:none.txt"], "none.txt"),
        (["none.ckpt", "--examples", "none"], "--examples is none: there is no such folder"),
        (["none.ckpt", "--max-mb", "0"], "--max-mb is 0: it must be above 0"),
    ],
)
def test_mistakes_are_one_line(words, expected, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["serve", *words]) == 2
    errors = capsys.readouterr().err
    assert expected in errors
    assert errors.count("\n") == 1


def test_a_port_that_is_taken_is_told(checkpoint, capsys):
    from gta.serving.server import listen

    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert run(["serve", str(checkpoint), "--port", str(port), "--device", "cpu"]) == 2
    assert f"--port {port}" in capsys.readouterr().err


def test_the_password_is_the_first_line_of_its_file(tmp_path):
    file = tmp_path / "password"
    file.write_text("s:e cret\nmore\n")
    assert read_password(f"mia:{file}") == ("mia", "s:e cret")
    file.write_text("\n")
    with pytest.raises(OptionError, match="empty"):
        read_password(f"mia:{file}")


def test_models_are_called_by_their_file_or_folder():
    assert model_name("runs/mine/best.ckpt") == "mine"
    assert model_name("/secret/place/tiny.ckpt") == "tiny"
    assert model_name("hf://mia/tiny-1.5@main") == "tiny-1.5"
    assert model_name(str(Path(__file__).parent)) == "serving"
