"""A data set for PyTorch's `DataLoader`: no collate function and no `set_epoch`, but new random clips every epoch."""

import operator
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any, SupportsIndex

from torch.utils.data import Dataset, get_worker_info

from gta.clips.dataset import Sample, VideoDataset
from gta.errors import DataError, VideoError


class ClipDataset(Dataset[dict[str, Any]]):
    """The clips of a `VideoDataset` as dictionaries, for an ordinary `torch.utils.data.DataLoader`.

    An item is `{"clip": uint8 (3, T, H, W) in training and (V, 3, T, H, W) in evaluation, "label": int, "index":
    int}`. In training, every read of a video draws a new clip, which depends on the seed, the loader's seed
    (`torch.manual_seed` before the loop, or its `generator`) and on how often the video was read before, so that a
    script is reproducible. A video that cannot be read is replaced by another one in training and left out of the
    batch in evaluation, with a warning in both cases.

    Args:
        clips: the data set to read from.
    """

    def __init__(self, clips: VideoDataset) -> None:
        self.clips = clips
        self.classes = clips.videos.classes
        self.clip = clips.clip
        self._readings: Counter[int] = Counter()

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        """Read one clip.

        Raises:
            IndexError: there is no such video.
            TypeError: it is no whole number.
            VideoError: in evaluation, it cannot be read.
        """
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"video {number} is out of range: there are {len(self)}")
        sample = self._read(number % len(self))
        if sample.clip is None:
            raise VideoError(*sample.skipped[0])
        return _item(sample)

    def __getitems__(self, indices: Sequence[SupportsIndex]) -> list[dict[str, Any]]:
        """Read the clips of a batch, as `DataLoader` asks for them; those that cannot be read are left out.

        Raises:
            DataError: none of them can be read.
        """
        samples = [self._read(index) for index in indices]
        items = [_item(sample) for sample in samples if sample.clip is not None]
        if not items:
            path, reason = samples[0].skipped[0]
            raise DataError(f"none of a batch of {len(samples)} videos can be read; the first is {path}: {reason}")
        return items

    def _read(self, index: SupportsIndex) -> Sample:
        number = operator.index(index)  # tensors, which samplers may give, are counted as the numbers that they are
        worker = get_worker_info()
        # A loader gives new workers a new seed in every epoch; workers that stay, and this process, count.
        draw = (0 if worker is None else worker.seed) * 1_000_003 + self._readings[number]
        self._readings[number] += 1
        sample = self.clips[draw, number]
        for path, reason in sample.skipped:
            warnings.warn(f"{path}: left out: {reason}", RuntimeWarning, stacklevel=3)
        return sample


def _item(sample: Sample) -> dict[str, Any]:
    return {"clip": sample.clip, "label": sample.label, "index": sample.index}
