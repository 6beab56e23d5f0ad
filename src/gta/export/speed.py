"""How fast a network predicts in several forms, compared in one run: all of them take turns."""

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gta.export.card import ExportCard
from gta.export.graph import ClipGraph
from gta.export.runtimes import ExportedModel, open_runtime

Call = Callable[[NDArray[np.uint8]], object]

FIRST = "eager float32"
"""Name of the contender that the others are compared with."""

_ROUNDS = 7


def contenders(network: nn.Module, cards: Mapping[Path, ExportCard]) -> dict[str, Callable[[int], Call]]:
    """The original in float32 and bfloat16, and exported folders of it, for `measure_speed`."""
    clip = next(iter(cards.values())).clip

    def eager(bf16: bool) -> Callable[[int], Call]:
        graph = ClipGraph(network, clip, bf16=bf16)

        def call(batch: NDArray[np.uint8]) -> object:
            with torch.inference_mode():
                return graph(torch.from_numpy(batch))

        return lambda _: call

    def runtime(folder: Path, card: ExportCard) -> Callable[[int], Call]:
        def start(threads: int) -> Call:
            return ExportedModel(card, open_runtime(folder, card, threads)).outputs

        return start

    written = {f"{card.runtime} {card.precision}": runtime(folder, card) for folder, card in cards.items()}
    return {FIRST: eager(False), "eager bf16": eager(True), **written}


def measure_speed(
    contenders: Mapping[str, Callable[[int], Call]], clip: NDArray[np.uint8], *, rounds: int = _ROUNDS
) -> dict[str, Any]:
    """Median seconds per call of each contender, with one thread and with all.

    With one thread it is CPU time of the process, which other programs disturb less; with all threads wall time.

    Args:
        contenders: name -> what gives its call for a number of threads; `FIRST` must be among them.
        clip: uint8 (B, C, T, H, W), what each is called with.
        rounds: calls of each; in every round each makes one, after one round that warms up.

    Returns:
        Plain values: "threads" -> name -> {"seconds", "ratio"}, ratio to `FIRST`, larger is faster.
    """
    former = torch.get_num_threads()
    table: dict[str, Any] = {"clips_per_call": len(clip), "rounds": rounds, "threads": {}}
    try:
        for threads in sorted({1, former}):
            torch.set_num_threads(threads)
            clock = time.process_time if threads == 1 else time.perf_counter
            calls = {name: make(threads) for name, make in contenders.items()}
            seconds: dict[str, list[float]] = {name: [] for name in calls}
            for turn in range(rounds + 1):
                for name, call in calls.items():
                    began = clock()
                    call(clip)
                    if turn:
                        seconds[name].append(clock() - began)
            medians = {name: statistics.median(values) for name, values in seconds.items()}
            table["threads"][str(threads)] = {
                name: {"seconds": round(value, 6), "ratio": round(medians[FIRST] / value, 3)}
                for name, value in medians.items()
            }
    finally:
        torch.set_num_threads(former)
    return table


def speed_lines(table: Mapping[str, Any]) -> list[str]:
    """The table of `measure_speed` as lines of text."""
    counts = list(table["threads"])
    names = list(table["threads"][counts[0]])
    width = max(map(len, names))
    heads = [f"{count} thread{'s' * (count != '1')}" for count in counts]
    lines = [f"{'':<{width}}" + "".join(f"{head:>22}" for head in heads)]
    for name in names:
        cells = [table["threads"][count][name] for count in counts]
        lines.append(
            f"{name:<{width}}" + "".join(f"{1000 * c['seconds']:>12.1f} ms {c['ratio']:>5.2f}x" for c in cells)
        )
    return lines
