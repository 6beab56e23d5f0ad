"""A cell ends when the study's end of its standard input closes, in time and in order."""

import signal
import subprocess
import sys

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
