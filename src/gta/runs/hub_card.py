"""The page of a model on a hub, as Markdown: what it is, how it was trained and measured, how to use it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gta.config import ClipConfig
from gta.evaluation.metrics import tells_top5
from gta.model_card import ModelCard
from gta.terminal import quantity

CITATION = """@inproceedings{he2021gta,
  title     = {{GTA}: Global Temporal Attention for Video Action Understanding},
  author    = {He, Bo and Yang, Xitong and Wu, Zuxuan and Chen, Hao and Lim, Ser-Nam and Shrivastava, Abhinav},
  booktitle = {British Machine Vision Conference (BMVC)},
  year      = {2021}
}"""

_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#$~])")
_SHOWN_CLASSES = 50


@dataclass(frozen=True)
class RunFacts:
    """What the folder of a training run tells beside the checkpoint; empty mappings where a file is not there.

    Args:
        config: `config.json`.
        results: `results.json`.
        probe: `probe/probe.json`, what `gta probe` found.
        evaluations: metrics of `gta evaluate` by the name of their file.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    results: Mapping[str, Any] = field(default_factory=dict)
    probe: Mapping[str, Any] = field(default_factory=dict)
    evaluations: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def beside(cls, checkpoint: Path) -> "RunFacts":
        """Read them from the checkpoint's folder; a file that is damaged counts as missing."""
        folder = checkpoint.parent
        known = ("config.json", "results.json", "versions.json")
        others = {path.stem: _read(path) for path in sorted(folder.glob("*.json")) if path.name not in known}
        return cls(
            _read(folder / "config.json"),
            _read(folder / "results.json"),
            _read(folder / "probe" / "probe.json"),
            {name: found for name, found in others.items() if isinstance(found.get("top1"), int | float)},
        )


def hub_page(name: str, card: ModelCard, facts: RunFacts, *, parameters: int, latency_ms: float) -> str:
    """The page.

    Args:
        name: `owner/name`.
        card: what the model is.
        facts: how it was trained and measured, as far as known.
        parameters: number of weights.
        latency_ms: of one clip, on one core.
    """
    parts = [
        _front_matter(card),
        f"# {_text(name.partition('/')[2])}",
        f"`{card.model['name']}`: {len(card.classes)} classes, {parameters / 1e6:.2f} million parameters; "
        f"{latency_ms:.1f} ms for one clip on one core of the machine that made this page.",
        _section("Use", _usage(name)),
        _section("Input", _protocol(card.clip)),
        _section("Training", _training(facts)),
        _section("Results", _results(facts)),
        _section("Order of frames", _order(card.clip, facts.probe)),
        _section("Classes", _classes(card.classes)),
        _section("Citation", f"```bibtex\n{CITATION}\n```"),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(card: ModelCard) -> str:
    values = {
        "library_name": "gta-video",
        "pipeline_tag": "video-classification",
        "tags": ["video-classification", "action-recognition", "global-temporal-attention", str(card.model["name"])],
    }
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True)}---"


def _usage(name: str) -> str:
    return (
        f"```sh\npip install gta-video\ngta predict hf://{name} clip.mp4\n```\n\n"
        "```python\nimport gta\n\n"
        f'predictor = gta.Predictor.from_checkpoint("hf://{name}")\n'
        'print(predictor.predict("clip.mp4"))\n'
        f'model = gta.create_model(pretrained="hf://{name}")  # the network, to train further\n```'
    )


def _protocol(clip: ClipConfig | None) -> str:
    if clip is None:
        return "The model's file does not say how a video becomes a clip."
    side = clip.test_crop_size or clip.crop_size
    channels = f"red, green, blue; mean {list(clip.mean)}, standard deviation {list(clip.std)}"
    if clip.flow:
        channels = f"{clip.flow} optical flows each, from a folder of them instead of a video"
    return (
        f"{clip.num_frames} frames of {side}x{side} pixels ({clip.sampling}, stride {clip.frame_stride}), {channels}. "
        f"{_views(clip)}"
    )


