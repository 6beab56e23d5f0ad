"""From a checkpoint or an exported folder, and a video, to named classes with scores."""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor, nn

from gta._renamed import renamed_keywords
from gta.blocks.fused import fuse
from gta.checkpoint import Checkpoint, read_checkpoint
from gta.clips.dataset import window_views
from gta.clips.sources import VideoInput, source_path, source_views
from gta.clips.transforms import Normalize
from gta.config import ClipConfig
from gta.datasets.finding import find_videos, is_frame_folder
from gta.errors import CheckpointError, OptionError, VideoError
from gta.evaluation.scores import video_scores
from gta.types import Prediction, WindowPrediction


def build_model(checkpoint: Checkpoint) -> nn.Module:
    """Build the network that a checkpoint describes, with its weights, in evaluation mode on the CPU.

    Raises:
        CheckpointError: this version cannot build such a model, the weights do not fit it, or it cannot read the clips.
    """
    from gta.models.restore import build_stored_model  # with timm, which exported folders do not need

    model = build_stored_model(checkpoint)
    clip = checkpoint.card.clip
    if clip is not None:
        smallest, side = model.backbone.minimum_size, clip.test_crop_size or clip.crop_size
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
            f"{checkpoint.path}: it does not store the preprocessing of videos (sampling, sizes, normalisation): use "
            "it to start a training run (model.pretrained)"
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
        chosen = torch.device(device)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise OptionError(f"`device` is {device}: PyTorch has no such device here; use auto or cpu") from error
    return chosen


def load_predictor(path: str | Path, *, device: str = "auto", trust: bool = False) -> "Predictor":
    """The predictor of a checkpoint, or of a folder that `gta export` wrote.

    Args:
        path: a .ckpt file, or the folder.
        device: of a checkpoint's model; exported ones run on the CPU.
        trust: as in `Predictor.from_exported`.

    Raises:
        GtaError: it cannot be loaded, or an exported folder cannot run on the device.
    """
    from gta.export.card import is_exported

    if not is_exported(path):
        return Predictor.from_checkpoint(path, device=device)
    if device not in ("auto", "cpu"):
        raise OptionError(f"`device` is {device}: the exported model in {path} runs on the CPU")
    return Predictor.from_exported(path, trust=trust)


