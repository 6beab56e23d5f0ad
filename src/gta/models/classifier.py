"""The classifier: backbone, consensus over frames, dropout, linear head."""

import math
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, get_args

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from gta.backbones.contract import VideoBackbone
from gta.backbones.insertion import resize_attention
from gta.blocks.initialise import initialise_weights
from gta.models.attentive import AttentiveHead
from gta.models.relation import MOST_FRAMES, RelationHead
from gta.modes import spared_from_decay

if TYPE_CHECKING:
    from gta.models.conversion import LoadReport


NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)
HeadAverage = Literal["probabilities", "logits"]
Head = Literal["average", "attentive", "step", "relation"]


def own_modules(network: nn.Module) -> Iterator[nn.Module]:
    """The network and all modules in it that are not part of inserted attention."""
    yield network
    adapters = {"attention"} if isinstance(getattr(network, "host", None), nn.Module) else set[str]()
    for name, child in network.named_children():
        if name not in adapters:
            yield from own_modules(child)


class VideoClassifier(nn.Module):
    """Classify clips.

    Args:
        backbone: maps `(B, 3, T, H, W)` to features `(B, C, T', H', W')` and pools them to `(B, num_features)`.
        num_classes: number of classes (K).
        num_frames: T, the number of frames that the backbone and its attention blocks were built for.
        dropout: probability of dropping a feature before the head, in [0, 1).
        arguments: plain values with which `create_model` builds the same architecture again; stored in checkpoints.
        head_window: in evaluation, classify every window of this many positions (height and width) and average, as
            PySlowFast and pytorchvideo do with clips larger than in training; None: average all positions.
        head_average: what is averaged over the windows.
        head: `average` pools the features over frames and positions; `attentive` and `step` (with an encoding of time)
            by a learned query (`AttentiveHead`); `relation` joins ordered tuples of frames (`RelationHead`).
        relation_frames: frames of the largest relation of that head.

    Raises:
        ValueError: the options contradict each other.
        TypeError: the backbone is not a `gta.backbones.contract.VideoBackbone`.
    """

    backbone: VideoBackbone

    def __init__(
        self,
        backbone: nn.Module,
        *,
        num_classes: int,
        num_frames: int,
        dropout: float,
        arguments: dict[str, Any],
        head_window: int | None = None,
        head_average: HeadAverage = "probabilities",
        head: Head = "average",
        relation_frames: int = MOST_FRAMES,
    ) -> None:
        super().__init__()
        if head_window is not None and head_window < 1:
            raise ValueError(f"head_window is {head_window}: it must be at least 1 position")
        for option, value, choices in (("head", head, Head), ("head_average", head_average, HeadAverage)):
            if value not in get_args(choices):
                raise ValueError(f"{option} is {value!r}: choose from {', '.join(get_args(choices))}")
        self.head_window = head_window
        self.head_average: HeadAverage = head_average
        if not isinstance(backbone, VideoBackbone):
            raise TypeError(
                f"{type(backbone).__name__} lacks something that gta.backbones.contract.VideoBackbone requires"
            )
        self.backbone = backbone
        self.in_channels = int(getattr(backbone, "in_channels", 3))
        self.dropout = nn.Dropout(dropout)
        if head != "average" and head_window is not None:
            raise ValueError(f"head_window is {head_window}: it requires the head 'average', not {head!r}")
        if head in ("step", "relation") and not getattr(backbone, "keeps_time", True):
            raise ValueError(
                f"head is {head!r}: it requires features with an axis of time, but {arguments.get('name')} ends with "
                "the tokens of all frames in one row: choose average or attentive"
            )
        self._head_kind: Head = head
        self._relation_frames = relation_frames
        self.head = self._new_head(num_classes)
        self.num_classes = num_classes
        self.num_frames = num_frames
        self.arguments = arguments
        self.loaded: LoadReport | None = None  # what became of pretrained weights
        self.trains_norms = False
        """Whether the norms of a frozen backbone learn their scale and shift."""
        self._is_frozen = False

    def forward(self, clip: Tensor) -> Float[Tensor, "B K"]:
        """Logits (B, K) of normalised clips (B, 3, T, H, W).

        Raises:
            ValueError: the clip has another shape than the model was built for.
        """
        return self.forward_head(self.forward_features(clip))

    def forward_features(self, clip: Tensor) -> Float[Tensor, "B C t h w"]:
        """The backbone's features (B, C, T', H', W') of normalised clips (B, 3, T, H, W)."""
        self._check(clip)
        return self.backbone(clip)

    def forward_head(self, features: Float[Tensor, "B C t h w"]) -> Float[Tensor, "B K"]:
        """Classify features (B, C, T', H', W'): logits (B, K), by default of their mean over frames and positions.

        With `head_window`, larger features are classified window by window in evaluation. Averaged probabilities are
        returned as logarithms, so that a softmax gives them back.
        """
        if isinstance(self.head, AttentiveHead | RelationHead):
            return self.head(features)
        height, width = features.shape[3:]
        if self.head_window is not None and not self.training and max(height, width) > self.head_window:
            return self._classify_windows(features.mean(dim=2), self.head_window)
        return self.head(self.dropout(self.backbone.pool(features)))

    def _classify_windows(self, features: Float[Tensor, "B C h w"], window: int) -> Float[Tensor, "B K"]:
        sides = [min(window, side) for side in features.shape[2:]]
        logits = self.head(F.avg_pool2d(features, sides, stride=1).flatten(2).transpose(1, 2))
        if self.head_average == "logits":
            return logits.mean(dim=1)
        return logits.log_softmax(dim=2).logsumexp(dim=1) - math.log(logits.shape[1])

    def _new_head(self, num_classes: int) -> nn.Module:
        if self._head_kind == "average":
            head = nn.Linear(self.num_features, num_classes)
            initialise_weights(nn.ModuleDict({"head": head}))
            return head
        channels = int(getattr(getattr(self.backbone, "network", None), "num_features", self.num_features))
        dropout = self.dropout.p
        if self._head_kind == "relation":
            return RelationHead(channels, num_classes, most_frames=self._relation_frames, dropout=dropout)
        return AttentiveHead(channels, num_classes, dropout=dropout, temporal=self._head_kind == "step")

    @property
    def num_features(self) -> int:
        """Width of the pooled features, which the head reads."""
        return self.backbone.num_features

    @property
    def data_config(self) -> dict[str, Any]:
        """The input that suits the backbone, in timm's terms: `input_size` (3, T, H, W), `mean`, `std`, ...

        For image networks, the values come from timm, otherwise they are ImageNet's. A network that was built with
        `image_size` has that size. A checkpoint stores what it was
        trained with in its `ClipConfig` (`gta.Predictor.from_checkpoint(path).clip`), which takes precedence.
        """
        from timm.data.config import resolve_model_data_config  # here, since importing timm takes seconds

        network = getattr(self.backbone, "network", None)
        found = resolve_model_data_config(self if network is None else network)
        asked = self.arguments.get("image_size")
        size = (asked, asked) if asked else getattr(self.backbone, "fixed_size", None) or found["input_size"][1:]
        return {**found, "input_size": (3, self.num_frames, *size)}

    def get_classifier(self) -> nn.Module:
        """The head that gives the logits."""
        return self.head

    def reset_classifier(self, num_classes: int) -> None:
        """Replace the head by a new one of the same kind, for other classes.

        Args:
            num_classes: K, 1 or more.

        Raises:
            ValueError: the number is below 1.
        """
        if num_classes < 1:
            raise ValueError(
                f"num_classes is {num_classes}: at least one class is needed; forward_features and backbone.pool give "
                "features without a head"
            )
        like = next(self.head.parameters())
        self.head = self._new_head(num_classes).to(device=like.device, dtype=like.dtype).train(self.training)
        self.num_classes = num_classes
        self.arguments = {**self.arguments, "num_classes": num_classes}

    def set_num_frames(self, num_frames: int) -> list[str]:
        """Make the model read clips of another number of frames, without retraining, in place.

        The T x T matrices are interpolated (see `gta.ops.resize_mixing`); everything else works with any number.

        Returns:
            The names of the parameters that were resized.

        Raises:
            ValueError: the backbone cannot read this number of frames.
        """
        if num_frames < 1:
            raise ValueError(f"num_frames is {num_frames}: at least one frame is needed")
        self.backbone.resize(num_frames)
        frames = self.backbone.attention_frames(num_frames)
        resized = [f"backbone.{name}" for name in resize_attention(self.get_submodule("backbone"), frames)]
        self.num_frames = num_frames
        self.arguments = {**self.arguments, "num_frames": num_frames}
        return resized

    def resize(self, num_frames: int) -> list[str]:
        """Deprecated: the old name of `set_num_frames`."""
        warnings.warn(
            "resize is set_num_frames now; the old name will be removed in the next release",
            FutureWarning,
            stacklevel=2,
        )
        return self.set_num_frames(num_frames)

    def freeze_backbone(self, *, train_norms: bool = False) -> None:
        """Freeze the backbone: from here on, only the attention blocks and the head are trained.

        The backbone's own layers have no gradients and stay in evaluation mode, also after `train()`: BatchNorm keeps
        its statistics, and dropout and stochastic depth are off. Layers before the first attention block store no
        activations.

        Args:
            train_norms: let the backbone's norms learn their scale and shift (their statistics stay).
        """
        self._is_frozen, self.trains_norms = True, train_norms
        for module in own_modules(self.get_submodule("backbone")):
            trains = train_norms and isinstance(module, NORMS)
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(trains)
        self.train(self.training)

    def frozen_weights(self) -> tuple[str, ...]:
        """Names, as in `state_dict()`, of the backbone's weights and statistics that do not train; () if all do."""
        if not self._is_frozen:
            return ()
        own = set(own_modules(self.get_submodule("backbone")))
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        within = {f"{name}." if name else "" for name, module in self.named_modules() if module in own}
        names = (name for name in self.state_dict() if name[: name.rfind(".") + 1] in within)
        return tuple(name for name in names if name not in trained)

    def train(self, mode: bool = True) -> "VideoClassifier":
        """Set the training mode as usual, except that frozen parts stay in evaluation mode."""
        super().train(mode)
        if self._is_frozen:
            for module in own_modules(self.get_submodule("backbone")):
                module.training = False
        return self

    def no_weight_decay(self) -> set[str]:
        """Names of the parameters that should have no weight decay, in addition to norms and biases (as in timm).

        These are the T x T matrices of the blocks, and what timm's networks name, such as position embeddings.
        """
        return {f"{part}.{name}" for part, module in self.named_children() for name in spared_from_decay(module)}

    def _check(self, clip: Tensor) -> None:
        if not clip.is_floating_point():
            raise ValueError(
                f"a batch of clips must hold normalised floating-point numbers, not {clip.dtype}: "
                "gta.prepare(clip) converts uint8 frames"
            )
        channels = self.in_channels
        if clip.ndim == 5 and clip.shape[1] != channels and clip.shape[2] == channels:
            raise ValueError(
                f"a batch of clips must have the shape (B, {channels}, T, H, W), not {tuple(clip.shape)}, "
                "frames before channels: clip.transpose(1, 2) exchanges them"
            )
        if clip.ndim != 5 or clip.shape[1] != channels:
            raise ValueError(f"a batch of clips must have the shape (B, {channels}, T, H, W), not {tuple(clip.shape)}")
        frames, height, width = clip.shape[2:]
        if frames != self.num_frames:
            raise ValueError(f"the clip has {frames} frames, but the model was built for {self.num_frames}")
        minimum = self.backbone.minimum_size
        if height < minimum or width < minimum:
            raise ValueError(f"the clip is {height}x{width} pixels, but the model needs at least {minimum}x{minimum}")
