"""`gta watch`: say what happens in a video while it comes in."""

import contextlib
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from gta.commands.arguments import CheckpointPath, parse_arguments
from gta.errors import OptionError, require_least
from gta.terminal import print_line

if TYPE_CHECKING:
    from gta.types import WindowPrediction


@dataclass(frozen=True)
class WatchArguments:
    """Classify a live video window by window, with one line of JSON per window.

    Cameras and network streams do not wait: frames that arrive faster than they can be classified are dropped, and the
    summary at the end says how many. If such a source is lost, it is reopened.
    """

    checkpoint: CheckpointPath
    """Checkpoint (.ckpt) of a training run, a folder that `gta export` wrote, or hf://owner/name."""
    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """A video file, `-` for standard input, a camera (its number or device, e.g. 0 or /dev/video0), or an rtsp:// or
    http:// address."""
    hop: float | None = None
    """Seconds from the start of one window to that of the next; by default, the distance between sampled frames."""
    window: float = 2.0
    """Length of a window in seconds."""
    top_k: int = 5
    """How many classes to report."""
    output: Path | None = None
    """File to append the lines to, instead of printing them."""
    realtime: bool = False
    """Play a file (or standard input) at the speed at which it was filmed, as if it were a camera."""
    max_retries: int = 10
    """How many times in a row to try to reopen a lost camera or address, with delays growing to 30 s."""
    device: str = "auto"
    """Where to compute: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, ..."""
    trust: bool = False
    """Load an exported folder of the formats torch or aoti, whose files can run arbitrary code."""

    def __post_init__(self) -> None:
        if self.top_k < 1:
            raise OptionError(f"--top-k is {self.top_k}: at least one class is needed")
        require_least(self, max_retries=0)
        for option, seconds in (("--window", self.window), ("--hop", self.hop)):
            if seconds is not None and not 0 < seconds < math.inf:
                raise OptionError(f"{option} is {seconds:g}: it must be above 0 seconds")


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta watch`."""
    options = parse_arguments(WatchArguments, arguments, command="gta watch")
    from gta.predictor import load_predictor
    from gta.streaming.reader import FrameReader
    from gta.streaming.stream import Stream
    from gta.streaming.watching import watch
    from gta.video.live import LiveVideo, kind_of, shown_name

    kind = kind_of(options.source)
    predictor = load_predictor(options.checkpoint, device=options.device, trust=options.trust)
    stream = Stream(
        predictor, hop=options.hop, window=options.window, top_k=options.top_k, name=shown_name(options.source)
    )
    reader = FrameReader(
        lambda: LiveVideo(options.source),
        live=kind in ("camera", "address"),
        # A server may send faster than the video was filmed: that is no reason to drop frames.
        paced=kind == "address" or (options.realtime and kind != "camera"),
        backlog=stream.hop,
        max_retries=options.max_retries,
        notify=_notify,
    )
    with _lines(options.output) as out:
        summary = watch(stream, reader, lambda found: _write(out, found), _notify)
    _notify(str(summary))


def _notify(text: str) -> None:
    print_line(f"gta watch: {text}", file=sys.stderr)


@contextlib.contextmanager
def _lines(output: Path | None) -> Iterator[Any]:
    if output is None:
        yield sys.stdout
        return
    # Not written aside and renamed: others read along.
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("a", encoding="utf-8") as file:
        yield file


def _write(out: Any, found: "WindowPrediction") -> None:
    line = {
        "time": round(found.end_seconds, 6),
        "start_seconds": round(found.start_seconds, 6),
        "end_seconds": round(found.end_seconds, 6),
        "labels": list(found.labels),
        "scores": [round(score, 6) for score in found.scores],
    }
    out.write(json.dumps(line) + "\n")  # ASCII: names of classes steer no terminal
    out.flush()  # whoever reads along sees each window at once
