"""TensorBoard's curves are written, and a disk without room for them does not stop the run."""

import errno
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter

from gta.training.curves import open_curves


def test_values_are_written_and_a_resumed_run_goes_on(tmp_path: Path) -> None:
    said: list[str] = []
    with open_curves(tmp_path, said.append) as add:
        assert add is not None
        for step in (1, 2, 3):
            add("loss", float(step), step)
    with open_curves(tmp_path, said.append, resumed_at=1) as add:
        assert add is not None
        add("loss", 20.0, 2)
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("loss")
    assert [(event.step, event.value) for event in events] == [(1, 1.0), (2, 20.0)]
    assert said == []


@pytest.mark.parametrize("records_before_it_is_full", [0, 3])
def test_a_full_disk_is_told_once_and_the_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], records_before_it_is_full: int
) -> None:
    real, written = RecordWriter.write, []

    def write(self: RecordWriter, data: bytes) -> None:
        if len(written) >= records_before_it_is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(data)
        real(self, data)

    monkeypatch.setattr(RecordWriter, "write", write)
    said: list[str] = []
    with open_curves(tmp_path, said.append) as add:
        assert add is not None
        for step in range(20):
            add("loss", 1.0, step)
            time.sleep(0.01)  # the writing thread needs a moment to fail
    assert len(said) == 1
    assert said[0].endswith("TensorBoard's curves end here, because they cannot be written: No space left on device")
    assert capfd.readouterr().err == ""
