"""Configurations of every run, as frozen dataclasses (floor 0): fields, defaults, meaning and validation, nothing else.

The command line shows the docstring under each field as its help, so those lines speak to the user. Only the roof
(`gta.recipes`, `gta.commands`) builds and reads whole configurations; `gta.models` reads `ModelConfig`, `gta.data`
reads `ClipConfig`, `gta.engine` reads `OptimConfig` and `RunConfig`. Constructors of modules take plain keyword
arguments.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gta.config_json import config_from_json, config_to_json
from gta.errors import OptionError

__all__ = [
    "ClipConfig",
    "DataConfig",
    "ModelConfig",
    "OptimConfig",
    "RunConfig",
    "TrainConfig",
    "config_from_json",
    "config_to_json",
]


def _require(condition: bool, option: str, value: object, rule: str) -> None:
    if not condition:
        raise OptionError(f"{option} is {value}: {rule}")


@dataclass(frozen=True)
class ModelConfig:
    """Which network: a name of `gta models`, and how its attention blocks are built and placed."""

    name: str = "tiny_gta"
    """Model name: a backbone, alone or with a block as suffix (`gta models` lists them)."""
    num_frames: int = 8
    """Frames per clip that the model reads."""
    dropout: float = 0.5
    """Probability of dropping a feature before the classifier, in [0, 1)."""
    at: dict[str, int] | None = None
    """How many attention blocks in which stage, e.g. `res3 2 res4 3`; the model's own choice if not given."""
    num_groups: int = 8
    """Channel groups G of global temporal attention."""
    num_regions: int = 8
    """Regions R of region-level global temporal attention."""
    pretrained: str | None = None
    """Starting weights: a checkpoint file, or `imagenet` for the backbone's own weights."""

    def __post_init__(self) -> None:
        _require(self.num_frames >= 1, "--model.num-frames", self.num_frames, "at least one frame is needed")
        _require(0 <= self.dropout < 1, "--model.dropout", self.dropout, "it must lie in [0, 1)")
        _require(self.num_groups >= 1, "--model.num-groups", self.num_groups, "at least one group is needed")
        _require(self.num_regions >= 1, "--model.num-regions", self.num_regions, "at least one region is needed")


@dataclass(frozen=True)
class ClipConfig:
    """How a video becomes a clip tensor: sampling, resizing, cropping, flipping, normalising, views.

    Resolved, so that it says everything: it is stored in checkpoints and result files. `gta.data.presets` makes one
    from the name of a protocol.
    """

    preset: Literal["paper", "tsm", "pyslowfast"] = "paper"
    """Protocol whose rules hold where public code bases disagree."""
    num_frames: int = 8
    """Frames per clip."""
    sampling: Literal["tsn", "segments", "dense"] = "tsn"
    """`tsn`: one frame from each of num_frames equal segments; `segments`: likewise, with PySlowFast's borders, which
    reach the last frame; `dense`: a window of frames frame_stride apart."""
    frame_stride: int = 1
    """Distance between the frames of a dense window, in frames."""
    resize: tuple[int, int] | int = (240, 320)
    """Size before cropping, in pixels: height and width, or one number for the short side (keeps the aspect)."""
    train_short_side: tuple[int, int] | None = None
    """Training draws the short side from this range, in pixels, instead of `resize`."""
    crop: Literal["multiscale", "random", "center"] = "multiscale"
    """Training crop: TSN's multi-scale fixed positions, a random position, or the centre."""
    crop_size: int = 224
    """Height and width of the clip, in pixels."""
    flip: Literal["none", "random", "label_aware", "swap"] = "label_aware"
    """Horizontal flip in training: never, any video, only classes without left/right, or exchanging their labels."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Mean of red, green and blue, subtracted from values in [0, 1]."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Standard deviation of red, green and blue that values are divided by."""
    test_resize: tuple[int, int] | int | None = None
    """Size before cropping in evaluation, in pixels; as `resize` if not given."""
    test_crop_size: int | None = None
    """Height and width of the clip in evaluation, in pixels; as `crop_size` if not given."""
    test_clips: int = 1
    """Temporal clips per video in evaluation."""
    test_crops: int = 1
    """Spatial crops per clip in evaluation: 1 (centre) or 3 (left, centre, right or top, centre, bottom)."""
    averaging: Literal["softmax", "logits"] = "softmax"
    """What is averaged over the views of a video."""

    def __post_init__(self) -> None:
        def require(condition: bool, name: str, rule: str) -> None:
            _require(condition, f"--data.clip.{name.replace('_', '-')}", getattr(self, name), rule)

        require(self.num_frames >= 1, "num_frames", "at least one frame is needed")
        for name in ("frame_stride", "test_clips"):
            require(getattr(self, name) >= 1, name, "it must be 1 or more")
        for name in ("resize", "crop_size", "test_resize", "test_crop_size"):
            size = getattr(self, name)
            sizes = size if isinstance(size, tuple) else (1 if size is None else size,)
            require(all(pixels >= 1 for pixels in sizes), name, "it must be 1 or more pixels")
        low, high = self.train_short_side or (1, 1)
        require(1 <= low <= high, "train_short_side", "it must be a range of pixels, smaller first")
        require(all(deviation > 0 for deviation in self.std), "std", "values are divided by it, so it must be above 0")
        require(self.test_crops in (1, 3), "test_crops", "it must be 1 or 3")


