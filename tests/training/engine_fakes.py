"""Small stand-ins for the data set and the model, so that the engine is tested without decoding a video."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from gta.clips.loader import ClipSampler, start_worker
from gta.config import OptimConfig, RunConfig
from gta.model_card import describe

CLASSES = ("left", "right", "up", "down", "still")
# With this seed, ClipSampler draws epoch number e with 1000 + e, as the run in tests/data/files/trainer_run was drawn.
SEED = 1000 * pow(1_000_003, -1, 2**63) % 2**63
REVERSALS = {"left": "right", "right": "left", "up": "down", "down": "up"}


class FakeVideos(Dataset[dict[str, Any]]):
    """Random clips whose brightness over time tells the class; `bad` positions cannot be read."""

    def __init__(self, count: int, *, seed: int = 0, bad: tuple[int, ...] = (), views: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(count) % len(CLASSES)
        self.noise = torch.randint(0, 60, (count, 3, 4, 8, 8), generator=generator, dtype=torch.uint8)
        ramps = torch.tensor([[0, 1, 2, 3], [3, 2, 1, 0], [0, 3, 0, 3], [3, 0, 3, 0], [1, 1, 1, 1]], dtype=torch.uint8)
        self.clips = self.noise + 40 * ramps[self.labels].view(count, 1, 4, 1, 1)
        self.bad = set(bad)
        self.views = views

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        clip = self.clips[index].roll(epoch, dims=-1)
        if self.views:
            clip = torch.stack([clip] * self.views)
        skipped = [(f"{index}.mp4", "truncated")] if index in self.bad else []
        return {"clip": clip, "label": int(self.labels[index]), "index": index, "skipped": skipped}


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "clip": torch.stack([sample["clip"] for sample in samples]),
        "label": torch.tensor([sample["label"] for sample in samples]),
        "index": torch.tensor([sample["index"] for sample in samples]),
        "skipped": [item for sample in samples for item in sample["skipped"]],
    }


def loader(
    videos: FakeVideos,
    *,
    batch_size: int = 4,
    shuffle: bool = False,
    rank: int = 0,
    world_size: int = 1,
    workers: int = 0,
) -> DataLoader[Any]:
    sampler = ClipSampler(
        len(videos), batch_size=batch_size, shuffle=shuffle, seed=SEED, rank=rank, world_size=world_size
    )
    return DataLoader(
        videos,
        batch_size=batch_size,
        sampler=sampler,
        collate_fn=collate,
        num_workers=workers,
        worker_init_fn=start_worker,
        persistent_workers=workers > 0,
    )


class Scale(nn.Module):
    def forward(self, clip: Tensor) -> Tensor:
        return clip.float() / 128 - 1


class FakeModel(nn.Module):
    """Convolution, BatchNorm, T x T mixing, dropout and a linear head; small enough for milliseconds."""

    def __init__(self, num_classes: int = len(CLASSES), dropout: float = 0.2, norm: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 6, (1, 3, 3), padding=(0, 1, 1))
        self.norm = nn.BatchNorm3d(6) if norm else nn.Identity()
        self.mixing = nn.Parameter(torch.eye(4) + 0.1 * torch.randn(4, 4))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(24, num_classes)

    def forward(self, clip: Tensor) -> Tensor:
        features = torch.relu(self.norm(self.conv(clip))).mean(dim=(3, 4))
        return self.head(self.dropout((features @ self.mixing).flatten(1)))


def description() -> dict[str, Any]:
    return describe(model={"name": "fake"}, classes=CLASSES, clip={"averaging": "softmax"}, reversals=REVERSALS)


def optim(**changes: Any) -> OptimConfig:
    values: dict[str, Any] = {"lr": 0.1, "lr_batch_size": 4, "warmup_epochs": 0.5, "schedule": "cosine"}
    return OptimConfig(**{**values, **changes})


def run(folder: Path, **changes: Any) -> RunConfig:
    return RunConfig(**{"folder": folder, "max_epochs": 3, "accelerator": "cpu", **changes})


def model(seed: int = 0, **arguments: Any) -> FakeModel:
    torch.manual_seed(seed)
    return FakeModel(**arguments)
