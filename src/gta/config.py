"""Configurations of every run, as frozen dataclasses (floor 0): fields, defaults, meaning and validation, nothing else.

The command line shows the docstring under each field as its help, so those lines speak to the user. Only the roof
(`gta.recipes`, `gta.commands`) builds and reads whole configurations; `gta.models` reads `ModelConfig`, `gta.clips`
reads `ClipConfig`, `gta.training` reads `OptimConfig` and `RunConfig`. Constructors of modules take plain keyword
arguments.
"""

from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from gta.settings import (
    Count,
    Factor,
    Fraction,
    NotNegative,
    Number,
    Positive,
    Share,
    Switch,
    Whole,
    config_from_json,
    config_to_json,
    override,
    settings,
)
from gta.short_names import SHORT_NAMES

__all__ = [
    "Averaging",
    "BatchNormPolicy",
    "Blocks",
    "ClipConfig",
    "DataConfig",
    "Difficulty",
    "Flip",
    "Fold",
    "Interpolation",
    "KnownLayout",
    "Layout",
    "ModelConfig",
    "OptimConfig",
    "Precision",
    "Preset",
    "RunConfig",
    "Sampling",
    "Split",
    "TrainConfig",
    "WrittenLayout",
    "config_from_json",
    "config_to_json",
]

KnownLayout = Literal["folder", "ssv1", "ssv2", "kinetics", "manifest", "ucf101", "hmdb51", "utd_mhad"]
"""How a data set's folder may be organised."""
Layout = Literal["auto", KnownLayout]
"""The same; `auto` detects it."""
WrittenLayout = Literal["folder", "ssv2", "ssv1", "kinetics"]
"""Layouts that synthetic videos can be written in."""
Precision = Literal["32", "bf16", "fp16"]
"""Precision of a network: 32-bit floats, or mixed with bfloat16 or float16."""

Split = Literal["train", "val", "test"]
"""Part of a data set."""
Fold = Literal[1, 2, 3]
"""Split of UCF-101, HMDB-51 or UTD-MHAD."""
Difficulty = Literal["normal", "hard"]
"""Of the synthetic data set; `hard`: more classes, several moving objects, a moving camera and occlusions."""
Preset = Literal["paper", "tsm", "pyslowfast"]
"""Whose protocol of clips (`gta.clips.presets.clip_config`)."""
Sampling = Literal["tsn", "segments", "dense"]
"""Which frames make a clip (`gta.clips.sampling`)."""
Flip = Literal["none", "random", "label_aware", "swap"]
"""Which clips of the training are mirrored (`gta.clips.labels`)."""
Averaging = Literal["softmax", "logits"]
"""What is averaged over the views of a video: class probabilities or logits."""
BatchNormPolicy = Literal["train", "partial", "frozen", "sync"]
"""What becomes of batch norms in training (`gta.training.norms`)."""

Interpolation = Literal["bilinear", "bicubic"]
"""How frames are resized; with antialiasing either way."""


Blocks = Whole | Literal["all"] | tuple[Whole, ...]
"""Which blocks of a stage have attention: how many, all, or those with these indices."""
Places = Annotated[Mapping[str, Blocks], Field(examples=[{"res3": 2, "res4": [1, 3], "res5": "all"}])]
"""Stage -> its blocks."""