@dataclass(frozen=True)
class DataConfig:
    """Which videos, and how they are loaded."""

    root: Path | None = None
    """Folder of the data set."""
    layout: Literal["auto", "folder", "ssv1", "ssv2", "kinetics", "manifest", "ucf101", "hmdb51"] = "auto"
    """How the folder is organised; `auto` looks at the files."""
    fold: int = 1
    """Which of the three official splits of UCF-101 or HMDB-51."""
    max_skipped: float = 0.2
    """Largest share of videos that may turn out to be unreadable, in [0, 1]; a run with more of them stops."""
    batch_size: int = 32
    """Clips per step and device."""
    num_workers: int = 2
    """Processes that decode videos; 0 decodes in the main process."""
    val_views: Literal["one", "all"] = "one"
    """Views of each video in the validations while training: one (the centre), or all that `clip` has for tests."""
    clip: ClipConfig = field(default_factory=ClipConfig)
    """How a video becomes a clip."""

    def __post_init__(self) -> None:
        _require(self.batch_size >= 1, "--data.batch-size", self.batch_size, "at least one clip is needed")
        _require(self.num_workers >= 0, "--data.num-workers", self.num_workers, "it must be 0 or more")
        _require(self.fold in (1, 2, 3), "--data.fold", self.fold, "it must be 1, 2 or 3")
        _require(0 <= self.max_skipped <= 1, "--data.max-skipped", self.max_skipped, "it must lie in [0, 1]")


