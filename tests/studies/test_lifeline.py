"""A cell ends when the study's end of its standard input closes, in time and in order."""

import signal
import subprocess
import sys
import time

CODE = """
import signal, sys, time
from gta.studies.lifeline import end_with_input
def stop(number, frame):
    print("checkpoint", flush=True)
    sys.exit(7)
if {handled}:
    signal.signal(signal.SIGTERM, stop)
end_with_input()
print("started", flush=True)
time.sleep({seconds})
"""


def start(*, handled: bool, seconds: float) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", CODE.format(handled=handled, seconds=seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_it_is_asked_to_stop_when_the_input_ends():
    process = start(handled=True, seconds=60)
    assert process.stdout.readline() == "started\n"
    process.stdin.close()
    assert process.wait(30) == 7
    assert process.stdout.read() == "checkpoint\n"


def test_without_a_handler_it_ends_too():
    process = start(handled=False, seconds=60)
    process.stdout.readline()
    process.stdin.close()
    assert process.wait(30) == -signal.SIGTERM


def test_a_process_that_finishes_by_itself_ends_well():
    process = start(handled=True, seconds=0)
    assert process.wait(30) == 0
    process.stdin.close()


STUDY = """
import subprocess, sys
from pathlib import Path
from gta.studies.grids import Grid, Row
from gta.studies.runner import plan_cells, run_cells
folder = Path(sys.argv[1])
cells = plan_cells(Grid("g", "G", "?", (Row("a", "A", "tiny"), Row("b", "B", "tiny")), ("a",)), (0,), folder)
def start(cell):
    with (folder / cell.row.key).open("w") as log:
        code = [sys.executable, "-c", {code!r}]
        return subprocess.Popen(code, stdin=subprocess.PIPE, stdout=log, start_new_session=True)
run_cells(cells, jobs=2, start=start, on_change=lambda now: None)
"""


def test_cells_of_a_killed_study_write_a_checkpoint_and_end(tmp_path):
    study = subprocess.Popen([sys.executable, "-c", STUDY.format(code=CODE.format(handled=True, seconds=60)), tmp_path])
    wait_for(tmp_path, "started\n")
    study.kill()
    study.wait()
    wait_for(tmp_path, "started\ncheckpoint\n")


def wait_for(folder, text):
    """Until both cells have written this."""
    deadline = time.monotonic() + 30
    while [path.read_text() for path in folder.iterdir()] != [text, text]:
        assert time.monotonic() < deadline, [path.read_text() for path in folder.iterdir()]
        time.sleep(0.05)
