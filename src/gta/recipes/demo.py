"""The runs of `gta demo`: several models, one budget, the synthetic data set, minutes on two CPU cores."""

from dataclasses import replace
from pathlib import Path

from gta.config import TrainConfig
from gta.recipes.synthetic import synthetic


def demo(*, model: str, videos: Path, folder: Path, max_epochs: int, seed: int, num_workers: int) -> TrainConfig:
    """Return the configuration of one model's run; between two models nothing else differs.

    One thread computes while the workers decode: with two cores, two computing threads would wait for each other
    whenever a worker takes one of the cores.

    Args:
        model: name of the model.
        videos: folder of the synthetic data set.
        folder: run folder to create.
        max_epochs: passes over the training videos.
        seed: seed of initialisation, shuffling, sampling and augmentation.
        num_workers: processes that decode videos.
    """
    config = synthetic()
    return replace(
        config,
        model=replace(config.model, name=model),
        data=replace(config.data, root=videos, num_workers=num_workers),
        run=replace(config.run, folder=folder, max_epochs=max_epochs, seed=seed, accelerator="cpu", num_threads=1),
    )
