"""Results as cells leave them, without training."""

import pytest

from gta.studies.results import CellResult


def make_result(row: str, seed: int, **changes) -> CellResult:
    values = {
        "row": row,
        "seed": seed,
        "top1": 0.5,
        "top5": 0.9,
        "loss": 1.25,
        "direction_accuracy": 0.5,
        "reversed_top1": 0.5,
        "shuffled_top1": 0.5,
        "order_effect": 0.0,
        "per_class": {"a": 0.5, "b": None},
        "num_videos": 640,
        "num_parameters": 311_144,
        "gflops": 0.0299,
        "clips_per_second": 170.0,
        "train_seconds": 60.0,
        "peak_memory_mib": 90.0,
        "curves": {"val_top1": [None, 0.3, None, 0.5], "train_loss": [2.7, 2.0, 1.5, 1.2]},
        "model": {"name": "tiny"},
        "versions": {"gta": "0", "torch": "2"},
        "machine": "a computer",
    }
    return CellResult(**{**values, **changes})


@pytest.fixture
def result():
    """The function that makes a cell's result."""
    return make_result
