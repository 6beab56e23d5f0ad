"""`gta watch`: lines as they come, dropping instead of queueing, reconnecting, signals, and what cannot be read."""

import contextlib
import itertools
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import pytest
import torch
from streams import CLASSES, store_checkpoint
from torch import nn

import gta
from gta.cli import run
from gta.config import ClipConfig
from gta.errors import VideoError
from gta.predictor import Predictor
from gta.streaming.reader import End, FrameReader, TimedFrame
from gta.streaming.stream import Stream
from gta.streaming.watching import WatchStopped, watch
from gta.video.live import LiveVideo, kind_of, shown_name
from video_files import encode

CLIP = ClipConfig(num_frames=4, crop_size=32, resize=(40, 48))
WINDOWS = ["--window", "0.8", "--hop", "0.2", "--top-k", "7", "--device", "cpu"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    return store_checkpoint(tmp_path_factory.mktemp("watch") / "best.ckpt", CLIP)


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    return encode(tmp_path_factory.mktemp("watch") / "a.ts", num_frames=45, rate=25)


class FakeVideo:
    """A source of numbered frames."""

    name, time_base = "fake", Fraction(1, 25)

    def __init__(self, count: int, *, is_endless: bool, error: VideoError | None = None) -> None:
        self.count, self.is_endless, self.error = count, is_endless, error

    def __enter__(self) -> "FakeVideo":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def frames(self):
        for number in range(self.count):
            frame = av.VideoFrame(4, 4, "rgb24")
            frame.pts = number
            yield frame, Fraction(number, 25)
        if self.error is not None:
            raise self.error


def reader_of(*videos, **options) -> tuple[FrameReader, list[str]]:
    notices: list[str] = []
    queue = list(videos)
    settings = {"live": False, "paced": False, "backlog": 1.0, "max_retries": 2, **options}

    def open_source():
        following = queue.pop(0)
        if isinstance(following, Exception):
            raise following
        return following

    return FrameReader(open_source, notify=notices.append, **settings), notices


def drain(reader: FrameReader) -> tuple[list[TimedFrame], End]:
    frames = []
    while True:
        item = reader.take(5.0)
        assert item is not None
        if isinstance(item, End):
            return frames, item
        frames.append(item)


def test_a_file_waits_and_loses_nothing() -> None:
    reader, _ = reader_of(FakeVideo(100, is_endless=False))
    with reader:
        time.sleep(0.05)
        assert len(reader._waiting) <= 8
        frames, end = drain(reader)
    assert [frame.frame.pts for frame in frames] == list(range(100))
    assert end.error is None
    assert reader.dropped == 0


def test_a_live_source_drops_the_oldest_frames_and_counts_them() -> None:
    reader, _ = reader_of(FakeVideo(100, is_endless=False), live=True, backlog=0.4)
    with reader:
        reader._thread.join()
        frames, _ = drain(reader)
    assert [frame.frame.pts for frame in frames] == list(range(89, 100))  # 0.4 s are ten frame distances
    assert reader.dropped == 89


def test_a_paced_source_comes_at_its_own_speed() -> None:
    reader, _ = reader_of(FakeVideo(6, is_endless=False), paced=True)
    began = time.monotonic()
    with reader:
        drain(reader)
    assert time.monotonic() - began >= 0.19


def test_a_lost_source_is_opened_again_with_growing_delays(monkeypatch) -> None:
    monkeypatch.setattr("gta.streaming.reader._FIRST_DELAY_SECONDS", 0.01)
    lost = VideoError("fake", "connection reset")
    reader, notices = reader_of(
        FakeVideo(2, is_endless=True, error=lost), lost, FakeVideo(1, is_endless=True), lost, lost
    )
    with reader:
        frames, end = drain(reader)
    assert [frame.frame.pts for frame in frames] == [0, 1, 0]
    assert [frame.after_loss for frame in frames] == [False, False, True]
    assert frames[2].time > frames[1].time
    assert reader.reconnections == 1
    assert [notice.rpartition("again in ")[2] for notice in notices] == ["0.01 s", "0.02 s"] * 2
    assert notices[2].startswith("fake: the stream ended; ")
    assert str(end.error) == "fake: connection reset; gave up"


def test_what_cannot_be_opened_at_first_is_an_error_at_once() -> None:
    reader, notices = reader_of(VideoError("fake", "connection refused"))
    with reader:
        frames, end = drain(reader)
    assert (frames, notices, str(end.error)) == ([], [], "fake: connection refused")


def test_a_defect_in_the_thread_reaches_whoever_waits() -> None:
    reader, _ = reader_of(ZeroDivisionError("oops"))
    with reader:
        assert isinstance(drain(reader)[1].error, ZeroDivisionError)


def lines_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_file_gives_the_offline_answers(checkpoint: Path, video: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "logs" / "lines.jsonl"
    assert run(["watch", str(checkpoint), str(video), *WINDOWS]) == 0
    printed, told = capsys.readouterr()
    expected = list(
        gta.Predictor.from_checkpoint(checkpoint, device="cpu").predict_windows(video, window=0.8, hop=0.2, top_k=7)
    )
    found = lines_of(printed)
    assert [line["time"] for line in found] == [pytest.approx(p.end_seconds, abs=1e-5) for p in expected]
    for line, prediction in zip(found, expected, strict=True):
        assert dict(zip(line["labels"], line["scores"], strict=True)) == pytest.approx(
            dict(zip(prediction.labels, prediction.scores, strict=True)), abs=1e-5
        )
    assert f"{len(expected)} predictions in 1.8 s of video, 45 frames read, 0 dropped" in told
    assert run(["watch", str(checkpoint), str(video), *WINDOWS, "--output", str(output)]) == 0
    assert capsys.readouterr().out == ""
    assert lines_of(output.read_text()) == found


def test_a_file_played_in_real_time_stands_in_for_a_camera(checkpoint: Path, video: Path, capsys) -> None:
    began = time.monotonic()
    assert run(["watch", str(checkpoint), str(video), "--window", "0.8", "--device", "cpu", "--realtime"]) == 0
    assert time.monotonic() - began >= 1.7
    printed, told = capsys.readouterr()
    assert lines_of(printed)
    assert "45 frames read" in told


@contextlib.contextmanager
def standard_input(content: bytes, *, ends: bool = True) -> Iterator[None]:
    """Inside, standard input is a pipe with this content; if it does not end, with nothing more to come."""
    former = os.dup(0)
    reading, writing = os.pipe()
    os.dup2(reading, 0)
    os.close(reading)

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), os.fdopen(os.dup(writing), "wb") as pipe:
            pipe.write(content)
        if ends:
            os.close(writing)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        os.dup2(former, 0)
        os.close(former)
        if not ends:
            os.close(writing)
        writer.join()


@contextlib.contextmanager
def served(content: bytes) -> Iterator[str]:
    """A server on loopback that gives the content to whoever asks."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_standard_input_and_http_are_sources_too(checkpoint: Path, video: Path, capsys) -> None:
    run(["watch", str(checkpoint), str(video), *WINDOWS])
    expected = lines_of(capsys.readouterr().out)
    assert expected
    with standard_input(video.read_bytes()):
        assert run(["watch", str(checkpoint), "-", *WINDOWS]) == 0
    assert lines_of(capsys.readouterr().out) == expected
    with served(video.read_bytes()) as host:
        address = f"http://user:secret@{host}/live.ts?token=secret"
        began = time.monotonic()
        code = run(["watch", str(checkpoint), address, "--window", "0.8", "--device", "cpu", "--max-retries", "0"])
    assert time.monotonic() - began >= 1.7  # however fast a server sends, frames come as they were filmed
    printed, told = capsys.readouterr()
    assert "secret" not in told
    assert lines_of(printed)
    # Where the server names no duration, the end of a stream counts as a loss; the windows up to there are given.
    assert code == 0 or told.endswith("the stream ended; gave up\n")


def test_lines_come_at_once_and_a_signal_ends_a_source_that_hangs(checkpoint: Path, tmp_path: Path, capsys) -> None:
    content = encode(tmp_path / "long.ts", num_frames=120, rate=25).read_bytes()
    output = tmp_path / "lines.jsonl"

    def stop() -> None:
        while not output.exists() or "\n" not in output.read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    stopper = threading.Thread(target=stop, daemon=True)
    stopper.start()
    with standard_input(content, ends=False):
        code = run(["watch", str(checkpoint), "-", *WINDOWS, "--output", str(output)])
    stopper.join()
    assert code == 128 + signal.SIGTERM
    assert set(lines_of(output.read_text())[0]["labels"]) == set(CLASSES)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.startswith("gta watch: stopped by SIGTERM: ")
    assert ", 0 dropped" in told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_a_watch_after_the_prediction_at_hand(number: signal.Signals) -> None:
    reader, _ = reader_of(FakeVideo(1000, is_endless=True))
    given = []

    def give(prediction) -> None:
        given.append(prediction)
        signal.raise_signal(number)

    before = signal.getsignal(number)
    predictor = Predictor(Constant(), classes=CLASSES, clip=CLIP)
    with pytest.raises(WatchStopped, match=f"stopped by {number.name}: 1 predictions in 0.8 s") as stopped:
        watch(Stream(predictor, window=0.8, hop=0.2), reader, give, lambda _: None)
    assert stopped.value.exit_code == 128 + number
    assert len(given) == 1
    assert signal.getsignal(number) == before


def test_what_was_seen_before_a_source_failed_is_told() -> None:
    reader, _ = reader_of(FakeVideo(30, is_endless=False, error=VideoError("fake", "it is damaged")))
    predictor = Predictor(Constant(), classes=CLASSES, clip=CLIP)
    given, told = [], []
    with pytest.raises(VideoError, match="it is damaged"):
        watch(Stream(predictor, window=0.8, hop=0.2), reader, given.append, told.append)
    assert told == [f"{len(given)} predictions in 1.2 s of video, 30 frames read, 0 dropped"]


class Constant(nn.Module):
    """The same for every clip."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(len(CLASSES)))

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        return self.weight.expand(len(clip), -1)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("missing.mp4", "no such file"),
        (".", "this is a folder"),
        ("text.mp4", "cannot be opened as a video"),
        ("ftp://127.0.0.1/a.mp4", "addresses begin with rtsp"),
        ("rtsp://me:secret@127.0.0.1:9/a", "rtsp://127.0.0.1:9/a: it cannot be opened as a video (connection refused)"),
        ("/dev/video98", "/dev/video98: it cannot be opened as a video (no such file or directory)"),
    ],
)
def test_what_cannot_be_read_is_one_line(checkpoint: Path, tmp_path, monkeypatch, capsys, source, words) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.mp4").write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    assert run(["watch", str(checkpoint), source]) == 2
    printed, told = capsys.readouterr()
    assert printed == ""
    assert words in told
    assert told.count("\n") == 1
    assert "secret" not in told