@settings("model")
class ModelConfig:
    """Which network: a name of `gta models`, and how its attention blocks are built and placed."""

    name: str = "tiny_gta"
    """Model name: a backbone, alone or with a block as suffix (`gta models` lists them)."""
    num_frames: Count = 8
    """Frames per clip that the model reads."""
    dropout: Fraction = 0.5
    """Probability of dropping a feature before the classifier, in [0, 1)."""
    at: Places | None = None
    """Attention blocks per stage: how many, their indices or all, e.g. `res3 2 res4 1,3 res5 all`; the model's own
    choice if not given."""
    inner_channels: Count | None = None
    """Inner width D of attention blocks; by default, each block's own (in transformers, half of the channels)."""
    side: Literal["after", "before"] | None = None
    """Whether attention comes after or before a network's own block; by default after, in image transformers before."""
    prefix: Literal["keep", "mix"] = "keep"
    """Class and register tokens of a transformer: keep them as they are, or mix them over time like the patches."""
    image_size: Count | None = None
    """Input height and width of a timm transformer, in pixels; its own if not given."""
    global_pool: str | None = None
    """How a timm network pools its positions into one vector: `token`, `avg`, `map`, ...; its own way if not given."""
    num_groups: Count = 8
    """Channel groups G of global temporal attention."""
    num_regions: Count = 8
    """Regions R of region-level global temporal attention."""
    share_mixing: Switch = False
    """Let pixel and region GTA share one M; by default, each has its own (Fig. 2(c))."""
    mixing_init: Literal["normal", "identity"] = "normal"
    """Initial M: the paper's (Kaiming), or that plus the identity."""
    toeplitz: Switch = False
    """Let M depend only on the lag between frames: 2T - 1 numbers per group and head."""
    causal: Switch = False
    """Mix each frame only with itself and earlier frames."""
    dynamic_rank: Whole = 0
    """Rank of a residual on M that depends on the clip; 0: none."""
    gate: Switch = False
    """Multiply the values by the mixed values plus 1."""
    differences: Switch = False
    """Let half of the groups mix the change of the values since the previous frame."""
    pretrained: str | None = None
    """Starting weights: a checkpoint file, or `imagenet` for the backbone's own weights."""
    head: Literal["average", "attentive", "step", "relation"] = "average"
    """`average` over frames and positions; `attentive`: a learned query over all; `step`: with an encoding of time;
    `relation`: ordered tuples of frames (TRN)."""
    freeze: Literal["none", "backbone"] = "none"
    """`backbone`: only the attention blocks and the head train; the backbone keeps its weights and statistics."""
    train_norms: Switch = False
    """With a frozen backbone: let its norms learn their scale and shift, too."""

    def __post_init__(self) -> None:
        if self.train_norms and self.freeze == "none":
            raise ValueError("train_norms is True: it needs model.freeze backbone, without which all norms train")


@settings("data.clip")
class ClipConfig:
    """Preprocessing of a video into a clip tensor: sampling, resizing, cropping, flipping, normalisation, views.

    Complete, since it is stored in checkpoints and result files. `gta.clips.presets` makes one from the name of a
    protocol.
    """

    preset: Preset = "paper"
    """Protocol to follow where public code bases disagree."""
    num_frames: Count = 8
    """Frames per clip."""
    flow: Annotated[int, Field(ge=0, le=100), Number] = 0
    """Read optical flow from folders instead of frames: this many consecutive flow fields per frame; 0: frames."""
    sampling: Sampling = "tsn"
    """`tsn`: one frame from each of num_frames equal segments; `segments`: likewise, with PySlowFast's borders, which
    reach the last frame; `dense`: a window of frames frame_stride apart."""
    frame_stride: Count = 1
    """Distance between the frames of a dense window, in frames."""
    resize: tuple[Count, Count] | Count = (240, 320)
    """Size before cropping, in pixels: height and width, or one number for the short side (keeps the aspect)."""
    train_short_side: tuple[Count, Count] | None = None
    """Training draws the short side from this range, in pixels, instead of `resize`."""
    crop: Literal["multiscale", "random", "center"] = "multiscale"
    """Training crop: TSN's multi-scale fixed positions, a random position, or the centre."""
    crop_size: Count = 224
    """Height and width of the clip, in pixels."""
    flip: Flip = "label_aware"
    """Horizontal flip in training: never, any video, only classes without left/right, or all, swapping these labels."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Mean of red, green and blue, subtracted from values in [0, 1]."""
    std: tuple[Positive, Positive, Positive] = (0.229, 0.224, 0.225)
    """Standard deviation of red, green and blue that values are divided by."""
    interpolation: Interpolation = "bilinear"
    """How frames are resized, with antialiasing; `bicubic` for most image transformers."""
    test_resize: tuple[Count, Count] | Count | None = None
    """Size before cropping in evaluation, in pixels; as `resize` if not given."""
    test_crop_size: Count | None = None
    """Height and width of the clip in evaluation, in pixels; as `crop_size` if not given."""
    test_clips: Count = 1
    """Temporal clips per video in evaluation."""
    test_crops: Literal[1, 3] = 1
    """Spatial crops per clip in evaluation: 1 (centre) or 3 (left, centre, right or top, centre, bottom)."""
    averaging: Averaging = "softmax"
    """What is averaged over the views of a video."""

    @property
    def channels(self) -> int:
        """Channels of a clip: red, green, blue, or the horizontal and vertical part of each flow."""
        return 2 * self.flow or 3

    def __post_init__(self) -> None:
        low, high = self.train_short_side or (1, 1)
        if low > high:
            raise ValueError(f"train_short_side is {self.train_short_side}: it must be a range, smaller number first")


