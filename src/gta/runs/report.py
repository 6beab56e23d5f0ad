"""Writing the report of a training run or of an evaluation: its numbers, and frames of the videos that it got wrong."""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from gta.datasets.listing import VideoList
from gta.errors import VideoError
from gta.files import clear_failures, write_text
from gta.training.folder import REPORT
from gta.types import VideoRecord
from gta.video.reading import open_video
from gta.video.resize import resize
from gta.viz.frames import spread
from gta.viz.parts import Confusion, ExampleVideo
from gta.viz.run_report import Measured, TrainingReport, evaluation_page, training_page

if TYPE_CHECKING:
    from gta.training.fit import TrainResult  # with Lightning, which evaluations do without

_HEIGHT = 192  # pixels of a frame in a report


def write_training_report(
    result: "TrainResult", *, model: str, config: Mapping[str, Any], validation: VideoList
) -> Path:
    """Write report.html into the run folder.

    Args:
        result: what the run left.
        model: name of the network.
        config: the whole resolved configuration.
        validation: the videos that it was validated on.

    Raises:
        RunFolderError: it cannot be written.
    """
    best = measured(result.best, validation) if result.best else None
    report = TrainingReport(
        title=f"Training run {result.folder}",
        model=model,
        rows=result.rows,
        timing=result.timing,
        best_epoch=result.best_epoch,
        best=best,
        steps=result.steps,
        bad_steps=result.bad_steps,
        stopped_early=result.stopped_early,
        config=config,
        versions=result.versions,
        skipped=sorted(result.skipped.items()),
        next_commands=[shlex.join(["gta", command, str(result.best_checkpoint)]) for command in ("evaluate", "probe")]
        if best
        else [],
    )
    path = result.folder / REPORT
    with clear_failures(path):
        write_text(path, training_page(report))
    return path


def write_evaluation_report(path: Path, values: Mapping[str, Any], videos: VideoList) -> None:
    """Write the report of an evaluation.

    Args:
        path: the HTML file.
        values: what `gta evaluate` writes as JSON.
        videos: the videos that were evaluated.
    """
    write_text(path, evaluation_page(f"Evaluation of {values['checkpoint']}", measured(values, videos)))


def measured(values: Mapping[str, Any], videos: VideoList) -> Measured:
    """A stored evaluation with frames of its worst confusions.

    Args:
        values: from `EvaluationResult.to_json`.
        videos: the videos, in the order that its positions refer to.
    """
    per_class = values["per_class"]
    confusions = [
        Confusion(
            truth=pair["true"],
            predicted=pair["predicted"],
            count=pair["count"],
            num_videos=per_class[pair["true"]]["num_videos"],
            examples=_examples(pair["index"], videos.records),
        )
        for pair in values.get("worst_confusions", [])
    ]
    return Measured(values, tuple(confusions))


def _examples(positions: Sequence[int], records: Sequence[VideoRecord]) -> tuple[ExampleVideo, ...]:
    """Frames of videos; a run may have gone on with fewer videos than it was started with."""
    return tuple(_example(records[position]) for position in positions if position < len(records))


def _example(record: VideoRecord) -> ExampleVideo:
    try:
        with open_video(record.path) as video:
            first, last = video.frame_range(record.start_seconds, record.end_seconds)
            frames = video.read([first + number for number in spread(last - first)], fit=_reduce)
    except VideoError as error:
        return ExampleVideo(str(record.path), None, f"cannot be shown: {error.reason}")
    return ExampleVideo(str(record.path), frames.permute(0, 2, 3, 1).numpy())


def _reduce(frame: torch.Tensor) -> torch.Tensor:
    """A frame, uint8 (3, H, W), at most `_HEIGHT` pixels high: a report needs no more, and a few large ones would fill
    the memory.
    """
    height, width = frame.shape[1:]
    if height <= _HEIGHT:
        return frame
    return resize(frame, (_HEIGHT, max(1, round(width * _HEIGHT / height))))