def test_a_damaged_file_says_so_after_what_could_be_read(checkpoint: Path, tmp_path: Path, capsys) -> None:
    path = encode(tmp_path / "a.avi", codec="mjpeg", num_frames=60, pix_fmt="yuvj420p")
    content = bytearray(path.read_bytes())
    middle = len(content) * 3 // 4
    content[middle : middle + 3000] = bytes(3000)
    path.write_bytes(bytes(content))
    code = run(["watch", str(checkpoint), str(path), *WINDOWS])
    printed, told = capsys.readouterr()
    assert len(lines_of(printed)) >= 1
    assert code in (0, 2)
    assert "Traceback" not in told


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (["--hop", "0"], "--hop is 0"),
        (["--window", "-1"], "--window is -1"),
        (["--top-k", "0"], "--top-k is 0"),
        (["--max-retries", "-1"], "--max-retries is -1"),
    ],
)
def test_options_out_of_range_are_refused(option, words, capsys) -> None:
    assert run(["watch", "x.ckpt", "-", *option]) == 2
    assert words in capsys.readouterr().err


def test_kinds_of_sources(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("7").touch()
    kinds = {
        "-": "stdin",
        "0": "camera",
        "/dev/video1": "camera",
        "rtsp://a/b": "address",
        "a.mp4": "file",
        "7": "file",
    }
    assert {source: kind_of(source) for source in kinds} == kinds
    assert shown_name("rtsp://u:p@host:8554/cam?key=1") == "rtsp://host:8554/cam"


def test_joined_recordings_go_on_in_time(tmp_path: Path) -> None:
    one = encode(tmp_path / "one.ts", num_frames=10, rate=25).read_bytes()
    joined = tmp_path / "joined.ts"
    joined.write_bytes(one + one)
    with LiveVideo(str(joined)) as video:
        times = [time for _, time in video.frames()]
    assert len(times) == 20
    assert all(after > before for before, after in itertools.pairwise(times))
    assert float(times[-1]) == pytest.approx(0.76, abs=0.01)