@settings("data")
class DataConfig:
    """Which videos, and how they are loaded."""

    root: Path | None = None
    """Folder of the data set."""
    layout: Layout = "auto"
    """Layout of the folder; `auto` detects it."""
    fold: Fold = 1
    """Split of UCF-101, HMDB-51 or UTD-MHAD (where 1 is the protocol, and 2 and 3 are for tuning)."""
    index: Path | None = None
    """Index file that `gta data check --index` wrote; by default, the one next to the data or in the user's cache."""
    max_skipped: Share = 0.2
    """Largest share of unreadable videos, in [0, 1]; a run with more of them stops."""
    batch_size: Count = 32
    """Clips per step and device."""
    num_workers: Whole = 2
    """Processes that decode videos; 0 decodes in the main process."""
    val_views: Literal["one", "all"] = "one"
    """Views of each video when validating during training: one (the centre), or all test views of `clip`."""
    match_model: Switch = False
    """Preprocess clips like the pretrained network's images: mean, std, interpolation, and instead of a `crop_size` of
    224 its size (`model.image_size` if given)."""
    clip: ClipConfig = field(default_factory=ClipConfig)
    """Preprocessing of videos into clips."""


@settings("optim")
class OptimConfig:
    """Loss, optimiser, learning-rate schedule and regularisation."""

    optimizer: Literal["sgd", "adamw"] = "sgd"
    """Update rule."""
    lr: Positive = 0.01
    """Peak learning rate at a global batch of `lr_batch_size` clips (linear scaling otherwise)."""
    lr_batch_size: Count = 32
    """Global batch size that `lr` is meant for."""
    scale_lr: Switch = True
    """Scale the learning rate linearly with the global batch; otherwise use `lr` as it is."""
    momentum: Fraction = 0.9
    """Momentum of SGD."""
    nesterov: Switch = False
    """Nesterov's form of the momentum."""
    betas: tuple[Fraction, Fraction] = (0.9, 0.999)
    """Averaging factors of AdamW."""
    weight_decay: NotNegative = 5e-4
    """Weight decay."""
    decay_norms_and_biases: Switch = False
    """Apply weight decay to norms and biases, too."""
    decay_mixing: Switch = False
    """Apply weight decay to the T x T matrices of global temporal attention, too."""
    mixing_lr_factor: Positive = 1.0
    """Factor on the learning rate of the T x T matrices."""
    layer_decay: Factor = 1.0
    """Layer-wise decay: factor on the learning rate per layer of the backbone, from its end to its stem; 1: none."""
    schedule: Literal["steps", "cosine", "constant"] = "steps"
    """Shape of the learning rate after the warm-up."""
    schedule_interval: Literal["step", "epoch"] = "step"
    """Whether the rate changes at every step or only between epochs (the warm-up always changes at every step)."""
    warmup_epochs: NotNegative = 2.0
    """Epochs of linear warm-up; 0 for none."""
    warmup_start_factor: Factor = 0.01
    """Factor on the learning rate at the first step of the warm-up."""
    step_epochs: tuple[Count, ...] = (30, 40, 45)
    """Epochs after which `steps` multiplies the rate by `step_factor`."""
    step_factor: Factor = 0.1
    """Factor of each step."""
    final_factor: Share = 0.0
    """Factor on the learning rate at the end of `cosine`."""
    label_smoothing: Fraction = 0.0
    """Label smoothing, in [0, 1)."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced` weights each class in the loss by the inverse of its share of the training videos."""
    mixup: NotNegative = 0.0
    """Parameter alpha of mixup; 0 for none."""
    cutmix: NotNegative = 0.0
    """Parameter alpha of cutmix; 0 for none. With mixup as well, each batch uses one of the two, chosen at random."""
    rand_augment: Whole = 0
    """Operations of RandAugment on each training clip (the same on all its frames); 0 for none."""
    rand_augment_magnitude: Annotated[int, Field(ge=0, le=30), Number] = 9
    """Strength of RandAugment, 0 to 30."""
    clip_grad_norm: Positive | None = 20.0
    """Largest norm of the gradient; larger ones are scaled down."""
    accumulate: Count = 1
    """Batches whose gradients are averaged before each step; the global batch is larger by this factor."""
    ema_decay: Annotated[float, Field(gt=0, lt=1), Number] | None = None
    """Keep an exponential moving average of the weights with this decay; it is evaluated and stored."""
    batch_norm: BatchNormPolicy = "train"
    """BatchNorm: `train`; `partial` freezes all but the first one and those of attention blocks; `frozen`; `sync`
    computes statistics over all devices."""

    def __post_init__(self) -> None:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov is True: it needs optim.momentum above 0")
        if list(self.step_epochs) != sorted(set(self.step_epochs)):
            raise ValueError(f"step_epochs is {self.step_epochs}: the epochs must increase")


