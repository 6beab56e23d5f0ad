"""`gta export`: a checkpoint as files that run elsewhere."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from gta.commands.arguments import CheckpointPath, changed_options, parse_arguments
from gta.errors import DataError, OptionError, require_least
from gta.terminal import print_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from gta.checkpoint import Checkpoint
    from gta.config import ClipConfig
    from gta.datasets.listing import VideoList
    from gta.export.card import ExportCard
    from gta.export.clips import VideoPart
    from gta.export.runtimes import ExportedModel

    Clip = NDArray[np.uint8]


_FEW = 32
"""Fewer clips to calibrate with are warned of: twice as many as the trained model that was measured needed."""

_COMMON = (
    "--to",
    "--precision",
    "--dynamic-batch",
    "--calibration",
    "--data",
    "--benchmark",
    "--output",
    "--overwrite",
)  # what `--help` shows


@dataclass(frozen=True)
class ExportArguments:
    """Write a checkpoint for another runtime, with a card that describes it, and compare both on clips.

    The exported network reads uint8 clips and normalises them itself; `gta predict` and `gta evaluate` accept it in
    place of the checkpoint.
    """

    checkpoint: CheckpointPath
    """Checkpoint (.ckpt) of a training run, a file from `gta convert`, or hf://owner/name."""
    to: tuple[Literal["torch", "onnx", "openvino", "aoti"], ...]
    """Formats to write: PyTorch's exported programs (torch), ONNX Runtime, OpenVINO, or compiled code for this
    machine (aoti). You can name several."""
    precision: Literal["float32", "bf16", "int8"] = "float32"
    """Precision: int8 for onnx and openvino, bf16 for all but onnx."""
    calibration: Path | None = None
    """Videos to calibrate int8 with: a data set, whose training videos are used, or a folder of videos; the data of
    the training run if not given. Without known validation videos, some are held out for the comparison."""
    data: Path | None = None
    """Labelled data set: measure the top-1 of its validation videos before and after, and compare on them."""
    dynamic_batch: bool = False
    """Accept any number of clips per call, instead of `--batch-size`."""
    batch_size: int = 1
    """Clips per call, also in the benchmark."""
    scores: Literal["logits", "probabilities"] = "logits"
    """What the exported model returns."""
    clips: int = 16
    """Number of clips to compare on."""
    calibration_clips: int = 128
    """With int8: maximum number of clips to calibrate with."""
    limit: float | None = None
    """Largest difference that is accepted. float32: in any output (default 1e-4). bf16 and int8: in the probabilities,
    as half the sum of absolute differences, averaged over the clips (default 0.02 and 0.1)."""
    force: bool = False
    """Keep the export even if the difference exceeds the limit."""
    benchmark: bool = False
    """Measure the speed of the original, in float32 and bf16, and of the exported models, in one run."""
    output: Path | None = None
    """Output folder; if --to names several formats, each gets a folder in it. By default, next to the checkpoint (for a
    hub's model, in ./owner/name), named after the checkpoint, the format and the precision."""
    overwrite: bool = False
    """Replace an existing folder."""

    def __post_init__(self) -> None:
        from gta.export.card import LARGEST_BATCH

        if not self.to:
            raise OptionError("--to is empty: name torch, onnx, openvino or aoti")
        if len(set(self.to)) < len(self.to):
            raise OptionError(f"--to {' '.join(self.to)}: name each format once")
        require_least(self, batch_size=1, clips=1, calibration_clips=1)
        if self.batch_size > LARGEST_BATCH:
            raise OptionError(f"--batch-size is {self.batch_size}: it must be {LARGEST_BATCH} or less")
        if self.dynamic_batch and self.batch_size > 1:
            raise OptionError("--dynamic-batch takes any number of clips: omit --batch-size")
        if self.limit is not None and not self.limit >= 0:
            raise OptionError(f"--limit is {self.limit}: it must be 0 or more")
        ignored = changed_options(self, "calibration", "calibration_clips")
        if ignored and self.precision != "int8":
            raise OptionError(f"{ignored[0]} requires --precision int8; {self.precision} needs no clips")


