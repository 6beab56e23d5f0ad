"""Recipes for the synthetic data set (`gta synthesize`), in a CPU and a GPU size."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gta.clips.presets import clip_config
from gta.config import ClipConfig, DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig

ROOT = Path("data/synthetic")
"""Where these recipes look for the data set unless told otherwise."""


def directed_clip(crop_size: int) -> ClipConfig:
    """The paper's sampling, with gentler crops and without the flip.

    A flip would turn clockwise into counter-clockwise under the old label. Crops down to 0.66 of the picture change an
    object's size by as much as "towards the camera" does: with them the narrow network needs several times the epochs.
    """
    resize = (round(crop_size * 15 / 14), round(crop_size * 17 / 14))
    return replace(clip_config("paper", crop_size=crop_size), resize=resize, crop="random", flip="none")


def synthetic() -> TrainConfig:
    """A narrow network at 56 px: minutes on two CPU cores. `--model.name tiny` is the 2D baseline."""
    return TrainConfig(
        model=ModelConfig(name="tiny_gta", num_frames=8, dropout=0.0),
        data=DataConfig(root=ROOT, batch_size=32, num_workers=2, clip=directed_clip(56)),
        optim=OptimConfig(
            optimizer="adamw",
            lr=1e-2,
            lr_batch_size=32,
            weight_decay=0.02,
            schedule="cosine",
            warmup_epochs=2.0,
            clip_grad_norm=5.0,
        ),
        run=RunConfig(folder=Path("runs/synthetic"), max_epochs=14),
    )


def synthetic_gpu() -> TrainConfig:
    """ResNet-50 with GTA at 112 px, from random weights, in bf16: for one GPU."""
    return TrainConfig(
        model=ModelConfig(name="r2d50_gta", num_frames=8, dropout=0.3),
        data=DataConfig(root=ROOT, batch_size=64, num_workers=8, clip=directed_clip(112)),
        optim=OptimConfig(
            optimizer="adamw",
            lr=1e-3,
            lr_batch_size=64,
            weight_decay=0.02,
            schedule="cosine",
            warmup_epochs=2.0,
            clip_grad_norm=5.0,
        ),
        run=RunConfig(folder=Path("runs/synthetic_gpu"), max_epochs=30, precision="bf16"),
    )


def streaming() -> TrainConfig:
    """A causal network at 56 px that streams frame by frame: uni-directional shifts and causal Toeplitz GTA."""
    config = synthetic()
    model = replace(config.model, name="tiny_tsm_gta", causal=True, toeplitz=True)
    return replace(config, model=model, run=replace(config.run, folder=Path("runs/streaming")))


RECIPES: dict[str, Callable[[], TrainConfig]] = {
    "synthetic": synthetic,
    "synthetic_gpu": synthetic_gpu,
    "streaming": streaming,
}
SUMMARIES: dict[str, str] = {
    "synthetic": "synthetic data set, tiny network, minutes on a CPU",
    "streaming": "synthetic data set, tiny causal network for exact streaming (TSM and GTA)",
    "synthetic_gpu": "synthetic data set, ResNet-50 at 112 px, one GPU",
}
