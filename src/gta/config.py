"""Configurations of every run, as frozen dataclasses (floor 0): fields, defaults, meaning and validation, nothing else.

The command line shows the docstring under each field as its help, so those lines speak to the user. Only the roof
(`gta.recipes`, `gta.commands`) builds and reads whole configurations; `gta.models` reads `ModelConfig`, `gta.data`
reads `ClipConfig`, `gta.engine` reads `OptimConfig` and `RunConfig`. Constructors of modules take plain keyword
arguments.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from gta.errors import OptionError


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
    sampling: Literal["tsn", "dense"] = "tsn"
    """`tsn`: one frame from each of num_frames equal segments; `dense`: a window of frames frame_stride apart."""
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
    test_clips: int = 1
    """Temporal clips per video in evaluation."""
    test_crops: int = 1
    """Spatial crops per clip in evaluation: 1 (centre) or 3 (left, centre, right or top, centre, bottom)."""
    averaging: Literal["softmax", "logits"] = "softmax"
    """What is averaged over the views of a video."""

    def __post_init__(self) -> None:
        _require(self.num_frames >= 1, "num_frames", self.num_frames, "at least one frame is needed")
        _require(self.frame_stride >= 1, "frame_stride", self.frame_stride, "it must be 1 or more")
        _require(self.crop_size >= 1, "crop_size", self.crop_size, "it must be 1 or more pixels")
        _require(self.test_clips >= 1, "test_clips", self.test_clips, "it must be 1 or more")
        _require(self.test_crops in (1, 3), "test_crops", self.test_crops, "it must be 1 or 3")


@dataclass(frozen=True)
class DataConfig:
    """Which videos, and how they are loaded."""

    root: Path | None = None
    """Folder of the data set."""
    layout: Literal["auto", "folder", "ssv1", "ssv2", "kinetics", "manifest", "ucf101", "hmdb51"] = "auto"
    """How the folder is organised; `auto` looks at the files."""
    batch_size: int = 32
    """Clips per step and device."""
    num_workers: int = 2
    """Processes that decode videos; 0 decodes in the main process."""
    clip: ClipConfig = field(default_factory=ClipConfig)
    """How a video becomes a clip."""

    def __post_init__(self) -> None:
        _require(self.batch_size >= 1, "--data.batch-size", self.batch_size, "at least one clip is needed")
        _require(self.num_workers >= 0, "--data.num-workers", self.num_workers, "it must be 0 or more")


@dataclass(frozen=True)
class OptimConfig:
    """Optimiser and learning-rate schedule."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Update rule."""
    lr: float = 0.01
    """Peak learning rate at a global batch of `lr_batch_size` clips (linear scaling otherwise)."""
    lr_batch_size: int = 32
    """Global batch size that `lr` is meant for."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 5e-4
    """Weight decay of weights (not of norms, biases and the T x T matrices)."""
    schedule: Literal["steps", "cosine", "constant"] = "steps"
    """Shape of the learning rate after the warm-up."""
    warmup_epochs: float = 2.0
    """Epochs of linear warm-up."""
    step_epochs: tuple[int, ...] = (30, 40, 45)
    """Epochs after which `steps` multiplies the rate by `step_factor`."""
    step_factor: float = 0.1
    """Factor of each step."""
    label_smoothing: float = 0.0
    """Label smoothing, in [0, 1)."""
    clip_grad_norm: float | None = 20.0
    """Largest norm of the gradient; larger ones are scaled down."""

    def __post_init__(self) -> None:
        _require(self.lr > 0, "--optim.lr", self.lr, "it must be above 0")
        _require(
            0 <= self.label_smoothing < 1, "--optim.label-smoothing", self.label_smoothing, "it must lie in [0, 1)"
        )


@dataclass(frozen=True)
class RunConfig:
    """Where results go and how long and on what the run computes."""

    folder: Path = Path("runs/train")
    """Run folder to create; it must not exist unless resuming."""
    max_epochs: int = 50
    """Passes over the training videos."""
    seed: int = 0
    """Seed of initialisation, shuffling, sampling and augmentation."""
    precision: Literal["32", "bf16", "fp16"] = "32"
    """Arithmetic: 32-bit, or mixed precision."""
    devices: int | Literal["auto"] = "auto"
    """Number of devices."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """Kind of device."""
    num_threads: int | None = None
    """CPU threads of the main process; PyTorch's own choice if not given."""

    def __post_init__(self) -> None:
        _require(self.max_epochs >= 1, "--run.max-epochs", self.max_epochs, "at least one epoch is needed")


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
