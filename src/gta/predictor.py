"""From a checkpoint and a video file to named classes with scores."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from gta.checkpoint import Checkpoint, read_checkpoint
from gta.clips.dataset import clip_views, window_views
from gta.clips.transforms import Normalize
from gta.config import ClipConfig
from gta.errors import CheckpointError, OptionError
from gta.evaluation.scores import video_scores
from gta.models.restore import build_stored_model
from gta.types import Prediction, WindowPrediction


def build_model(checkpoint: Checkpoint) -> nn.Module:
    """Build the network that a checkpoint describes, with its weights, in evaluation mode on the CPU.

    Raises:
        CheckpointError: this version cannot build such a model, the weights do not fit it, or it cannot read the clips.
    """
    model = build_stored_model(checkpoint)
    clip = checkpoint.card.clip
    if clip is not None:
        smallest, side = int(model.backbone.minimum_size), clip.test_crop_size or clip.crop_size  # pyright: ignore[reportArgumentType]
        if side < smallest or clip.num_frames != model.num_frames:
            raise CheckpointError(
                f"{checkpoint.path}: its clips have {clip.num_frames} frames of {side} pixels, but its model reads "
                f"{model.num_frames} of at least {smallest}"
            )
    return model


def clip_protocol(checkpoint: Checkpoint) -> ClipConfig:
    """How the checkpoint's model wants its videos: sampling, sizes, normalisation, views.

    Raises:
        CheckpointError: the file does not say.
    """
    if checkpoint.card.clip is None:
        raise CheckpointError(
            f"{checkpoint.path}: it does not say how a video becomes a clip (sampling, sizes, normalisation): start a "
            "training from it with --model.pretrained"
        )
    return checkpoint.card.clip


def choose_device(device: str) -> torch.device:
    """`auto` is the GPU where PyTorch finds one, else the CPU; anything else is PyTorch's name of a device.

    Raises:
        OptionError: there is no such device here.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise OptionError(f"--device is {device}: PyTorch has no such device here; use auto or cpu") from error
    return place


class Predictor:
    """Classifies video files with a trained model.

    Args:
        model: (B, 3, T, H, W) float32 -> logits (B, K).
        classes: K names in the order of the logits.
        clip: how a video becomes clips; all its evaluation views are averaged.
        device: where to compute.
    """

    def __init__(
        self, model: nn.Module, *, classes: tuple[str, ...], clip: ClipConfig, device: str | torch.device = "cpu"
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.prepare = Normalize(clip.mean, clip.std).to(self.device)
        self.classes = classes
        self.clip = clip

    @classmethod
    def from_checkpoint(cls, path: str | Path, device: str = "auto") -> "Predictor":
        """Load a checkpoint that `gta train` wrote; nothing else is needed.

        Args:
            path: a .ckpt file.
            device: `auto` (a GPU if there is one), or PyTorch's name of a device.

        Raises:
            CheckpointError: the file is missing, damaged or of another kind.
        """
        checkpoint = read_checkpoint(path)
        if untrained := checkpoint.card.untrained:
            warnings.warn(f"{path}: {', '.join(untrained)} hold random starting values: train them first", stacklevel=2)
        return cls(
            build_model(checkpoint),
            classes=checkpoint.classes,
            clip=clip_protocol(checkpoint),
            device=choose_device(device),
        )

    def predict(self, path: str | Path, topk: int = 5) -> Prediction:
        """Classify one video file or folder of frames.

        Args:
            path: what FFmpeg can read, or a folder of JPEG frames.
            topk: how many classes to name, 1 or more (at most all of them).

        Raises:
            VideoError: the video is missing or cannot be read.
            ValueError: `topk` is below 1.
        """
        if topk < 1:
            raise ValueError(f"topk is {topk}: at least one class is needed")
        return Prediction(Path(path), *self.best(clip_views(path, self.clip), topk))

    def predict_windows(
        self, path: str | Path, *, window_seconds: float, hop_seconds: float | None = None, topk: int = 5
    ) -> Iterator[WindowPrediction]:
        """Classify a long video window by window, in the order of time; one window is in memory at a time.

        Args:
            path: what FFmpeg can read, or a folder of JPEG frames.
            window_seconds: length of a window, above 0. Its frames are sampled as those of a whole video are.
            hop_seconds: from the beginning of one window to that of the next, above 0; as long as a window if not
                given.
            topk: how many classes to name, 1 or more (at most all of them).

        Yields:
            A prediction for each window. What is left at the end is a window of its own if it is at least half as
            long; a video that is shorter than a window is one window.

        Raises:
            VideoError: the video is missing or cannot be read (to the end).
            ValueError: a number is out of range.
        """
        if topk < 1:
            raise ValueError(f"topk is {topk}: at least one class is needed")
        hop = window_seconds if hop_seconds is None else hop_seconds
        for start, end, views in window_views(path, self.clip, window_seconds=window_seconds, hop_seconds=hop):
            yield WindowPrediction(Path(path), start, end, *self.best(views, topk))

    def best(self, views: Tensor, topk: int) -> tuple[tuple[str, ...], tuple[float, ...]]:
        """Names and probabilities of the classes that a video's views get, best first."""
        best = torch.topk(self.scores(views), min(topk, len(self.classes)))
        return tuple(self.classes[index] for index in best.indices.tolist()), tuple(best.values.tolist())

    def scores(self, views: Tensor) -> Tensor:
        """Class probabilities (K,) float32 on the CPU of one video's views, uint8 (V, 3, T, H, W), averaged."""
        with torch.inference_mode():
            clip = views.unsqueeze(0).to(self.device)
            return video_scores(self.model, clip, prepare=self.prepare, averaging=self.clip.averaging)[0].cpu()
