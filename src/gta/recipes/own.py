"""The recipes for a user's own videos."""

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
        data=DataConfig(batch_size=16, num_workers=4, match_model=True, clip=clip_config("paper")),
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


def adapt() -> TrainConfig:
    """Adapt an image network to videos with its backbone frozen: only the attention blocks and the head train.

    AdamW at the rate that adapters of frozen CLIP networks are trained with; the recipe suits CNNs and vision
    transformers alike, and fits videos that are too few, or a GPU that is too small, to fine-tune everything.
    """
    return TrainConfig(
        model=ModelConfig(name="r2d50_gta", num_frames=8, pretrained="imagenet", dropout=0.5, freeze="backbone"),
        data=DataConfig(batch_size=16, num_workers=4, match_model=True, clip=clip_config("paper")),
        optim=OptimConfig(
            optimizer="adamw",
            lr=5e-4,
            lr_batch_size=64,
            weight_decay=0.05,
            schedule="cosine",
            warmup_epochs=2.0,
            label_smoothing=0.1,
            clip_grad_norm=5.0,
            class_weights="balanced",
        ),
        run=RunConfig(folder=Path("runs/adapt"), max_epochs=30, patience=8),
    )


def finetune_transformer() -> TrainConfig:
    """Fine-tune an image transformer with GTA in it: AdamW, layer-wise decay of the learning rate, strong smoothing.

    The values are those that ImageNet fine-tuning of CLIP and MAE networks has settled on; early layers, which know
    images already, move little.
    """
    return TrainConfig(
        model=ModelConfig(name="vit_base_patch16_clip_224_gta", num_frames=8, pretrained="imagenet", dropout=0.5),
        data=DataConfig(batch_size=8, num_workers=4, match_model=True, clip=clip_config("paper")),
        optim=OptimConfig(
            optimizer="adamw",
            lr=1e-4,
            lr_batch_size=64,
            weight_decay=0.05,
            layer_decay=0.75,
            schedule="cosine",
            warmup_epochs=2.0,
            label_smoothing=0.1,
            clip_grad_norm=1.0,
            class_weights="balanced",
        ),
        run=RunConfig(folder=Path("runs/finetune_transformer"), max_epochs=30, patience=8),
    )


RECIPES: dict[str, Callable[[], TrainConfig]] = {
    "finetune": finetune,
    "finetune_transformer": finetune_transformer,
    "adapt": adapt,
}
SUMMARIES: dict[str, str] = {
    "finetune": "your own videos (--data.root DIR): ImageNet weights, balanced classes, early stopping",
    "finetune_transformer": "your own videos, an image transformer (CLIP's ViT-B/16): AdamW, layer-wise decay",
    "adapt": "your own videos, a frozen image network (--model.name, --model.pretrained): attention and head train",
}
