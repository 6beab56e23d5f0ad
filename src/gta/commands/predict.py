"""`gta predict`: say what happens in video files."""

import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from gta.commands.arguments import parse_arguments
from gta.errors import OptionError, VideoError
from gta.terminal import print_json, print_line

if TYPE_CHECKING:
    from gta.predictor import Predictor
    from gta.types import Prediction, WindowPrediction


@dataclass(frozen=True)
class PredictArguments:
    """Name the classes of video files with a trained model."""

    checkpoint: tyro.conf.Positional[Path]
    """Checkpoint (.ckpt) of a training run."""
    videos: tyro.conf.Positional[tuple[Path, ...]]
    """Video files, or folders of JPEG frames."""
    topk: int | None = None
    """How many classes to name; 5 for each video if not given, 1 for each window."""
    window: float | None = None
    """Classify windows of this many seconds, one after the other, instead of whole videos."""
    hop: float | None = None
    """With --window: seconds from the beginning of one window to that of the next; as long as a window if not given."""
    json: bool = False
    """Print JSON instead of a table."""
    device: str = "auto"
    """Where to compute: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, ..."""

    def __post_init__(self) -> None:
        if self.topk is not None and self.topk < 1:
            raise OptionError(f"--topk is {self.topk}: at least one class is needed")
        for option, seconds in (("--window", self.window), ("--hop", self.hop)):
            if seconds is not None and not 0 < seconds < math.inf:
                raise OptionError(f"{option} is {seconds:g}: it must be above 0 seconds")
        if self.hop is not None and self.window is None:
            raise OptionError("--hop goes with --window: say how long the windows are")


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta predict`."""
    options = parse_arguments(PredictArguments, arguments, command="gta predict")
    if not options.videos:
        raise OptionError("no video given: name one or more video files after the checkpoint")
    from gta.predictor import Predictor

    predictor = Predictor.from_checkpoint(options.checkpoint, device=options.device)
    found: list[dict[str, Any]] = []
    failures: list[VideoError] = []
    for path in options.videos:
        entry: dict[str, Any] = {"path": str(path)}
        found.append(entry)
        try:
            if options.window is None:
                _predict(predictor, path, options, entry)
            else:
                _predict_windows(predictor, path, options, options.window, entry)
        except VideoError as error:
            failures.append(_with_advice(error))
            entry["error"] = failures[-1].reason
    if options.json:
        print_json(found)
    if failures:
        for failure in failures[:-1]:
            print_line(f"gta predict: {failure}", file=sys.stderr)
        raise failures[-1]


def _predict(predictor: "Predictor", path: Path, options: PredictArguments, entry: dict[str, Any]) -> None:
    prediction = predictor.predict(path, topk=options.topk or 5)
    entry["predictions"] = _scores(prediction)
    if not options.json:
        print_line(path)
        for label, score in zip(prediction.labels, prediction.scores, strict=True):
            print_line(f"  {100 * score:5.1f} %  {label}")


def _predict_windows(
    predictor: "Predictor", path: Path, options: PredictArguments, window: float, entry: dict[str, Any]
) -> None:
    entry["windows"] = []
    if not options.json:
        print_line(path)
    found = predictor.predict_windows(path, window_seconds=window, hop_seconds=options.hop, topk=options.topk or 1)
    for part in found:
        times = {"start_seconds": round(part.start_seconds, 6), "end_seconds": round(part.end_seconds, 6)}
        if options.json:
            entry["windows"].append({**times, "predictions": _scores(part)})
            continue
        named = "   ".join(f"{100 * s:5.1f} %  {label}" for label, s in zip(part.labels, part.scores, strict=True))
        print_line(f"  {part.start_seconds:9.2f} - {part.end_seconds:9.2f} s  {named}")


def _scores(prediction: "Prediction | WindowPrediction") -> list[dict[str, Any]]:
    return [{"label": label, "score": score} for label, score in zip(prediction.labels, prediction.scores, strict=True)]


def _with_advice(error: VideoError) -> VideoError:
    """Say what to do where a folder of videos was named instead of the videos."""
    from gta.datasets.layouts.common import is_video_name

    suffixes = {path.suffix for path in error.path.iterdir() if is_video_name(path.name)} if error.path.is_dir() else ()
    if not suffixes:
        return error
    return VideoError(error.path, f"a folder of videos: give the files, e.g. {error.path}/*{min(suffixes)}")
