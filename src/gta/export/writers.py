"""Writing a traced network for each runtime."""

import io
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gta.config import ClipConfig
from gta.errors import OptionError
from gta.export.card import ExportPrecision, Output, RuntimeName, clip_shape
from gta.export.extras import quietly
from gta.export.quantise import quantise
from gta.extras import require

OPSET = 20
"""Version of ONNX's operators that is written: every op of our networks is in it, and ONNX Runtime 1.17 reads it."""

PRECISIONS: dict[RuntimeName, tuple[ExportPrecision, ...]] = {
    "torch": ("float32", "bf16"),
    "onnx": ("float32", "int8"),
    "openvino": ("float32", "bf16", "int8"),
    "aoti": ("float32", "bf16"),
}
"""What each runtime computes in on CPUs, as far as it gains anything there."""

Clips = Sequence[NDArray[np.uint8]]
"""Clips to calibrate int8 with, each (1, C, T, H, W)."""


def check_precision(runtime: RuntimeName, precision: ExportPrecision) -> None:
    """Refuse what a runtime does not have.

    Raises:
        OptionError: it does not compute in this precision.
    """
    if precision not in PRECISIONS[runtime]:
        others = [name for name, known in PRECISIONS.items() if precision in known]
        raise OptionError(
            f"the format {runtime} has {' and '.join(PRECISIONS[runtime])}, not {precision}: "
            f"export to {' or '.join(others)} instead"
        )


def check_tools(runtime: RuntimeName, precision: ExportPrecision) -> None:
    """Find out before any work whether the libraries are there, and the compiler that aoti needs.

    Raises:
        OptionError: one is missing.
    """
    if runtime == "aoti":
        _require_compiler()
    modules = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}.get(runtime, ())
    with quietly():
        for name in (*modules, *(("nncf",) if precision == "int8" else ())):
            require(name, f"the format {runtime}" if name != "nncf" else "`precision` int8", extra="export")


def _require_compiler() -> None:
    """PyTorch takes the compiler of `CXX`, or g++ (clang++ on macOS)."""
    command = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(shlex.split(command)[0]) is None:
        raise OptionError(
            f"the format aoti compiles with {command}, which was not found: install a C++ compiler or name one in CXX"
        )


def write_program(
    program: "torch.export.ExportedProgram",
    folder: Path,
    *,
    runtime: RuntimeName,
    output: Output,
    batch_size: int | None,
    clip: ClipConfig,
    calibration: Clips | None = None,
) -> list[str]:
    """Write a traced network into an existing folder.

    Args:
        program: what `gta.export.graph.trace` gave.
        folder: where to.
        runtime: what for.
        output: name of the output.
        batch_size: clips per call, or None for any number.
        clip: whose sizes the input has.
        calibration: make int8 of it with these clips.

    Returns:
        Names of the files, the one to open first.
    """
    shape = (-1 if batch_size is None else batch_size, *clip_shape(clip))
    with quietly():
        if runtime == "torch":
            content = io.BytesIO()  # not into the file: PyTorch ends the process where a disk is full
            torch.export.save(program, content)
            (folder / "model.pt2").write_bytes(content.getbuffer())
            return ["model.pt2"]
        if runtime == "aoti":
            from torch._inductor import aoti_compile_and_package

            aoti_compile_and_package(program, package_path=str(folder / "model.pt2"))
            return ["model.pt2"]
        if runtime == "onnx":
            return _write_onnx(program, folder, output, calibration)
        return _write_openvino(program, folder, output, shape, calibration)


def _write_onnx(program: Any, folder: Path, output: Output, calibration: Clips | None) -> list[str]:
    onnx = require("onnx", "the format onnx", extra="export")
    written = torch.onnx.export(
        program,
        (),
        dynamo=True,
        opset_version=OPSET,
        input_names=["clip"],
        output_names=[output],
        external_data=False,
        verbose=False,
    )
    assert written is not None
    model = written.model_proto
    if calibration is not None:
        model = quantise(model, [{"clip": clip} for clip in calibration])
    onnx.save(model, folder / "model.onnx")
    return ["model.onnx"]


def _write_openvino(
    program: Any, folder: Path, output: Output, shape: tuple[int, ...], calibration: Clips | None
) -> list[str]:
    openvino = require("openvino", "the format openvino", extra="export")
    model = openvino.convert_model(program)
    model.inputs[0].get_tensor().set_names({"clip"})
    model.outputs[0].get_tensor().set_names({output})
    model.reshape({0: openvino.PartialShape(list(shape))})
    if calibration is not None:
        model = quantise(model, list(calibration))
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    return ["model.xml", "model.bin"]
