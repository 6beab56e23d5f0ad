"""Exported networks beside the originals: the same answers on 100 clips in every runtime, and how fast they are.

python benchmarks/export.py parity  # every network in torch, ONNX and OpenVINO, any number of clips a call
python benchmarks/export.py speed   # eager, bf16 and every format of some networks on one thread, all in turns

Each network's result is appended to --results as a line of JSON, and one that is there is not measured again. The
weights are random, those that start as zero included, so that every attention block changes the answer.
"""

import argparse
import copy
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch

import gta
from gta.clips.presets import clip_config
from gta.config import ClipConfig
from gta.export.card import ExportCard, ExportPrecision, RuntimeName
from gta.export.clips import Clip, synthetic_clips
from gta.export.graph import ClipGraph, trace
from gta.export.parity import compare
from gta.export.run import Target, export_network, graph_outputs
from gta.export.runtimes import ExportedModel, open_runtime
from gta.export.speed import contenders
from gta.export.writers import write_program
from gta.model_card import ModelCard

BARE = "timm resnet50 + insert_attention"
FAMILIES = ("tiny", "r2d50", "tsm50", "c2d50", "slowfast50_8x8")
MODELS = (*(f"{family}_{block}" for family in FAMILIES for block in ("nl", "gta")), BARE)
TIMED = ("r2d50_gta", "r2d50_nl", "slowfast50_8x8_gta")
CLASSES = tuple(f"class {number}" for number in range(174))
PER_CALL = 9
Form = tuple[RuntimeName, ExportPrecision]
FORMS: tuple[Form, ...] = (
    ("torch", "float32"),
    ("aoti", "float32"),
    ("onnx", "float32"),
    ("openvino", "float32"),
    ("openvino", "bf16"),
    ("openvino", "int8"),
    ("onnx", "int8"),
)


def network_of(name: str) -> torch.nn.Module:
    """A network with random weights: no gain, bias or statistic at its start, and outputs that stay small."""
    torch.manual_seed(0)
    if name == BARE:
        network = timm.create_model("resnet50", num_classes=len(CLASSES))
        gta.insert_attention(network, block="gta", at={"res3": 2, "res4": 3}, num_frames=8)
    else:
        network = gta.create_model(name, num_classes=len(CLASSES), num_frames=frames_of(name))
    for key, value in network.state_dict().items():
        if key.endswith("running_var") or (key.endswith("weight") and value.ndim == 1):
            value.uniform_(0.6, 1.4)
        elif value.is_floating_point():
            fan = max(1, value[0].numel()) if value.ndim > 1 else 25
            value.normal_(std=fan**-0.5)
    return network.eval()


def frames_of(name: str) -> int:
    return 32 if name.startswith("slowfast") else 8


def clip_of(name: str, size: int) -> ClipConfig:
    preset = clip_config("paper", crop_size=size)
    return ClipConfig(
        num_frames=frames_of(name), crop_size=size, resize=preset.resize, mean=preset.mean, std=preset.std
    )


def parity(name: str, size: int, num_clips: int) -> dict[str, Any]:
    """Each runtime on all clips, nine a call and what is left over in the last, exported for any number of them."""
    network, clip = network_of(name), clip_of(name, size)
    samples = synthetic_clips(clip, num_clips)
    graph = ClipGraph(network, clip)
    began = time.process_time()
    expected = graph_outputs(graph, samples)
    found: dict[str, Any] = {
        "what": "parity",
        "model": name,
        "size": size,
        "frames": clip.num_frames,
        "clips": num_clips,
        "eager_seconds": round((time.process_time() - began) / num_clips, 4),
        "classes_named": len(set(expected.argmax(axis=1).tolist())),
        "attention_moves_logits_by": without_attention(network, clip, samples[:2], expected[:2]),
        "runtimes": {},
    }
    program = trace(graph, None)
    card = ExportCard(
        model=ModelCard(model={"name": name}, classes=CLASSES, clip=clip),
        runtime="torch",
        precision="float32",
        output="logits",
        batch_size=None,
        files={},
    )
    for runtime in ("torch", "onnx", "openvino"):
        with tempfile.TemporaryDirectory(prefix="gta-export-") as folder:
            place = Path(folder)
            names = write_program(program, place, runtime=runtime, output="logits", batch_size=None, clip=clip)
            own = replace(card, runtime=runtime, files={file: {} for file in names})
            model = ExportedModel(own, open_runtime(place, own))
            batches = (np.concatenate(samples[start : start + PER_CALL]) for start in range(0, num_clips, PER_CALL))
            outputs = np.concatenate([model.outputs(batch) for batch in batches])
        result = compare(expected, outputs, output="logits", precision="float32", clips="synthetic")
        found["runtimes"][runtime] = {
            "largest_difference": result.largest_difference,
            "top1_agreement": result.top1_agreement,
            "passed": result.passed and result.top1_agreement == 1,
        }
    return found


