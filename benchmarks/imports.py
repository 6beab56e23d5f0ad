"""What importing costs: CPU seconds of fresh processes, interleaved, medians, as ratios to `import torch`.

Run: python benchmarks/imports.py [--repeats 5]
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys

STATEMENTS = {
    "python alone": "pass",
    "import torch": "import torch",
    "import gta": "import gta",
    "import gta, torch": "import gta, torch",
    "gta --help": "from gta.cli import run; run(['--help'])",
    "gta trian (mistyped)": "from gta.cli import run; run(['trian'])",
    "gta train --help": "from gta.cli import main; import sys; sys.argv = ['gta', 'train', '--help']; main()",
}


def cpu_seconds(statement: str) -> float:
    """Return user + system seconds of a fresh interpreter that runs `statement`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-c", statement],
        check=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Interleave the statements and print medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    times: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for _ in range(repeats + 1):
        for name, statement in STATEMENTS.items():
            times[name].append(cpu_seconds(statement))
    medians = {name: statistics.median(values[1:]) for name, values in times.items()}  # the first round warms caches
    print(f"{'statement':<24} {'CPU s':>7} {'/ import torch':>15}")
    for name, seconds in medians.items():
        print(f"{name:<24} {seconds:>7.3f} {seconds / medians['import torch']:>15.3f}")


if __name__ == "__main__":
    main()