@dataclass(frozen=True)
class OptimConfig:
    """Loss, optimiser, learning-rate schedule and regularisation."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Update rule."""
    lr: float = 0.01
    """Peak learning rate at a global batch of `lr_batch_size` clips (linear scaling otherwise)."""
    lr_batch_size: int = 32
    """Global batch size that `lr` is meant for."""
    scale_lr: bool = True
    """Scale the learning rate linearly with the global batch; otherwise use `lr` as it is."""
    momentum: float = 0.9
    """Momentum of SGD."""
    nesterov: bool = False
    """Nesterov's form of the momentum."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Averaging factors of AdamW."""
    weight_decay: float = 5e-4
    """Weight decay of weights."""
    decay_norms_and_biases: bool = False
    """Apply the weight decay to norms and biases too."""
    decay_mixing: bool = False
    """Apply the weight decay to the T x T matrices of global temporal attention too."""
    mixing_lr_factor: float = 1.0
    """Factor on the learning rate of the T x T matrices."""
    schedule: Literal["steps", "cosine", "constant"] = "steps"
    """Shape of the learning rate after the warm-up."""
    schedule_interval: Literal["step", "epoch"] = "step"
    """Whether the rate changes at every step or only between epochs (the warm-up always changes at every step)."""
    warmup_epochs: float = 2.0
    """Epochs of linear warm-up; 0 for none."""
    warmup_start_factor: float = 0.01
    """Factor on the learning rate at the first step of the warm-up."""
    step_epochs: tuple[int, ...] = (30, 40, 45)
    """Epochs after which `steps` multiplies the rate by `step_factor`."""
    step_factor: float = 0.1
    """Factor of each step."""
    final_factor: float = 0.0
    """Factor on the learning rate at the end of `cosine`."""
    label_smoothing: float = 0.0
    """Label smoothing, in [0, 1)."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced` weighs each class in the loss by the inverse of its share of the training videos."""
    mixup: float = 0.0
    """Parameter alpha of mixup; 0 for none."""
    cutmix: float = 0.0
    """Parameter alpha of cutmix; 0 for none. With mixup too, each batch draws one of them."""
    rand_augment: int = 0
    """Operations of RandAugment on each training clip (the same on all its frames); 0 for none."""
    rand_augment_magnitude: int = 9
    """Strength of RandAugment, 0 to 30."""
    clip_grad_norm: float | None = 20.0
    """Largest norm of the gradient; larger ones are scaled down."""
    accumulate: int = 1
    """Batches whose gradients are averaged before each step; the global batch is larger by this factor."""
    ema_decay: float | None = None
    """Keep an exponential moving average of the weights with this decay, and evaluate and store that."""
    batch_norm: Literal["train", "partial", "frozen", "sync"] = "train"
    """BatchNorm: `train`; `partial` freezes all but the first and the attention's; `frozen`; `sync` over devices."""

    def __post_init__(self) -> None:
        for name in ("lr", "weight_decay", "mixing_lr_factor", "warmup_epochs", "mixup", "cutmix"):
            value = getattr(self, name)
            _require(math.isfinite(value), f"--optim.{name.replace('_', '-')}", value, "it must be a finite number")
        _require(self.lr > 0, "--optim.lr", self.lr, "it must be above 0")
        _require(self.lr_batch_size >= 1, "--optim.lr-batch-size", self.lr_batch_size, "it must be 1 or more")
        _require(0 <= self.momentum < 1, "--optim.momentum", self.momentum, "it must lie in [0, 1)")
        _require(
            not self.nesterov or self.momentum > 0,
            "--optim.nesterov",
            self.nesterov,
            "it needs --optim.momentum above 0",
        )
        _require(all(0 <= beta < 1 for beta in self.betas), "--optim.betas", self.betas, "both must lie in [0, 1)")
        _require(self.weight_decay >= 0, "--optim.weight-decay", self.weight_decay, "it must be 0 or more")
        _require(self.mixing_lr_factor > 0, "--optim.mixing-lr-factor", self.mixing_lr_factor, "it must be above 0")
        _require(self.warmup_epochs >= 0, "--optim.warmup-epochs", self.warmup_epochs, "it must be 0 or more")
        _require(
            0 < self.warmup_start_factor <= 1,
            "--optim.warmup-start-factor",
            self.warmup_start_factor,
            "it must lie in (0, 1]",
        )
        _require(0 < self.step_factor <= 1, "--optim.step-factor", self.step_factor, "it must lie in (0, 1]")
        _require(0 <= self.final_factor <= 1, "--optim.final-factor", self.final_factor, "it must lie in [0, 1]")
        _require(
            all(epoch >= 1 for epoch in self.step_epochs),
            "--optim.step-epochs",
            self.step_epochs,
            "each must be 1 or more",
        )
        _require(
            list(self.step_epochs) == sorted(set(self.step_epochs)),
            "--optim.step-epochs",
            self.step_epochs,
            "the epochs must increase",
        )
        _require(
            0 <= self.label_smoothing < 1, "--optim.label-smoothing", self.label_smoothing, "it must lie in [0, 1)"
        )
        _require(self.mixup >= 0, "--optim.mixup", self.mixup, "it must be 0 or more")
        _require(self.cutmix >= 0, "--optim.cutmix", self.cutmix, "it must be 0 or more")
        _require(self.rand_augment >= 0, "--optim.rand-augment", self.rand_augment, "it must be 0 or more")
        _require(
            0 <= self.rand_augment_magnitude <= 30,
            "--optim.rand-augment-magnitude",
            self.rand_augment_magnitude,
            "it must lie in 0 to 30",
        )
        _require(
            self.clip_grad_norm is None or self.clip_grad_norm > 0,
            "--optim.clip-grad-norm",
            self.clip_grad_norm,
            "it must be above 0, or None for no clipping",
        )
        _require(self.accumulate >= 1, "--optim.accumulate", self.accumulate, "it must be 1 or more")
        _require(
            self.ema_decay is None or 0 < self.ema_decay < 1,
            "--optim.ema-decay",
            self.ema_decay,
            "it must lie in (0, 1), or None for no average",
        )


