"""A cell reports its own memory."""

import subprocess
import sys

PROGRAM = """
import subprocess, sys
ballast = bytearray(1500 * 2**20)
code = "from gta.studies.cell import process_memory_mib; print(*process_memory_mib())"
print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
"""


def test_memory_of_a_process_is_not_that_of_the_one_that_started_it():
    """`ru_maxrss` would begin with the parent's 1500 MiB of ballast on top of its own imports."""
    direct = subprocess.run(
        [sys.executable, "-c", "from gta.studies.cell import process_memory_mib; print(*process_memory_mib())"],
        capture_output=True,
        text=True,
        check=True,
    )
    nested = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    (now, peak), (_, nested_peak) = ([float(word) for word in done.stdout.split()] for done in (direct, nested))
    assert 50 < now <= peak
    assert abs(nested_peak - peak) < 100