def _views(clip: ClipConfig) -> str:
    views = quantity(clip.test_clips, "clip"), quantity(clip.test_crops, "crop")
    return f"Views of a video in predictions: {' x '.join(views)}, averaged ({clip.averaging})."


def _training(facts: RunFacts) -> str:
    if not facts.config:
        return "How it was trained is not known: there was no configuration next to the checkpoint."
    data, optim, run = (_part(facts.config, name) for name in ("data", "optim", "run"))
    rows = [
        ("recipe", run.get("recipe") or None),
        ("data set", Path(str(data.get("root", ""))).name),  # the name alone: no path of the machine
        ("layout", data.get("layout")),
        ("preset", _part(data, "clip").get("preset")),
        ("epochs", facts.results.get("epochs", run.get("max_epochs"))),
        ("optimizer", f"{optim.get('optimizer')}, learning rate {optim.get('lr')}, {optim.get('schedule')}"),
        ("batch size", data.get("batch_size")),
        ("seed", run.get("seed")),
        ("precision", run.get("precision")),
    ]
    return _table(("", "value"), rows)


def _results(facts: RunFacts) -> str:
    best = _part(facts.results, "best")
    found = [("best epoch of the training", best, _views_of_training(facts))] if best else []
    found += [(name, values, _views_of(_part(values, "protocol"))) for name, values in facts.evaluations.items()]
    rows = [
        (name, values.get("num_videos"), views, _percent(values.get("top1")), _top5(values))
        for name, values, views in found
    ]
    if not rows:
        return "No measurement was found next to the checkpoint."
    return _table(("measured", "videos", "views (clips x crops)", "top-1", "top-5"), rows)


def _top5(values: Mapping[str, Any]) -> str:
    classes = values.get("per_class")
    told = not isinstance(classes, Mapping) or tells_top5(len(classes))
    return _percent(values.get("top5") if told else None)


def _views_of(protocol: Mapping[str, Any]) -> str | None:
    clips, crops = protocol.get("test_clips"), protocol.get("test_crops")
    return None if clips is None or crops is None else f"{clips} x {crops}"


def _views_of_training(facts: RunFacts) -> str | None:
    """How the epochs were validated: with the centre view alone unless all were asked for."""
    data = _part(facts.config, "data")
    choice = data.get("val_views")
    return None if choice is None else _views_of(_part(data, "clip")) if choice == "all" else "1 x 1"


def _order(clip: ClipConfig | None, probe: Mapping[str, Any]) -> str:
    found = _part(probe, "treatments")
    rows = [(name, _percent(_part(found, name).get("top1"))) for name in found]
    if not rows:
        return "Not probed: `gta probe` measures whether a model uses the order of frames."
    verdict = probe.get("verdict")
    told = [_table(("frames", "top-1"), rows)]
    if clip is not None:
        told.append(f"With {quantity(clip.test_clips, 'clip')} x {quantity(clip.test_crops, 'crop')} of each video.")
    if isinstance(verdict, str):
        told.append(f"Verdict: {_text(verdict)}.")
    return "\n\n".join(told)


def _classes(classes: Sequence[str]) -> str:
    more = len(classes) - _SHOWN_CLASSES
    lines = [f"- {_text(name)}" for name in classes[:_SHOWN_CLASSES]]
    return "\n".join([*lines, f"- and {more} more"] if more > 0 else lines)


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join("-" if c is None else _text(c) for c in row) + " |" for row in rows)])


def _text(value: object) -> str:
    """Names come from anywhere: no markup of theirs counts."""
    return _MARKUP.sub(r"\\\1", " ".join(str(value).split()))


def _percent(value: object) -> str:
    return f"{100 * value:.1f} %" if isinstance(value, int | float) else "-"


def _part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    return found if isinstance(found, Mapping) else {}


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