@settings("run")
class RunConfig:
    """Where results go, how long the run takes, and on which devices."""

    folder: Path = Path("runs/train")
    """Run folder to create; it must not exist unless resuming."""
    max_epochs: Count = 50
    """Passes over the training videos."""
    max_steps: Count | None = None
    """Stop after this many optimiser steps, if that is sooner."""
    seed: Whole = 0
    """Seed of initialisation, shuffling, sampling and augmentation."""
    precision: Precision = "32"
    """Precision: 32-bit, or mixed precision."""
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    """Kind of device."""
    devices: Count | Literal["auto"] = "auto"
    """Devices on each machine; `auto` takes every GPU, or one process on the CPU."""
    num_nodes: Count = 1
    """Machines (start one process on each, or use torchrun or SLURM)."""
    num_threads: Count | None = None
    """CPU threads of each training process; PyTorch's own choice if not given."""
    channels_last: Switch = True
    """Keep weights in channels-last memory format, like clips, which is faster; otherwise in the default format."""
    compile: Switch = False
    """Compile the model with torch.compile."""
    activation_checkpointing: Switch = False
    """Recompute each block's activations in the backward pass: less memory, about a third more time."""
    validate_every: Count = 1
    """Epochs between validations (the last epoch always has one)."""
    patience: Count | None = None
    """Stop early after this many validations without a better top-1."""
    checkpoint_minutes: Positive = 10.0
    """Minutes between checkpoints inside an epoch (each epoch's end has one)."""
    checkpoint_steps: Count | None = None
    """Also write a checkpoint every this many optimiser steps."""
    max_bad_steps: Count = 10
    """Stop after this many steps in a row whose loss or gradient is not finite (each is skipped and counted)."""
    full_checkpoints: Switch = False
    """With a frozen backbone: store its weights in every checkpoint, instead of only its name and digest."""
    recipe: str = ""
    """Name of the recipe that the configuration is based on; for information only."""

    def __post_init__(self) -> None:
        if self.compile and self.activation_checkpointing:
            raise ValueError(
                "activation_checkpointing is True: it cannot be combined with run.compile, which decides itself "
                "what to recompute"
            )


@settings()
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
        if self.model.num_frames != self.data.clip.num_frames:
            raise ValueError(
                f"model.num_frames is {self.model.num_frames}: it must equal data.clip.num_frames, which is "
                f"{self.data.clip.num_frames}"
            )

    def override(self, changes: Mapping[str, Any] | str, *more: Any) -> "TrainConfig":
        """A copy with other values; this configuration stays as it is.

        Args:
            changes: values by dotted name, `{"optim.lr": 0.01, "run.seed": 3}`; or a name, followed by its value
                and further names and values: `config.override("optim.lr", 0.01, "run.seed", 3)`. A mapping for a
                section changes the fields that it names and leaves the others: `{"optim": {"lr": 0.01}}`. The short
                names of the command line work as well: `config.override("lr", 0.01, "data", "videos")`.
            more: see `changes`.

        Raises:
            OptionError: there is no such field, it is set twice, or its value does not fit; the same line as on the
                command line.
        """
        if isinstance(changes, str):
            names = (changes, *more[1::2])
            if len(more) % 2 == 0:
                raise ValueError(f"override needs a value after each name; {names[-1]} has none")
            if len(set(names)) < len(names):
                raise ValueError("override has a name twice: give each one value")
            changes = dict(zip(names, more[::2], strict=True))
        elif more:
            raise ValueError("override takes one mapping, or names and values in turn")
        return override(self, changes, SHORT_NAMES)