def without_attention(network: torch.nn.Module, clip: ClipConfig, samples: list[Clip], expected: Any) -> float:
    """The largest change of a logit when the attention blocks are taken out."""
    bare = copy.deepcopy(network)
    gta.remove_attention(bare)
    return float(np.abs(graph_outputs(ClipGraph(bare, clip), samples) - expected).max())


def speed(names: Iterable[str], size: int, rounds: int, forms: Sequence[Form]) -> list[dict[str, Any]]:
    """CPU seconds a clip on one thread: in every round each form of each network has one turn."""
    torch.set_num_threads(1)
    place = Path(tempfile.mkdtemp(prefix="gta-export-"))
    calls: dict[tuple[str, str], Any] = {}
    clips: dict[str, Clip] = {}
    try:
        for name in names:
            network, clip = network_of(name), clip_of(name, size)
            samples = synthetic_clips(clip, 4)
            clips[name] = samples[0]
            cards = {}
            for runtime, precision in forms:
                folder = place / f"{name}-{runtime}-{precision}"
                cards[folder] = export_network(
                    network,
                    folder,
                    target=Target(runtime, precision),
                    classes=CLASSES,
                    clip=clip,
                    samples=samples[:1],
                    calibration=samples[:4] if precision == "int8" else None,
                    force=True,  # random weights: int8 is timed here, its accuracy is measured on trained ones
                )
                print(f"written: {folder.name}", flush=True)
            for form, start in contenders(network, cards).items():
                calls[name, form] = start(1)
        seconds: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
        for turn in range(rounds + 1):
            for key, call in calls.items():
                began = time.process_time()
                call(clips[key[0]])
                if turn:
                    seconds[key].append(time.process_time() - began)
            print(f"round {turn} of {rounds}", flush=True)
    finally:
        shutil.rmtree(place)
    timed = {name: [form for owner, form in calls if owner == name] for name in clips}
    return [
        {
            "what": "speed",
            "model": name,
            "size": size,
            "frames": frames_of(name),
            "rounds": rounds,
            "seconds": {form: round(statistics.median(seconds[name, form]), 4) for form in timed[name]},
            # Ratios within each round, so that a slow moment of the machine touches both sides.
            "ratio": {
                form: round(
                    statistics.median(
                        one / other
                        for one, other in zip(seconds[name, "eager float32"], seconds[name, form], strict=True)
                    ),
                    3,
                )
                for form in timed[name]
            },
        }
        for name in clips
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["parity", "speed"])
    parser.add_argument("--models", nargs="+", help="names; those of the page of results if not given")
    parser.add_argument("--size", type=int, default=224, help="pixels of the clips' sides")
    parser.add_argument("--clips", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--forms", nargs="+", help="for speed, such as openvino-int8; all if not given")
    parser.add_argument("--results", type=Path, default=Path("export-results.jsonl"))
    options = parser.parse_args()
    lines = options.results.read_text().splitlines() if options.results.exists() else []
    done = {(one["what"], one["model"], one["size"]) for one in map(json.loads, lines)}
    names = options.models or (MODELS if options.what == "parity" else TIMED)

    def keep(found: dict[str, Any]) -> None:
        print(json.dumps(found, indent=1), flush=True)
        with options.results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found) + "\n")

    if options.what == "speed":
        forms = [form for form in FORMS if not options.forms or "-".join(form) in options.forms]
        for found in speed(names, options.size, options.rounds, forms):
            keep(found)
        return
    for name in names:
        if ("parity", name, options.size) not in done:
            keep(parity(name, options.size, options.clips))


if __name__ == "__main__":
    main()