class Predictor:
    """Classifies videos with a trained model.

    Args:
        model: (B, 3, T, H, W) float32 -> logits (B, K).
        classes: K names in the order of the logits.
        clip: sampling and preprocessing of videos; the scores of all its evaluation views are averaged.
        device: device to run on.
        reversals: class name -> name of the class that is its time reversal.

    Attributes:
        model: the network, on the device.
        fused: the network as `gta.fuse` returned it on construction, which computes the predictions.

    >>> predictor = gta.Predictor.from_checkpoint("runs/mine/best.ckpt")
    >>> prediction = predictor.predict("clip.mp4", top_k=3)
    >>> len(prediction.labels), prediction.scores[0] >= prediction.scores[1]
    (3, True)
    >>> [prediction.error for prediction in predictor.predict("videos", batch_size=4)].count(None)  # a whole folder
    48
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        classes: tuple[str, ...],
        clip: ClipConfig,
        device: str | torch.device = "cpu",
        reversals: Mapping[str, str] | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.model = model.to(self.device).eval()
        self.fused = fuse(self.model)
        self.prepare: nn.Module = Normalize(clip.mean, clip.std, flow=clip.flow).to(self.device)
        self.classes = classes
        self.clip = clip
        self.reversals = dict(reversals or {})

    @classmethod
    def from_checkpoint(cls, path: str | Path, device: str = "auto") -> "Predictor":
        """Load a checkpoint that `gta train` wrote; nothing else is needed.

        Args:
            path: a .ckpt file.
            device: `auto` (a GPU if there is one), or a PyTorch device name.

        Raises:
            CheckpointError: the file is missing, damaged or not a checkpoint of gta.
        """
        checkpoint = read_checkpoint(path)
        if untrained := checkpoint.card.untrained:
            warnings.warn(f"{path}: {', '.join(untrained)} hold random starting values: train them first", stacklevel=2)
        return cls(
            build_model(checkpoint),
            classes=checkpoint.classes,
            clip=clip_protocol(checkpoint),
            device=choose_device(device),
            reversals=checkpoint.reversals,
        )

    @classmethod
    def from_exported(cls, folder: str | Path, *, trust: bool = False, num_threads: int | None = None) -> "Predictor":
        """Load a folder that `gta export` wrote, on the CPU; needs its runtime, and neither timm nor Lightning.

        Args:
            folder: the folder with card.json.
            trust: also load the formats torch and aoti, whose files can run arbitrary code.
            num_threads: CPU threads for ONNX Runtime and OpenVINO; by default, as many as PyTorch uses.

        Raises:
            CheckpointError: the folder is missing, damaged, not an exported model, or needs `trust`.
            OptionError: the runtime is not installed.
        """
        from gta.export.runtimes import load_exported

        exported = load_exported(folder, trust=trust, num_threads=num_threads)
        card = exported.card
        predictor = cls(exported, classes=card.classes, clip=card.clip, reversals=card.model.reversals)
        predictor.prepare = nn.Identity()  # normalisation is inside
        return predictor

    @overload
    def predict(self, source: str | Path, top_k: int = 5, *, batch_size: int = 8) -> Prediction | Any: ...
    @overload
    def predict(
        self, source: bytes | bytearray | memoryview | np.ndarray | Tensor, top_k: int = 5, *, batch_size: int = 8
    ) -> Prediction: ...
    @overload
    def predict(self, source: Sequence[VideoInput], top_k: int = 5, *, batch_size: int = 8) -> list[Prediction]: ...
    @overload
    def predict(self, source: VideoInput, top_k: int = 5, *, batch_size: int = 8) -> Prediction: ...

    @renamed_keywords(topk="top_k")
    def predict(
        self, source: VideoInput | Sequence[VideoInput], top_k: int = 5, *, batch_size: int = 8
    ) -> Prediction | list[Prediction]:
        """Classify one video or several.

        Args:
            source: one video: the path of a file that FFmpeg can read or of a folder of frames; a file's content as
                bytes, or a file open in binary mode; frames, uint8 (T, H, W, 3) or (T, 3, H, W), red, green, blue, as
                an array or a tensor. Several: a list or tuple of these, or the path of a folder with videos at any
                depth, sorted by name.
            top_k: how many classes to name, 1 or more (at most all of them).
            batch_size: how many videos are classified together, if there are several.

        Returns:
            The prediction for one video; for several videos, a list in their order, in which a video that cannot be
            read has an `error` instead of labels.

        Raises:
            VideoError: the video is missing or cannot be read (one video only).
            DataError: the folder contains no videos.
            ValueError: a number is below 1, frames have another dtype or shape, or the model has another number of
                classes than names.

        >>> import numpy as np
        >>> from gta.config import ClipConfig
        >>> model = gta.create_model("tiny_gta", num_classes=2, num_frames=8)
        >>> predictor = gta.Predictor(model, classes=("closing", "opening"), clip=ClipConfig(crop_size=32, resize=32))
        >>> frames = np.zeros((20, 48, 64, 3), np.uint8)
        >>> len(predictor.predict(frames).labels)
        2
        >>> predictor.predict(["missing.mp4"])[0].error
        'no such file'
        """
        if isinstance(source, str | Path) and Path(source).is_dir() and not is_frame_folder(Path(source)):
            source = find_videos([source]).videos
        if isinstance(source, list | tuple):
            return list(self.predict_each(source, top_k, batch_size=batch_size))
        _check_at_least_one(top_k=top_k, batch_size=batch_size)
        return Prediction(source_path(source), *self.best(source_views(source, self.clip), top_k))  # pyright: ignore[reportArgumentType]

    @renamed_keywords(topk="top_k")
    def predict_each(
        self, sources: Iterable[VideoInput], top_k: int = 5, *, batch_size: int = 8
    ) -> Iterator[Prediction]:
        """Classify many videos, one batch in memory at a time.

        Args:
            sources: the videos, each as `predict` takes one.
            top_k: how many classes to name, 1 or more (at most all of them).
            batch_size: how many videos are classified together, 1 or more.

        Yields:
            A prediction for each video, in order; a video that cannot be read has an `error` instead of labels.

        Raises:
            ValueError: a number is below 1, or frames have another dtype or shape.
        """
        _check_at_least_one(top_k=top_k, batch_size=batch_size)
        waiting: list[tuple[Path | None, Tensor | str]] = []
        for source in sources:
            path = source_path(source)
            try:
                waiting.append((path, source_views(source, self.clip)))
            except VideoError as error:
                of_videos = path is not None and path.is_dir() and not is_frame_folder(path)
                hint = "; to classify the videos in it, give the folder alone, not in a list" if of_videos else ""
                waiting.append((path, error.reason + hint))
            if len(waiting) == batch_size:
                yield from self._finish(waiting, top_k)
                waiting = []
        yield from self._finish(waiting, top_k)

    def _finish(self, waiting: list[tuple[Path | None, Tensor | str]], top_k: int) -> Iterator[Prediction]:
        """The predictions of a batch; what stands there as a text is why a video could not be read."""
        views = [found for _, found in waiting if isinstance(found, Tensor)]
        scores = iter(self.batch_scores(torch.stack(views)) if views else ())
        for path, found in waiting:
            if isinstance(found, str):
                yield Prediction(path, (), (), found)
            else:
                yield Prediction(path, *self.name_best(next(scores), top_k))

    @renamed_keywords(topk="top_k", window_seconds="window", hop_seconds="hop")
    def predict_windows(
        self, path: str | Path, *, window: float, hop: float | None = None, top_k: int = 5
    ) -> Iterator[WindowPrediction]:
        """Classify a long video window by window, in order, with one window in memory at a time.

        Args:
            path: a file that FFmpeg can read, or a folder of frames.
            window: length of a window in seconds, above 0. Frames are sampled from it as from a whole video.
            hop: seconds from the start of one window to the start of the next, above 0; by default, `window`.
            top_k: how many classes to name, 1 or more (at most all of them).

        Yields:
            A prediction for each window. The rest at the end is a window of its own if it is at least half as long;
            a video shorter than a window is one window.

        Raises:
            VideoError: the video is missing or cannot be read (to the end).
            ValueError: a number is out of range.
        """
        _check_at_least_one(top_k=top_k)
        hop = window if hop is None else hop
        for start, end, views in window_views(path, self.clip, window=window, hop=hop):
            yield WindowPrediction(Path(path), start, end, *self.best(views, top_k))

    def best(self, views: Tensor, top_k: int) -> tuple[tuple[str, ...], tuple[float, ...]]:
        """Names and probabilities of the classes that a video's views, uint8 (V, 3, T, H, W), get, best first."""
        return self.name_best(self.scores(views), top_k)

    def name_best(self, scores: Tensor, top_k: int) -> tuple[tuple[str, ...], tuple[float, ...]]:
        """Names and probabilities of the classes with the highest of the probabilities `scores` (K,), best first."""
        if len(scores) != len(self.classes):
            raise ValueError(
                f"the model gives {len(scores)} scores per clip, but `classes` has {len(self.classes)} name(s)"
            )
        best = torch.topk(scores, min(top_k, len(self.classes)))
        return tuple(self.classes[index] for index in best.indices.tolist()), tuple(best.values.tolist())

    def scores(self, views: Tensor) -> Tensor:
        """Class probabilities (K,) float32 on the CPU of one video's views, uint8 (V, 3, T, H, W), averaged."""
        return self.batch_scores(views.unsqueeze(0))[0]

    def batch_scores(self, views: Tensor) -> Tensor:
        """Class probabilities (B, K) float32 on the CPU of B videos' views, uint8 (B, V, 3, T, H, W), averaged."""
        with torch.inference_mode():
            clips = views.to(self.device)
            return video_scores(self.fused, clips, prepare=self.prepare, averaging=self.clip.averaging).cpu()


def _check_at_least_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise ValueError(f"{name} is {number}: it must be 1 or more")