@dataclass(frozen=True)
class _Clips:
    """Clips of one export, no video in two of the lists."""

    samples: "Sequence[Clip]"
    calibration: "Sequence[Clip] | None"
    samples_from: str


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta export`."""
    options = parse_arguments(ExportArguments, arguments, command="gta export", common=_COMMON)
    export_checkpoint(options)


def export_checkpoint(options: ExportArguments) -> "dict[Path, ExportCard]":
    """Export to everything that the options name; returns the cards by folder.

    Raises:
        gta.errors.GtaError: an option does not fit, a library is missing, a file cannot be read, or an exported network
            differs from the original by more than the limit.
    """
    from gta.checkpoint import check_checkpoint_present, read_checkpoint
    from gta.datasets.listing import open_videos
    from gta.export.run import Target, export_network
    from gta.export.writers import check_precision, check_tools
    from gta.files import check_folder_writable, sha256
    from gta.predictor import build_model, clip_protocol

    check_checkpoint_present(options.checkpoint)  # before a folder is made for it
    folders = _folders(options)
    for runtime, folder in folders.items():
        check_precision(runtime, options.precision)
        check_tools(runtime, options.precision)
        _check_free(folder, options.overwrite)
        check_folder_writable(folder)
    checkpoint = read_checkpoint(options.checkpoint)
    clip = clip_protocol(checkpoint)
    labelled = None if options.data is None else open_videos(options.data, "val", classes=checkpoint.classes)
    clips = _clips(options, checkpoint, labelled)
    model = build_model(checkpoint)
    measure = None if labelled is None else _accuracy(labelled, checkpoint, model)
    cards: dict[Path, ExportCard] = {}
    for runtime, folder in folders.items():
        card = export_network(
            model,
            folder,
            target=Target(
                runtime=runtime,
                precision=options.precision,
                output=options.scores,
                batch_size=None if options.dynamic_batch else options.batch_size,
            ),
            classes=checkpoint.classes,
            clip=clip,
            reversals=checkpoint.reversals,
            arguments=checkpoint.card.model,
            source={"file": checkpoint.path.name, "sha256": sha256(checkpoint.path)},
            samples=clips.samples,
            samples_from=clips.samples_from,
            calibration=clips.calibration,
            limit=options.limit,
            force=options.force,
            measure=measure,
        )
        cards[folder] = card
        _print(folder, card)
    if options.benchmark:
        cards = _benchmark(cards, model, _batch(clips.samples, options.batch_size))
    return cards


def _folders(options: ExportArguments) -> "dict[Any, Path]":
    """Where each runtime's files go."""
    from gta.hub import results_place

    if options.output is not None:
        several = len(options.to) > 1
        return {runtime: options.output / runtime if several else options.output for runtime in options.to}
    suffix = "" if options.precision == "float32" else f"-{options.precision}"
    source = results_place(options.checkpoint)
    return {runtime: source.parent / f"{source.stem}-{runtime}{suffix}" for runtime in options.to}


def _check_free(folder: Path, overwrite: bool) -> None:
    """Refuse to replace anything but what an earlier export wrote, and that only when it is asked for."""
    from gta.export.card import is_exported

    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not is_exported(folder):
        raise OptionError(f"{folder}: it exists and is not an exported model: choose another folder with --output")
    if not overwrite:
        raise OptionError(f"{folder}: it exists already; give --overwrite to replace it")


def _own_data(checkpoint: Path) -> Path | None:
    """The data of the run that wrote the checkpoint, if it says and they are there."""
    from gta.runs.sources import find_source

    try:
        root = find_source(checkpoint, None, None, None).root
    except OptionError:
        return None
    return root if root.exists() else None


def _clips(options: ExportArguments, checkpoint: "Checkpoint", labelled: "VideoList | None") -> "_Clips":
    """Clips to compare on and, for int8, others to calibrate with: real ones as far as any are known."""
    from gta.export.clips import held_out_clips, real_clips, synthetic_clips

    clip = checkpoint.card.clip
    assert clip is not None
    own = _own_data(options.checkpoint)
    source = (options.calibration or own) if options.precision == "int8" else None
    if options.precision == "int8" and source is None:
        raise OptionError("--precision int8 needs calibration videos like those to predict: give --calibration FOLDER")
    found = _own_clips(own, clip, options.clips) if labelled is None else real_clips(labelled, clip, options.clips)
    if found is not None:
        compared = own if labelled is None else labelled.root
        assert compared is not None
        chosen = _Clips(list(found.values()), None, f"of {compared.name}, val")
        if source is not None:
            taken = {path for path, _, _ in found}
            if labelled is not None:  # top-1 is measured on all of these
                taken |= {record.path.resolve() for record in labelled.records}
            others = real_clips(source, clip, options.calibration_clips, split="train", without=taken)
            chosen = replace(chosen, calibration=list(others.values()))
    elif source is not None:
        chosen = _Clips(
            *held_out_clips(source, clip, options.clips, options.calibration_clips), f"held out of {source.name}"
        )
    else:
        chosen = _Clips(synthetic_clips(clip, options.clips), None, "synthetic")
    _warn_of_few(chosen.calibration)
    return chosen


def _own_clips(root: Path | None, clip: "ClipConfig", count: int) -> "dict[VideoPart, Clip] | None":
    """Validation clips of the training run's data; None without any, since the user has not named these data."""
    from gta.export.clips import real_clips

    if root is None:
        return None
    try:
        return real_clips(root, clip, count, split="val")
    except DataError as error:
        print_line(f"gta export: no clips of the training run's data to compare on: {error}", file=sys.stderr)
        return None


def _warn_of_few(calibration: "Sequence[Clip] | None") -> None:
    if calibration is not None and len(calibration) < _FEW:
        print_line(
            f"gta export: calibrated with {len(calibration)} clip{'s' * (len(calibration) != 1)} only: accuracy may be "
            f"lost; {_FEW} or more, of all classes, are better",
            file=sys.stderr,
        )


def _accuracy(
    videos: "VideoList", checkpoint: "Checkpoint", model: "nn.Module"
) -> "Callable[[ExportedModel], Mapping[str, Any]]":
    """What measures an exported network on the videos of a data set; the original is measured once."""
    from torch import nn

    from gta.clips.dataset import VideoDataset
    from gta.clips.loader import build_loader
    from gta.clips.transforms import Normalize
    from gta.evaluation.scores import evaluate

    clip = checkpoint.card.clip
    assert clip is not None

    def top1(network: nn.Module, prepare: nn.Module) -> tuple[float, int]:
        dataset = VideoDataset(videos, clip, training=False)
        loader = build_loader(dataset, batch_size=8, num_workers=0, shuffle=False)
        result = evaluate(
            network,
            loader,
            prepare=prepare,
            classes=checkpoint.classes,
            averaging=clip.averaging,
            device="cpu",
        )
        return result.top1, result.num_videos

    before, num_videos = top1(model, Normalize(clip.mean, clip.std, flow=clip.flow))

    def measure(exported: "ExportedModel") -> Mapping[str, Any]:
        after, _ = top1(exported, nn.Identity())
        return {
            "accuracy": {
                "data": videos.root.name,
                "split": videos.split,
                "num_videos": num_videos,
                "top1_before": before,
                "top1_after": after,
            }
        }

    return measure


def _print(folder: Path, card: "ExportCard") -> None:
    from gta.export.run import stored_parity

    size = sum(facts["bytes"] for facts in card.files.values()) / 1e6
    batch = "any number of" if card.batch_size is None else str(card.batch_size)
    shape = "x".join(map(str, card.clip_shape[1:]))
    print_line(f"written: {folder}: {card.runtime}, {card.precision}, {size:.1f} MB")
    print_line(f"  reads {batch} clip{'s' * (card.batch_size != 1)} of {shape}, gives {card.output}")
    print_line(f"  compared with the original on {stored_parity(card).summary()}")
    if accuracy := card.measured.get("accuracy"):
        before, after = 100 * accuracy["top1_before"], 100 * accuracy["top1_after"]
        print_line(f"  top-1 of {accuracy['num_videos']} videos: {before:.2f} % before, {after:.2f} % after")


def _batch(samples: "Sequence[Clip]", size: int) -> "Clip":
    """So many clips in one call, some of them repeated if the samples are fewer."""
    import numpy as np

    return np.concatenate([samples[number % len(samples)] for number in range(size)])


def _benchmark(cards: "dict[Path, ExportCard]", model: "nn.Module", batch: "Clip") -> "dict[Path, ExportCard]":
    """Time the original and everything that was written, print the table, and put it into every card."""
    from gta.export.card import CARD
    from gta.export.speed import contenders, measure_speed, speed_lines
    from gta.files import write_json

    table = measure_speed(contenders(model, cards), batch)
    for line in speed_lines(table):
        print_line(line)
    timed = {folder: replace(card, measured={**card.measured, "speed": table}) for folder, card in cards.items()}
    for folder, card in timed.items():
        write_json(folder / CARD, card.to_plain())
    return timed
