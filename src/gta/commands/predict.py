"""`gta predict`: say what happens in video files."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from gta.commands.arguments import parse_arguments
from gta.errors import OptionError, VideoError


@dataclass(frozen=True)
class PredictArguments:
    """Name the classes of video files with a trained model."""

    checkpoint: tyro.conf.Positional[Path]
    """Checkpoint (.ckpt) of a training run."""
    videos: tyro.conf.Positional[tuple[Path, ...]]
    """Video files, or folders of JPEG frames."""
    topk: int = 5
    """How many classes to name for each video."""
    json: bool = False
    """Print JSON instead of a table."""
    device: str = "auto"
    """Where to compute: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, ..."""


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta predict`."""
    options = parse_arguments(PredictArguments, arguments, command="gta predict")
    if not options.videos:
        raise OptionError("no video given: name one or more video files after the checkpoint")
    if options.topk < 1:
        raise OptionError(f"--topk is {options.topk}: at least one class is needed")
    from gta.predictor import Predictor

    predictor = Predictor.from_checkpoint(options.checkpoint, device=options.device)
    found: list[dict[str, Any]] = []
    failures: list[VideoError] = []
    for path in options.videos:
        try:
            prediction = predictor.predict(path, topk=options.topk)
        except VideoError as error:
            failures.append(_with_advice(error))
            found.append({"path": str(path), "error": failures[-1].reason})
            continue
        scores = [
            {"label": label, "score": score} for label, score in zip(prediction.labels, prediction.scores, strict=True)
        ]
        found.append({"path": str(path), "predictions": scores})
        if not options.json:
            print(f"{path}")
            for entry in scores:
                print(f"  {100 * entry['score']:5.1f} %  {entry['label']}")
    if options.json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
    if failures:
        for failure in failures[:-1]:
            print(f"gta predict: {failure}", file=sys.stderr)
        raise failures[-1]


def _with_advice(error: VideoError) -> VideoError:
    """Say what to do where a folder of videos was named instead of the videos."""
    from gta.data.layouts.common import is_video_name

    suffixes = {path.suffix for path in error.path.iterdir() if is_video_name(path.name)} if error.path.is_dir() else ()
    if not suffixes:
        return error
    return VideoError(error.path, f"a folder of videos: give the files, e.g. {error.path}/*{min(suffixes)}")
