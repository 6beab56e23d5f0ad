"""`gta predict`: name the classes of videos."""

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gta.commands.arguments import CheckpointPath, VideoPaths, changed_options, parse_arguments
from gta.errors import OptionError, VideoError, require_least
from gta.terminal import print_json, print_line

if TYPE_CHECKING:
    from gta.predictor import Predictor
    from gta.types import Prediction, WindowPrediction

_NAMED = 3  # so many ignored files are named


_COMMON = (
    "--list",
    "--top-k",
    "--window",
    "--hop",
    "--json",
    "--manifest",
    "--output",
    "--device",
)  # what `--help` shows


@dataclass(frozen=True)
class PredictArguments:
    """Classify videos with a trained model."""

    checkpoint: CheckpointPath
    """Checkpoint (.ckpt) of a training run, a folder that `gta export` wrote, or hf://owner/name."""
    videos: VideoPaths = ()
    """Video files, folders of numbered frames, folders with videos at any depth, or quoted patterns such as
    "clips/**/*.mp4"."""
    list: Path | None = None
    """Text file with more videos, one per line; `-` reads standard input."""
    top_k: int | None = None
    """How many classes to show; by default 5 per video, or 1 per window."""
    window: float | None = None
    """Classify windows of this many seconds, one after the other, instead of whole videos."""
    hop: float | None = None
    """With --window: seconds from the start of one window to that of the next; by default, the length of a window."""
    json: bool = False
    """Print JSON instead of a table."""
    batch_size: int = 1
    """Videos that go through the model together; not with --manifest or --window."""
    device: str = "auto"
    """Where to compute: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, ..."""
    trust: bool = False
    """Load an exported folder of the formats torch or aoti, whose files can run arbitrary code."""
    manifest: str | None = None
    """Classify many videos: a list (.csv, .jsonl, .txt), a folder or a glob pattern; needs --output."""
    output: Path | None = None
    """With --manifest: the table to write, .parquet, .csv or .jsonl. Repeat an interrupted command to resume it."""
    engine: Literal["processes", "ray"] = "processes"
    """With --manifest: `processes` on this machine, or actors on a `ray` cluster (RAY_ADDRESS, or one started here)."""
    num_workers: int | None = None
    """With --manifest: worker processes, by default one per core; with Ray, actors, by default as many as fit."""
    gpus_per_worker: float = 0.0
    """With --engine ray: share of a GPU for each actor, such as 0.25; 0 computes on CPUs."""
    shard_size: int = 256
    """With --manifest: number of videos whose rows are written together."""
    time_limit: float = 180.0
    """With --manifest: seconds after which a video is given up."""
    overwrite: bool = False
    """With --manifest: start again and replace --output. To resume such a run, repeat the same command."""

    def __post_init__(self) -> None:
        if self.top_k is not None and self.top_k < 1:
            raise OptionError(f"--top-k is {self.top_k}: at least one class is needed")
        require_least(self, batch_size=1)
        for option, seconds in (("--window", self.window), ("--hop", self.hop)):
            if seconds is not None and not 0 < seconds < math.inf:
                raise OptionError(f"{option} is {seconds:g}: it must be above 0 seconds")
        if self.hop is not None and self.window is None:
            raise OptionError("--hop requires --window: give the length of the windows")
        if self.window is not None and self.batch_size > 1:
            raise OptionError("--window classifies window by window: omit --batch-size")
        if (self.manifest is None) != (self.output is None):
            raise OptionError("--manifest and --output go together: the videos, and the table to write")
        self._check_bulk()
        if self.manifest is not None and (self.videos or self.list or self.window is not None or self.json):
            raise OptionError("--manifest replaces videos, --list, --window and --json: omit them")

    def _check_bulk(self) -> None:
        """Refuse options that would be ignored."""
        if self.manifest is not None:
            if self.batch_size > 1:
                raise OptionError("--manifest reads and classifies video by video: omit --batch-size")
            if not self.time_limit > 0:
                raise OptionError(f"--time-limit is {self.time_limit:g}: it must be above 0 seconds")
            return
        bulk = ("engine", "num_workers", "gpus_per_worker", "shard_size", "time_limit", "overwrite")
        if ignored := changed_options(self, *bulk):
            raise OptionError(f"{ignored[0]} requires --manifest, the prediction of many videos")


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta predict`."""
    options = parse_arguments(
        PredictArguments, arguments, command="gta predict", renamed={"--topk": "--top-k"}, common=_COMMON
    )
    if options.manifest is not None:
        _predict_many(options)
        return
    videos = _videos(options)
    from gta.predictor import load_predictor

    predictor = load_predictor(options.checkpoint, device=options.device, trust=options.trust)
    found: list[dict[str, Any]] = []
    failures: list[VideoError] = []
    for entry in _whole(predictor, videos, options) if options.window is None else _windows(predictor, videos, options):
        found.append(entry)
        if "error" in entry:
            failures.append(VideoError(entry["path"], entry["error"]))
    if options.json:
        print_json(found)
    if failures:
        for failure in failures[:-1]:
            print_line(f"gta predict: {failure}", file=sys.stderr)
        raise failures[-1]


def _predict_many(options: PredictArguments) -> None:
    from gta.bulk.run import BulkOptions, predict_many

    how = BulkOptions(
        top_k=options.top_k or 5,
        device=options.device,
        engine=options.engine,
        num_workers=options.num_workers,
        gpus_per_worker=options.gpus_per_worker,
        shard_size=options.shard_size,
        time_limit_seconds=options.time_limit,
        overwrite=options.overwrite,
        trust=options.trust,
    )
    print_line(predict_many(options.checkpoint, str(options.manifest), str(options.output), how))


def _videos(options: PredictArguments) -> tuple[Path, ...]:
    """The videos that the options name; what else lies in their folders is told on stderr."""
    if not options.videos and options.list is None:
        raise OptionError("no video given: name one or more videos or folders after the checkpoint, or give --list")
    from gta.datasets.finding import find_videos, read_path_list

    found = find_videos([*options.videos, *(read_path_list(options.list) if options.list else ())])
    if found.ignored:
        names = ", ".join(str(path) for path in found.ignored[:_NAMED])
        more = f" and {len(found.ignored) - _NAMED} more" if len(found.ignored) > _NAMED else ""
        print_line(f"gta predict: ignored, not videos: {names}{more}", file=sys.stderr)
    return found.videos


def _whole(predictor: "Predictor", videos: tuple[Path, ...], options: PredictArguments) -> Iterator[dict[str, Any]]:
    """A prediction for each video."""
    predictions = predictor.predict_each(videos, top_k=options.top_k or 5, batch_size=options.batch_size)
    for path, prediction in zip(videos, predictions, strict=True):
        entry: dict[str, Any] = {"path": str(path)}
        if prediction.error is not None:
            yield {**entry, "error": prediction.error}
            continue
        yield {**entry, "predictions": _scores(prediction)}
        if not options.json:
            print_line(path)
            for label, score in zip(prediction.labels, prediction.scores, strict=True):
                print_line(f"  {100 * score:5.1f} %  {label}")


def _windows(predictor: "Predictor", videos: tuple[Path, ...], options: PredictArguments) -> Iterator[dict[str, Any]]:
    """The predictions for the windows of each video."""
    for path in videos:
        entry: dict[str, Any] = {"path": str(path), "windows": []}
        try:
            _print_windows(predictor, path, options, entry["windows"])
        except VideoError as error:
            entry["error"] = error.reason
        yield entry


def _print_windows(predictor: "Predictor", path: Path, options: PredictArguments, windows: list[Any]) -> None:
    if not options.json:
        print_line(path)
    found = predictor.predict_windows(path, window=options.window or 0, hop=options.hop, top_k=options.top_k or 1)
    for part in found:
        times = {"start_seconds": round(part.start_seconds, 6), "end_seconds": round(part.end_seconds, 6)}
        if options.json:
            windows.append({**times, "predictions": _scores(part)})
            continue
        named = "   ".join(f"{100 * s:5.1f} %  {label}" for label, s in zip(part.labels, part.scores, strict=True))
        print_line(f"  {part.start_seconds:9.2f} - {part.end_seconds:9.2f} s  {named}")


def _scores(prediction: "Prediction | WindowPrediction") -> list[dict[str, Any]]:
    return [{"label": label, "score": score} for label, score in zip(prediction.labels, prediction.scores, strict=True)]
