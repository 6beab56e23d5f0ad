"""Exporting a network: write it, run it, compare it with the original, describe it."""

import contextlib
import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gta.config import ClipConfig
from gta.errors import ExportError
from gta.export.card import CARD, ExportCard, ExportPrecision, Output, RuntimeName
from gta.export.clips import Clip, synthetic_clips
from gta.export.graph import ClipGraph, trace
from gta.export.parity import Parity, compare
from gta.export.runtimes import ExportedModel, open_runtime
from gta.export.writers import OPSET, check_precision, check_tools, write_program
from gta.files import atomic_folder, check_folder_writable, sha256, write_json
from gta.model_card import ModelCard, library_versions

_TOOLS = ("onnx", "onnxscript", "onnxruntime", "openvino", "nncf")
_DEFAULT_CLIPS = 16


@dataclass(frozen=True)
class Target:
    """What a network is exported to.

    Args:
        runtime: what shall run it.
        precision: arithmetic; which runtime has which is in `gta.export.writers.PRECISIONS`.
        output: what comes out.
        batch_size: clips per call, or None for any number.
    """

    runtime: RuntimeName
    precision: ExportPrecision = "float32"
    output: Output = "logits"
    batch_size: int | None = 1


def export_network(
    network: nn.Module,
    folder: str | Path,
    *,
    target: Target,
    classes: Sequence[str],
    clip: ClipConfig,
    reversals: Mapping[str, str] | None = None,
    arguments: Mapping[str, Any] | None = None,
    source: Mapping[str, Any] | None = None,
    samples: Sequence[Clip] | None = None,
    samples_from: str = "synthetic",
    calibration: Sequence[Clip] | None = None,
    limit: float | None = None,
    force: bool = False,
    measure: Callable[[ExportedModel], Mapping[str, Any]] | None = None,
) -> ExportCard:
    """Write `network` into `folder` for another runtime, and compare it there with the original.

    Args:
        network: a classifier of this package, a network of timm or torchvision with inserted attention (it reads the
            frames of clips, and their scores are averaged), or anything that maps normalised clips (B, C, T, H, W) to
            logits (B, K). It is put into evaluation mode on the CPU.
        folder: to create; a folder of this name is replaced once the new one is whole.
        target: what to export to.
        classes: K names in the order of the logits.
        clip: how a video becomes clips; the exported network reads clips of these sizes, uint8.
        reversals: name -> name of the class that is its time reversal.
        arguments: what builds the network again, "name" among them; noted in the card.
        source: name and digest of the checkpoint, noted in the card.
        samples: clips to compare both networks with, uint8 (1, C, T, H, W) each; 16 rendered ones if not given.
        samples_from: where `samples` are from, in a few words.
        calibration: clips to calibrate int8 with, which needs some.
        limit: what the difference may be; `gta.export.parity.LIMITS` if not given.
        force: keep the export if it differs by more.
        measure: further measurements with the exported network; what it returns goes into the card.

    Returns:
        The card, as it was written into the folder.

    Raises:
        ExportError: the network cannot be exported, or the exported one differs by more than the limit.
        OptionError: a library is missing, or the runtime does not have the precision.
        ValueError: int8 without calibration clips, or a network that does not fit `classes`.
    """
    check_precision(target.runtime, target.precision)
    check_tools(target.runtime, target.precision)
    if target.precision == "int8" and not calibration:
        raise ValueError("int8 needs clips to calibrate with")
    network = network.to("cpu").eval()
    graph = ClipGraph(network, clip, output=target.output)
    if samples is None:
        samples = synthetic_clips(clip, _DEFAULT_CLIPS)
    original = graph_outputs(graph, samples)
    if original.shape[1] != len(classes):
        raise ValueError(f"the network gives {original.shape[1]} scores, but there are {len(classes)} classes")
    card = ExportCard(
        model=ModelCard(
            model=dict(arguments or {"name": type(network).__name__}),
            classes=tuple(classes),
            clip=clip,
            reversals=dict(reversals or {}),
            versions=library_versions(_TOOLS),
        ),
        **_facts(target),
        files={},
        source=dict(source or {}),
    )
    with _folder(Path(folder)) as temporary:
        names = _write(graph, temporary, Path(folder), target, clip, calibration)
        card = replace(card, files={name: _file_facts(temporary / name) for name in names})
        exported = ExportedModel(card, open_runtime(temporary, card))
        parity = compare(
            original,
            np.concatenate([exported.outputs(sample) for sample in samples]),
            output=target.output,
            precision=target.precision,
            clips=samples_from,
            limit=limit,
        )
        if not force:
            parity.require()
        card = replace(card, measured={"parity": parity.to_json(), **(measure(exported) if measure else {})})
        write_json(temporary / CARD, card.to_plain())
    return card


def graph_outputs(graph: ClipGraph, samples: Sequence[Clip]) -> NDArray[np.float32]:
    """What the original gives for each clip, (N, K)."""
    with torch.inference_mode():
        return np.concatenate([graph(torch.from_numpy(sample)).numpy() for sample in samples])


def stored_parity(card: ExportCard) -> Parity:
    """The comparison that a card tells of."""
    values = {name: value for name, value in card.measured["parity"].items() if name != "passed"}
    return Parity(**values)


@contextlib.contextmanager
def _folder(folder: Path) -> Iterator[Path]:
    """`atomic_folder`, but errors about room and rights name the folder that was asked for."""
    temporary: Path | None = None
    try:
        with atomic_folder(folder) as temporary:
            yield temporary
    except OSError as error:
        unnamed = error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        inside = temporary is not None and Path(str(error.filename)).is_relative_to(temporary)
        if not (unnamed or inside or temporary is None):
            raise
        raise OSError(error.errno, error.strerror, str(folder)) from error


def _write(
    graph: ClipGraph,
    temporary: Path,
    folder: Path,
    target: Target,
    clip: ClipConfig,
    calibration: Sequence[Clip] | None,
) -> list[str]:
    """Trace and write; whatever the tools raise becomes one line, since networks come from anywhere.

    A full disk is told as such, whatever they made of it.
    """
    low = ClipGraph(graph.network, clip, output=target.output, bf16=True)
    # OpenVINO computes a float32 network in bfloat16 itself; the others are traced in it.
    traced = low if target.precision == "bf16" and target.runtime != "openvino" else graph
    try:
        return write_program(
            trace(traced, target.batch_size),
            temporary,
            runtime=target.runtime,
            output=target.output,
            batch_size=target.batch_size,
            clip=clip,
            calibration=calibration if target.precision == "int8" else None,
        )
    except MemoryError:
        raise
    except Exception as error:
        check_folder_writable(folder, sum(value.nbytes for value in graph.state_dict().values()))
        if isinstance(error, OSError | ValueError):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ExportError(
            f"{type(graph.network).__name__} cannot be exported to {target.runtime}: "
            f"{type(error).__name__}: {lines[0][:300] if lines else ''}"
        ) from error


def _facts(target: Target) -> dict[str, Any]:
    return {
        "runtime": target.runtime,
        "precision": target.precision,
        "output": target.output,
        "batch_size": target.batch_size,
        "opset": OPSET if target.runtime == "onnx" else None,
    }


def _file_facts(path: Path) -> dict[str, Any]:
    return {"sha256": sha256(path), "bytes": path.stat().st_size}
