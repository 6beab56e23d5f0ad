"""`gta train RECIPE --fast-dev-run`: the whole path of a recipe, made small, in a temporary folder."""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import cast, get_args

from gta.clips.presets import scaled_to
from gta.config import ClipConfig, Precision, RunConfig, TrainConfig, WrittenLayout
from gta.runs.train import train

_CROP = 64
_VAL_VIDEOS = 4


def fast_dev_run(config: TrainConfig) -> None:
    """Train two steps and validate, with everything that the recipe switches on, and say what was made smaller.

    Without the data set, a handful of synthetic videos in its layout take its place. Weights are not downloaded, but a
    file of weights is loaded.
    """
    from gta.training.signals import TrainingInterrupted

    with tempfile.TemporaryDirectory(prefix="gta-fast-dev-run-") as folder:
        small = shrink(config, Path(folder))
        if small.data.root != config.data.root:
            _synthesize(small)
        _say(config, small)
        try:
            result = train(small, live=False, max_val_videos=_VAL_VIDEOS)
        except TrainingInterrupted as stop:  # its own words name a checkpoint that goes with the temporary folder
            raise TrainingInterrupted(stop.number, "a fast development run leaves nothing to continue") from None
        if result is not None:
            print(f"the recipe works: {result.steps} steps, {result.best['num_videos']} validation videos")


def shrink(config: TrainConfig, folder: Path) -> TrainConfig:
    """The same configuration with two small clips per step, two steps, and its data and results under `folder`."""
    has_data = config.data.root is not None and config.data.root.exists()
    layout = config.data.layout if has_data or config.data.layout in get_args(WrittenLayout) else "folder"
    return replace(
        config,
        model=replace(config.model, pretrained=_file_only(config.model.pretrained)),
        data=replace(
            config.data,
            root=config.data.root if has_data else folder / "data",
            layout=layout,
            batch_size=2,
            num_workers=0,
            clip=_small_clip(config.data.clip),
        ),
        run=replace(
            config.run,
            folder=folder / "run",
            max_epochs=1,
            max_steps=2,
            validate_every=1,
            precision=_quick_precision(config.run),
        ),
    )


def _quick_precision(run: RunConfig) -> Precision:
    """The recipe's arithmetic, but for bf16 on a CPU: most emulate it, which takes minutes instead of seconds."""
    import torch

    on_cpu = run.accelerator == "cpu" or not torch.cuda.is_available()
    return "32" if on_cpu and run.precision == "bf16" else run.precision


def _file_only(pretrained: str | None) -> str | None:
    """The starting weights if they are a file; None if they would have to be downloaded."""
    from gta.models.pretrained import is_file_name

    return pretrained if pretrained is not None and is_file_name(pretrained) else None


def _small_clip(clip: ClipConfig) -> ClipConfig:
    """The same protocol at a crop of 64 px or less, with one view."""
    small = scaled_to(clip, min(_CROP, clip.crop_size))
    return replace(small, test_resize=None, test_clips=1, test_crops=1)


def _synthesize(config: TrainConfig) -> None:
    from gta.synthetic import CLASSES, synthesize

    layout = "folder" if config.data.layout == "auto" else config.data.layout
    assert config.data.root is not None
    synthesize(
        config.data.root,
        layout=cast(WrittenLayout, layout),
        num_videos=8,
        val_fraction=0.5,
        classes=CLASSES[:2],
    )


def _say(config: TrainConfig, small: TrainConfig) -> None:
    changes = [
        f"batch {config.data.batch_size} -> 2",
        f"{small.data.clip.crop_size} px",
        "2 steps",
        f"{_VAL_VIDEOS} validation videos or fewer",
        "1 test view",
    ]
    if small.data.root != config.data.root:
        changes.append("synthetic videos for the data set")
    if small.run.precision != config.run.precision:
        changes.append(f"{config.run.precision} -> 32 bits on the CPU")
    if config.model.pretrained != small.model.pretrained:
        changes.append(f"random weights for {config.model.pretrained}")
    print(f"fast development run: {', '.join(changes)}", file=sys.stderr)
