"""The recipe for a user's own videos."""

from collections.abc import Callable
from pathlib import Path

from gta.clips.presets import clip_config
from gta.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig


def finetune() -> TrainConfig:
    """Fine-tune on a folder of your own (one folder per class): ImageNet weights, balanced classes, early stopping.

    A small learning rate with cosine decay and label smoothing suits a few hundred to some ten thousand videos.
    """
    return TrainConfig(
        model=ModelConfig(name="r2d50_gta", num_frames=8, pretrained="imagenet"),
        data=DataConfig(batch_size=16, num_workers=4, clip=clip_config("paper")),
        optim=OptimConfig(
            lr=0.005,
            lr_batch_size=32,
            schedule="cosine",
            warmup_epochs=1.0,
            label_smoothing=0.1,
            class_weights="balanced",
        ),
        run=RunConfig(folder=Path("runs/finetune"), max_epochs=30, patience=8),
    )


RECIPES: dict[str, Callable[[], TrainConfig]] = {"finetune": finetune}
SUMMARIES: dict[str, str] = {
    "finetune": "your own videos (--data.root DIR): ImageNet weights, balanced classes, early stopping"
}
