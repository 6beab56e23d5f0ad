"""The parts of a training run - loaders, network, class weights, description - from its configuration."""

import sys
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from gta.clips.dataset import VideoDataset
from gta.clips.loader import build_loader
from gta.clips.presets import matched_to
from gta.clips.transforms import Normalize
from gta.config import ClipConfig, ModelConfig, OptimConfig, TrainConfig, config_to_json
from gta.datasets.frame_store import FrameStore
from gta.datasets.listing import VideoList
from gta.errors import OptionError
from gta.model_card import describe
from gta.models.classifier import VideoClassifier
from gta.models.frozen import describe_frozen
from gta.models.registry import create_model
from gta.runs.report import write_training_report
from gta.runs.reversals import stated_reversals
from gta.skipped import SkippedVideos
from gta.terminal import print_line
from gta.training.fit import TrainResult, fit
from gta.training.folder import check_run_folder, check_same_config, read_config
from gta.training.launch import create_fabric


def fit_videos(
    config: TrainConfig,
    training: VideoList,
    validation: VideoList,
    *,
    resume: bool,
    live: bool | None,
    change: Collection[str] = (),
    frames: Path | None = None,
    report: bool = True,
) -> TrainResult | None:
    """Build everything that `gta.runs.train.train` needs, and fit; returns and raises what it does."""
    if resume:
        config = _as_it_was_built(config)
    fabric = create_fabric(config.run, config.optim)
    if fabric.is_global_zero:
        check_run_folder(config.run.folder, resume=resume)
    torch.manual_seed(config.run.seed)
    model = build_model(config.model, num_classes=len(training.classes))
    config = _matched(config, model)
    clip = config.data.clip
    # So that gta evaluate finds the data from every folder.
    plain = config_to_json(replace(config, data=replace(config.data, root=training.root.absolute())))
    if fabric.is_global_zero:
        _refuse_changes(config, plain, change)
    if model.loaded is not None and fabric.is_global_zero:  # which weights were used, resized, left out
        for line in model.loaded.summary().splitlines():
            print_line(line, file=sys.stderr)
    _check_channels(clip, config.model.name, model.in_channels)
    _check_crops(clip, config.model.name, model.backbone.minimum_size)
    frozen = None
    if config.model.freeze == "backbone":
        model.freeze_backbone(train_norms=config.model.train_norms)
        frozen = None if config.run.full_checkpoints else describe_frozen(model, config.model.pretrained)
        if fabric.is_global_zero:
            print_line(_say_frozen(model, whole=frozen is None), file=sys.stderr)
    train_loader, val_loader = _loaders(config, training, validation, fabric, frames)
    result = fit(
        model,
        train_loader,
        val_loader,
        prepare=Normalize(clip.mean, clip.std, flow=clip.flow),
        optim=config.optim,
        run=config.run,
        description=describe(
            model=model.arguments,
            classes=training.classes,
            clip=config_to_json(clip),
            reversals=stated_reversals(training.classes),
            frozen=frozen and frozen.to_plain(),
        ),
        left_out=model.frozen_weights() if frozen else (),
        config=plain,
        note_skipped=SkippedVideos(
            config.run.folder / "skipped.csv",
            num_videos=len(training) + len(validation),
            max_share=config.data.max_skipped,
        ).add,
        class_weights=_class_weights(config.optim, [record.label for record in training.records], training.classes),
        resume=resume,
        live=live,
        fabric=fabric,
    )
    if not fabric.is_global_zero:
        return None
    if report:
        write_training_report(result, model=config.model.name, config=plain, validation=validation)
    return result


def _refuse_changes(config: TrainConfig, plain: dict[str, Any], change: Collection[str]) -> None:
    """Compare the configuration with that of the run to be resumed, if there is one; say what may have changed."""
    if not (config.run.folder / "config.json").exists():
        return
    stored = read_config(config.run.folder)
    if isinstance(stored.get("model"), dict):
        stored["model"] = {"share_mixing": True, **stored["model"]}  # as runs were before they said so
    changed = check_same_config(stored, plain, may_change=change)
    for name, (before, now) in changed.items():
        print_line(f"changed from here on: {name} {before} -> {now}", file=sys.stderr)


def _matched(config: TrainConfig, model: VideoClassifier) -> TrainConfig:
    """The configuration with the clips of the pretrained network, where `data.match_model` asks for them."""
    known = getattr(getattr(model.backbone, "network", None), "pretrained_cfg", None)
    if not config.data.match_model or config.model.pretrained is None or not known:
        return config
    clip = matched_to(config.data.clip, model.data_config)
    if clip != config.data.clip:
        print_line(
            f"clips prepared like the images of {config.model.name}: {clip.crop_size} pixels, mean {list(clip.mean)}, "
            f"std {list(clip.std)}, {clip.interpolation} (data.match_model)",
            file=sys.stderr,
        )
    return replace(config, data=replace(config.data, clip=clip))


