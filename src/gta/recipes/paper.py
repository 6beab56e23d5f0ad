"""The recipes of the paper's results (He et al., BMVC 2021): Tables 1 to 6.

Something-Something V1 and V2: 2D models after section 4.1 (8 or 16 frames, TSN segments, SGD at 0.01 for a batch of
32, 50 epochs, ImageNet weights); SlowFast 16x8 after PySlowFast's recipe for V2. Kinetics-400: 196 epochs, cosine.
Each function returns the whole configuration; what the paper leaves open is named in its docstring.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal

from gta.clips.presets import clip_config
from gta.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from gta.paper.accuracy import TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6

Something = Literal["ssv1", "ssv2"]

# The models of Table 5 and the backbones below them.
_KINETICS_MODELS = tuple(
    f"{backbone}{block}" for backbone in ("c2d50", "slowfast101_8x8") for block in ("", "_nl", "_gta")
)


def something_2d(
    *, data: Something, model: str, num_frames: int, name: str, at: dict[str, int] | None = None, num_groups: int = 8
) -> TrainConfig:
    """2D models on Something-Something (section 4.1).

    Open in the paper: the weight decay (5e-4, as TSM) and gradient clipping (norm 20, as TSM).
    """
    return TrainConfig(
        model=ModelConfig(name=model, num_frames=num_frames, pretrained="imagenet", at=at, num_groups=num_groups),
        data=DataConfig(
            root=Path("data") / data,
            layout=data,
            batch_size=32,
            num_workers=8,
            clip=clip_config("paper", num_frames=num_frames),
        ),
        optim=OptimConfig(
            optimizer="sgd",
            lr=0.01,
            lr_batch_size=32,
            momentum=0.9,
            weight_decay=5e-4,
            schedule="steps",
            schedule_interval="epoch",
            warmup_epochs=2.0,
            step_epochs=(30, 40, 45),
            step_factor=0.1,
            clip_grad_norm=20.0,
        ),
        run=RunConfig(folder=Path("runs") / name, max_epochs=50),
    )


def something_slowfast(*, data: Something, model: str, name: str) -> TrainConfig:
    """SlowFast-R50 16x8 on Something-Something: 64 frames, 16 of them in the slow pathway.

    The paper starts from Kinetics-400 weights: give them with `--model.pretrained FILE`. Its schedule is PySlowFast's
    for V2 (22 epochs, 0.03 for a batch of 128, steps at 14 and 18, weight decay 1e-6, no flip, a frame from each of
    64 parts of the video, one view of 256 pixels in tests), and its short side varies in [256, 340].
    """
    return TrainConfig(
        model=ModelConfig(name=model, num_frames=64),
        data=DataConfig(
            root=Path("data") / data,
            layout=data,
            batch_size=16,
            num_workers=8,
            clip=clip_config("paper", sampling="segments", num_frames=64),
        ),
        optim=OptimConfig(
            optimizer="sgd",
            lr=0.03,
            lr_batch_size=128,
            momentum=0.9,
            nesterov=True,
            weight_decay=1e-6,
            schedule="steps",
            schedule_interval="epoch",
            warmup_epochs=0.19,
            warmup_start_factor=0.0033,
            step_epochs=(14, 18),
            step_factor=0.1,
            clip_grad_norm=None,
        ),
        run=RunConfig(folder=Path("runs") / name, max_epochs=22, precision="bf16"),
    )


def kinetics(*, model: str, num_frames: int, frame_stride: int, batch_size: int, name: str) -> TrainConfig:
    """Kinetics-400 from scratch: 196 epochs, cosine, 0.01 for a batch of 64; tested with 10 clips x 3 crops at 256.

    Open in the paper: warm-up (34 epochs) and weight decay (1e-4), as PySlowFast.
    """
    return TrainConfig(
        model=ModelConfig(name=model, num_frames=num_frames),
        data=DataConfig(
            root=Path("data/k400"),
            layout="kinetics",
            batch_size=batch_size,
            num_workers=8,
            clip=clip_config(
                "paper", sampling="dense", data="kinetics", num_frames=num_frames, frame_stride=frame_stride
            ),
        ),
        optim=OptimConfig(
            optimizer="sgd",
            lr=0.01,
            lr_batch_size=64,
            momentum=0.9,
            nesterov=True,
            weight_decay=1e-4,
            schedule="cosine",
            warmup_epochs=34.0,
            warmup_start_factor=0.1,
            clip_grad_norm=None,
        ),
        run=RunConfig(folder=Path("runs") / name, max_epochs=196, precision="bf16", validate_every=4),
    )


def _all() -> tuple[dict[str, Callable[[], TrainConfig]], dict[str, str]]:
    """Name every recipe: <data>_<model>[_<change>][_<frames>f]."""
    recipes: dict[str, Callable[[], TrainConfig]] = {}
    summaries: dict[str, str] = {}

    def add(name: str, make: Callable[..., TrainConfig], summary: str, **arguments: object) -> None:
        recipes[name] = partial(make, name=name, **arguments)
        summaries[name] = summary

    versions: tuple[tuple[Something, int], ...] = (("ssv1", 0), ("ssv2", 1))
    for data, column in versions:
        for model, accuracy in TABLE_1.items():
            paper = f"Table 1: {accuracy[column]} % top-1 in the paper"
            if model.startswith("slowfast"):
                paper += ", from Kinetics-400 weights (--model.pretrained FILE)"
                add(f"{data}_{model}", something_slowfast, paper, data=data, model=model)
                continue
            add(f"{data}_{model}_8f", something_2d, paper, data=data, model=model, num_frames=8)
            longer = "as Table 1, with 16 frames"
            add(f"{data}_{model}_16f", something_2d, longer, data=data, model=model, num_frames=16)
        for model in ("tsm50", "tsm50_nl", "tsm50_dnl", "tsm50_gta"):
            for frames, accuracy in TABLE_6.items():
                known = f"Table 6: {accuracy[column]} % top-1 in the paper"
                summary = known if model == "tsm50_gta" else "as Table 6's TSM-R50, with another block or none"
                add(f"{data}_{model}_{frames}f", something_2d, summary, data=data, model=model, num_frames=frames)
    for places, accuracy in TABLE_2[1:-1]:  # the first and the last line are Table 1's
        summary = f"Table 2: {accuracy} % top-1 in the paper"
        change = "_".join(f"{stage}_{count}" for stage, count in places.items())
        name = f"ssv1_r2d50_gta_{change}_8f"
        add(name, something_2d, summary, data="ssv1", model="r2d50_gta", num_frames=8, at=places)
    for block, accuracy in TABLE_3.items():
        if block == "gta":  # Table 1's
            continue
        summary = f"Table 3: {accuracy} % top-1 in the paper"
        add(f"ssv1_r2d50_{block}_8f", something_2d, summary, data="ssv1", model=f"r2d50_{block}", num_frames=8)
    for groups, accuracy in TABLE_4.items():
        if groups == 8:  # the default: Table 1's
            continue
        summary = f"Table 4: {accuracy} % top-1 in the paper"
        name = f"ssv1_r2d50_gta_{groups}groups_8f"
        add(name, something_2d, summary, data="ssv1", model="r2d50_gta", num_frames=8, num_groups=groups)
    for model in _KINETICS_MODELS:
        top1 = TABLE_5.get(model)
        summary = f"Table 5: {top1} % top-1 in the paper" if top1 else "the plain backbone of Table 5"
        shape = (
            {"num_frames": 8, "frame_stride": 8} if model.startswith("c2d") else {"num_frames": 32, "frame_stride": 2}
        )
        add(f"k400_{model}", kinetics, summary, model=model, batch_size=8, **shape)
    return recipes, summaries


RECIPES, SUMMARIES = _all()
