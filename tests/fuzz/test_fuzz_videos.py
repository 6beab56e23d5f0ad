"""A short run of the fuzzer; `make fuzz` is the long one."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from video_cases import SOURCES, encode_sources, read_as_user, video_cases

from fuzz import Job, Worker, fuzz


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return encode_sources(tmp_path_factory.mktemp("sources"))


def test_undamaged_sources_are_read(sources: list[Path]) -> None:
    assert [read_as_user(path) for path in sources] == ["read"] * len(SOURCES)


def test_damaged_videos_end_in_frames_or_in_one_line(sources: list[Path], tmp_path: Path) -> None:
    jobs = (Job(case.name, case.file_name, case.data, read_as_user) for case in video_cases(sources, 1, 75))
    tally = fuzz("videos", jobs, tmp_path)
    assert tally.findings == []
    assert sum(tally.outcomes.values()) == 75
    assert tally.outcomes["read"] > 5
    assert tally.outcomes["varies"] <= 1
    assert tally.outcomes["refused"] > 5


def test_cases_follow_from_seed_and_number(sources: list[Path]) -> None:
    whole = list(video_cases(sources, 3, 30))
    assert whole[20:24] == list(video_cases(sources, 3, 4, first=20))
    assert whole != list(video_cases(sources, 4, 30))


def _die(_: Path) -> str:
    os._exit(77)


def _foreign(_: Path) -> str:
    raise IndexError("list index out of range")


def _fine(_: Path) -> str:
    return "read"


def _sleep(_: Path) -> str:
    time.sleep(60)
    return "read"


def _grow(_: Path) -> str:
    return str(len(bytearray(b"x") * (300 << 20)))


@pytest.mark.parametrize(
    ("read", "outcome"),
    [(_die, "crash"), (_foreign, "foreign")],
)
def test_the_fuzzer_sees_what_it_looks_for(read: Callable[[Path], str], outcome: str, tmp_path: Path) -> None:
    def jobs() -> Iterator[Job]:
        yield Job("a case", "a.bin", b"x", read)
        yield Job("the next one", "b.bin", b"x", _fine)

    tally = fuzz("anything", jobs(), tmp_path)
    assert tally.outcomes[outcome] == 1
    assert len(tally.findings) == 1
    assert tally.outcomes["read"] == 1, "the worker was not replaced"


def test_silence_and_memory_are_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fuzz.MAX_SECONDS", 0.3)
    worker = Worker()
    assert worker.run(Job("slow", "s", b"", _sleep), tmp_path)[0] == "hang"
    monkeypatch.setattr("fuzz.MAX_SECONDS", 20)
    outcome, _, peak = worker.run(Job("large", "l", b"", _grow), tmp_path)
    worker.close()
    assert outcome == str(300 << 20)
    assert peak > 300 << 20