@dataclass(frozen=True)
class RunConfig:
    """Where results go and how long and on what the run computes."""

    folder: Path = Path("runs/train")
    """Run folder to create; it must not exist unless resuming."""
    max_epochs: int = 50
    """Passes over the training videos."""
    max_steps: int | None = None
    """Stop after this many optimiser steps, if that is sooner."""
    seed: int = 0
    """Seed of initialisation, shuffling, sampling and augmentation."""
    precision: Literal["32", "bf16", "fp16"] = "32"
    """Arithmetic: 32-bit, or mixed precision."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """Kind of device."""
    devices: int | Literal["auto"] = "auto"
    """Devices on each machine; `auto` takes every GPU, or one process on the CPU."""
    num_nodes: int = 1
    """Machines (start one process on each, or use torchrun or SLURM)."""
    num_threads: int | None = None
    """CPU threads of each training process; PyTorch's own choice if not given."""
    channels_last: bool = True
    """Keep weights in channels-last memory, as clips are, which is faster; otherwise in PyTorch's plain order."""
    compile: bool = False
    """Compile the model with torch.compile."""
    activation_checkpointing: bool = False
    """Recompute each block's activations in the backward pass: less memory, about a third more time."""
    validate_every: int = 1
    """Epochs between validations (the last epoch always has one)."""
    patience: int | None = None
    """Stop early after this many validations without a better top-1."""
    checkpoint_minutes: float = 10.0
    """Minutes between checkpoints inside an epoch (each epoch's end has one)."""
    checkpoint_steps: int | None = None
    """Also write a checkpoint every this many optimiser steps."""
    max_bad_steps: int = 10
    """Stop after this many steps in a row whose loss or gradient is not finite (each is skipped and counted)."""

    def __post_init__(self) -> None:
        _require(self.max_epochs >= 1, "--run.max-epochs", self.max_epochs, "at least one epoch is needed")
        _require(
            self.max_steps is None or self.max_steps >= 1, "--run.max-steps", self.max_steps, "it must be 1 or more"
        )
        _require(self.seed >= 0, "--run.seed", self.seed, "it must be 0 or more")
        _require(self.devices == "auto" or self.devices >= 1, "--run.devices", self.devices, "it must be 1 or more")
        _require(self.num_nodes >= 1, "--run.num-nodes", self.num_nodes, "it must be 1 or more")
        _require(
            self.num_threads is None or self.num_threads >= 1,
            "--run.num-threads",
            self.num_threads,
            "it must be 1 or more",
        )
        _require(
            not (self.compile and self.activation_checkpointing),
            "--run.activation-checkpointing",
            True,
            "it does not work together with --run.compile (which decides itself what to recompute)",
        )
        _require(self.validate_every >= 1, "--run.validate-every", self.validate_every, "it must be 1 or more")
        _require(self.patience is None or self.patience >= 1, "--run.patience", self.patience, "it must be 1 or more")
        _require(self.checkpoint_minutes > 0, "--run.checkpoint-minutes", self.checkpoint_minutes, "it must be above 0")
        _require(
            self.checkpoint_steps is None or self.checkpoint_steps >= 1,
            "--run.checkpoint-steps",
            self.checkpoint_steps,
            "it must be 1 or more",
        )
        _require(self.max_bad_steps >= 1, "--run.max-bad-steps", self.max_bad_steps, "it must be 1 or more")


@dataclass(frozen=True)
class TrainConfig:
    """A complete training run: model, data, optimiser and run."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """The network."""
    data: DataConfig = field(default_factory=DataConfig)
    """The videos."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """The optimiser."""
    run: RunConfig = field(default_factory=RunConfig)
    """The run."""

    def __post_init__(self) -> None:
        _require(
            self.model.num_frames == self.data.clip.num_frames,
            "--model.num-frames",
            self.model.num_frames,
            f"it must equal --data.clip.num-frames, which is {self.data.clip.num_frames}",
        )
