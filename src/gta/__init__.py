"""Global Temporal Attention (He et al., BMVC 2021) and its family inside any 2D or 3D video backbone.

Everything public is loaded on first use, so that `import gta` itself costs nothing and touches no device.
"""

import importlib
from typing import TYPE_CHECKING

from gta._version import __version__

if TYPE_CHECKING:
    from gta import blocks, ops
    from gta.backbones.insertion import insert_attention, remove_attention
    from gta.blocks.factory import list_blocks
    from gta.blocks.fused import fuse
    from gta.clips.loader import build_loader
    from gta.clips.transforms import prepare
    from gta.evaluation.ensembles import ensemble
    from gta.explain.run import explain
    from gta.models.converting import convert
    from gta.models.flops import count_flops
    from gta.models.registry import create_model, list_models
    from gta.predictor import Predictor
    from gta.recipes import recipe
    from gta.runs.api import open_dataset, train
    from gta.runs.evaluate import evaluate, probe
    from gta.streaming.stream import Stream
    from gta.types import Prediction, VideoInfo, WindowPrediction
    from gta.video.reading import probe_video, read_video

_ATTRIBUTES = {
    "create_model": "gta.models.registry",
    "list_blocks": "gta.blocks.factory",
    "list_models": "gta.models.registry",
    "count_flops": "gta.models.flops",
    "fuse": "gta.blocks.fused",
    "insert_attention": "gta.backbones.insertion",
    "remove_attention": "gta.backbones.insertion",
    "prepare": "gta.clips.transforms",
    "probe_video": "gta.video.reading",
    "read_video": "gta.video.reading",
    "open_dataset": "gta.runs.api",
    "train": "gta.runs.api",
    "convert": "gta.models.converting",
    "ensemble": "gta.evaluation.ensembles",
    "evaluate": "gta.runs.evaluate",
    "probe": "gta.runs.evaluate",
    "build_loader": "gta.clips.loader",
    "recipe": "gta.recipes",
    "Predictor": "gta.predictor",
    "Stream": "gta.streaming.stream",
    "Prediction": "gta.types",
    "VideoInfo": "gta.types",
    "WindowPrediction": "gta.types",
}
_MODULES = {"blocks", "explain", "ops"}  # `explain` can also be called

__all__ = [
    "Prediction",
    "Predictor",
    "Stream",
    "VideoInfo",
    "WindowPrediction",
    "__version__",
    "blocks",
    "build_loader",
    "convert",
    "count_flops",
    "create_model",
    "ensemble",
    "evaluate",
    "explain",
    "fuse",
    "insert_attention",
    "list_blocks",
    "list_models",
    "open_dataset",
    "ops",
    "prepare",
    "probe",
    "probe_video",
    "read_video",
    "recipe",
    "remove_attention",
    "train",
]


def __getattr__(name: str) -> object:
    """Import the public name that is asked for (PEP 562)."""
    if name in _ATTRIBUTES:
        value = getattr(importlib.import_module(_ATTRIBUTES[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"gta.{name}")
    else:
        raise AttributeError(f"module 'gta' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})
