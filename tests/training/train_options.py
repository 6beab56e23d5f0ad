"""Options of a small training for tests, and the one line that a mistake prints."""

import pytest

SMALL = [
    "--data.num-workers=0",
    "--data.batch-size=4",
    "--run.accelerator=cpu",
    "--run.max-epochs=1",
    "--run.num-threads=1",
    "--data.clip.crop-size=32",
    "--data.clip.resize",
    "36",
    "48",
]


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("gta ")]
    assert len(lines) == 1, lines
    return lines[0]
