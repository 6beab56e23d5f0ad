"""Names from files and classes steer neither the terminal nor a figure."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gta.cli import run
from gta.terminal import print_json, printable
from gta.viz.figures import plain_text, png_bytes
from gta.viz.study import Bar, accuracy_figure, probe_figure, seed_curve_figure, sensitivity_figure

EVIL = "a\x1b[31mb\nc\r\x07\u202ed"
SHOWN = "a\\x1b[31mb\\nc\\r\\x07\\u202ed"


def _is_calm(text: str) -> bool:
    return not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2066\u2028" for c in text.replace("\n", ""))


def test_what_steers_is_shown() -> None:
    assert printable(EVIL) == SHOWN
    assert printable(Path("plain.mp4")) == "plain.mp4"
    for kept in ("caf\u00e9", "\u8d70\u308b", "\u0639\u0631\u0628\u064a", "\U0001f469\u200d\U0001f373", "a  b"):
        assert printable(kept) == kept
    assert printable("\udce9") == "\\udce9"


@given(st.text())
def test_any_text_is_one_calm_line(text: str) -> None:
    shown = printable(text)
    assert "\n" not in shown
    assert _is_calm(shown)
    assert printable(shown) == shown


@given(
    st.recursive(
        st.text() | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_json_is_calm_and_reads_back(value) -> None:
    import contextlib
    import io

    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        print_json(value)
    assert json.loads(text.getvalue()) == value
    assert _is_calm(text.getvalue())


NAMES = (EVIL, "$x_{", "a $ b $ c", r"\frac{", "^_^", "$$")


def test_names_do_not_break_figures() -> None:
    assert plain_text("$x_{") == r"\$x_{"
    count = len(NAMES)
    figures = [
        accuracy_figure([Bar(name, [0.5], part=name) for name in NAMES], ceiling=None, title="$x_{", x_label="%"),
        seed_curve_figure({name: [[1.0, 0.5]] for name in NAMES}, ceiling=None, title="$x_{", y_label="%"),
        probe_figure(dict.fromkeys(NAMES, 0.5), title="loss $"),
        sensitivity_figure(NAMES, ("reversed", "$shuffled{"), np.zeros((count, 2))),
    ]
    for figure in figures:
        assert png_bytes(figure).startswith(b"\x89PNG")
    drawn = [text.get_text() for text in figures[-1].axes[0].get_yticklabels()]
    assert drawn[1] == r"\$x_{"


@pytest.fixture(scope="module")
def evil_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set of two classes with evil names, one video of which is broken, and a run on it."""
    from video_files import encode

    root = tmp_path_factory.mktemp("evil")
    for split in ("train", "val"):
        for number, name in enumerate((EVIL, "$x_{")):
            for video in range(2):
                encode(root / "set" / split / name / f"v{video}\x1b[2J.mp4", num_frames=8, seed=number + video)
    (root / "set" / "val" / EVIL / "bad\x1b[2J.mp4").write_bytes(b"\x00\x01 no video")
    options = [
        "--run.max-epochs",
        "1",
        "--data.num-workers",
        "0",
        "--data.clip.crop-size",
        "32",
        "--data.batch-size",
        "2",
    ]
    folder = root / "run"
    assert run(["train", "synthetic", f"--data.root={root / 'set'}", f"--run.folder={folder}", *options]) == 0
    return root / "set", folder


@pytest.mark.parametrize("command", ["train", "evaluate", "predict", "predict json", "check", "probe", "error"])
def test_no_command_passes_an_escape_on(evil_run, command: str, capsys, tmp_path: Path) -> None:
    root, folder = evil_run
    best, video = str(folder / "best.ckpt"), str(next((root / "val" / EVIL).glob("v0*")))
    lines = {
        "train": ["train", str(folder), "--resume"],
        "evaluate": ["evaluate", best, str(root), "--num-workers", "0"],
        "predict": ["predict", best, video],
        "predict json": ["predict", best, video, "--json"],
        "check": ["data", "check", str(root), "--num-workers", "0"],
        "probe": ["probe", best, str(root), "--num-workers", "0", "--num-permutations", "1", "--output", str(tmp_path)],
        "error": ["predict", best, str(root / "val" / EVIL / "bad\x1b[2J.mp4")],
    }
    code = run(lines[command])
    assert code == (2 if command == "error" else 0)
    shown = capsys.readouterr()
    assert _is_calm(shown.out + shown.err)
    if command in ("predict", "check", "error"):
        assert "\\x1b[" in shown.out + shown.err