def _check_channels(clip: ClipConfig, name: str, channels: int) -> None:
    """Raise OptionError where a network of frames would be given flow, or one of flow something else."""
    if clip.channels != channels:
        wanted = (
            "frames: leave data.clip.flow out"
            if channels == 3
            else f"optical flow: set data.clip.flow to {channels // 2}"
        )
        raise OptionError(f"model.name {name} reads {wanted} (it is {clip.flow})")


def _say_frozen(model: VideoClassifier, *, whole: bool) -> str:
    """What trains with a frozen backbone, and what its checkpoints hold."""
    trains = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    every = sum(parameter.numel() for parameter in model.parameters())
    stored = "the whole network" if whole else "what trains, and the backbone's name and digest"
    return f"frozen backbone: {trains / 1e6:.3g} M of {every / 1e6:.3g} M parameters train; checkpoints hold {stored}"


def _as_it_was_built(config: TrainConfig) -> TrainConfig:
    """Let pixels and regions share one M where the run to resume began before there was a choice."""
    folder = config.run.folder
    model = read_config(folder).get("model") if (folder / "config.json").exists() else None
    if not isinstance(model, dict) or "share_mixing" in model:
        return config
    return replace(config, model=replace(config.model, share_mixing=True))


def _check_crops(clip: ClipConfig, name: str, minimum: int) -> None:
    """Refuse clips that are smaller than the model can read, before anything is written."""
    for option, size in (("crop_size", clip.crop_size), ("test_crop_size", clip.test_crop_size)):
        if size is not None and size < minimum:
            raise OptionError(f"data.clip.{option} is {size}: {name} needs {minimum} pixels or more")


def _loaders(
    config: TrainConfig, training: VideoList, validation: VideoList, fabric: Fabric, frames: Path | None
) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """The loaders of this process's part of both splits."""
    data = config.data
    shared = {
        "batch_size": data.batch_size,
        "num_workers": data.num_workers,
        "rank": fabric.global_rank,
        "world_size": fabric.world_size,
        "pin_memory": config.run.accelerator != "cpu" and torch.cuda.is_available(),
        "seed": config.run.seed,
    }
    opener = frames and FrameStore(frames).open
    train_set = VideoDataset(training, data.clip, training=True, seed=config.run.seed, opener=opener)
    # A last batch of a few clips would disturb BatchNorm; a data set smaller than one batch has no other.
    drop_last = len(training) >= data.batch_size * fabric.world_size
    # Thirty views of each video would cost more than the training, and as many times the memory of its batches.
    val_clip = data.clip if data.val_views == "all" else replace(data.clip, test_clips=1, test_crops=1)
    return (
        build_loader(train_set, shuffle=True, drop_last=drop_last, **shared),
        build_loader(VideoDataset(validation, val_clip, training=False, opener=opener), shuffle=False, **shared),
    )


def build_model(config: ModelConfig, *, num_classes: int) -> VideoClassifier:
    """Build the network that `config` names.

    Raises:
        OptionError: the name is unknown or the options do not fit it.
    """
    try:
        return create_model(
            config.name,
            num_classes=num_classes,
            num_frames=config.num_frames,
            pretrained=config.pretrained,
            dropout=config.dropout,
            at=config.at,
            num_groups=config.num_groups,
            num_regions=config.num_regions,
            inner_channels=config.inner_channels,
            side=config.side,
            prefix=config.prefix,
            image_size=config.image_size,
            global_pool=config.global_pool,
            head=config.head,
            share_mixing=config.share_mixing,
            mixing_init=config.mixing_init,
            toeplitz=config.toeplitz,
            causal=config.causal,
            dynamic_rank=config.dynamic_rank,
            gate=config.gate,
            differences=config.differences,
        )
    except ValueError as error:
        raise OptionError(f"model: {error}") from error


def _class_weights(optim: OptimConfig, labels: list[int], classes: tuple[str, ...]) -> Tensor | None:
    """Inverse shares of the classes, mean 1 over the videos; None if all count alike."""
    if optim.class_weights == "none":
        return None
    counts = torch.bincount(torch.tensor(labels), minlength=len(classes)).double()
    present = (counts > 0).sum()
    return (len(labels) / (present * counts.clamp(min=1))).float()
