"""Running an exported folder: needs the runtime that it was written for, neither timm nor Lightning."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gta.errors import CheckpointError
from gta.export.card import CODE_CARRIERS, ExportCard, check_files, read_card
from gta.extras import require

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""Clips uint8 (B, C, T, H, W) to the output float32 (B, K)."""

_SMALLEST = float(np.finfo(np.float32).tiny)


class ExportedModel(nn.Module):
    """An exported network in the place of the one it was made from: uint8 clips in, scores out.

    Args:
        card: what it is.
        run: the runtime's call.
    """

    def __init__(self, card: ExportCard, run: Run) -> None:
        super().__init__()
        self.card = card
        self.run = run

    def forward(self, clips: Tensor) -> Tensor:
        """Class scores (B, K) float32 whose softmax are the probabilities, of uint8 clips (B, C, T, H, W).

        Raises:
            ValueError: the clips have another dtype or shape.
        """
        if clips.dtype != torch.uint8 or tuple(clips.shape[1:]) != self.card.clip_shape:
            wanted = ", ".join(map(str, self.card.clip_shape))
            raise ValueError(f"clips must be uint8 (B, {wanted}), not {clips.dtype} {tuple(clips.shape)}")
        scores = torch.from_numpy(self.outputs(clips.contiguous().numpy()))
        # The logarithm of probabilities is the logits but for one number per clip, which no average of views shows.
        return scores.clamp(min=_SMALLEST).log() if self.card.output == "probabilities" else scores

    def outputs(self, clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What the exported network itself gives, (B, K); a fixed number of clips per call is filled up."""
        size = self.card.batch_size
        if size is None or len(clips) == size:
            return np.asarray(self.run(clips), dtype=np.float32)
        parts = []
        for start in range(0, len(clips), size):
            some = clips[start : start + size]
            missing = size - len(some)
            full = np.concatenate([some, np.repeat(some[-1:], missing, axis=0)]) if missing else some
            parts.append(np.asarray(self.run(full), dtype=np.float32)[: len(some)])
        return np.concatenate(parts) if parts else np.zeros((0, len(self.card.classes)), np.float32)


def load_exported(folder: str | Path, *, trust: bool = False, num_threads: int | None = None) -> ExportedModel:
    """Load an exported folder.

    Args:
        folder: what `gta export` wrote.
        trust: also load formats whose files can run code of whoever wrote them (torch and aoti).
        num_threads: CPU threads of ONNX Runtime and OpenVINO; as many as PyTorch uses if not given, which is always
            how many the other two use.

    Raises:
        CheckpointError: the folder is missing, damaged or of another kind, or needs `trust`.
        OptionError: the runtime is not installed.
    """
    folder = Path(folder)
    card = check_exported(folder, trust=trust)
    return ExportedModel(card, open_runtime(folder, card, num_threads))


def check_exported(folder: str | Path, *, trust: bool = False) -> ExportCard:
    """The card of an exported folder whose files are whole and may be opened; opens none of them.

    Args:
        folder: what `gta export` wrote.
        trust: as in `load_exported`.

    Raises:
        CheckpointError: the folder is missing, damaged or of another kind, or needs `trust`.
    """
    card = read_card(folder)
    check_files(folder, card)
    if card.runtime in CODE_CARRIERS and not trust:
        raise CheckpointError(
            f"{folder}: the files of the {card.runtime} format can run code of their author: give `trust` "
            "if you trust their source, or export to onnx or openvino"
        )
    return card


def open_runtime(folder: Path, card: ExportCard, num_threads: int | None = None) -> Run:
    """Open the files of an exported folder in their runtime; the arguments are those of `load_exported`."""
    path = folder / next(iter(card.files))
    threads = num_threads or torch.get_num_threads()
    openers = {"torch": _open_torch, "aoti": _open_aoti, "onnx": _open_onnx, "openvino": _open_openvino}
    try:
        return openers[card.runtime](path, card, threads)
    except (ImportError, CheckpointError):
        raise
    except Exception as error:  # each runtime has exceptions of its own for files that it cannot read
        reason = (str(error).split("\n") or [""])[0].strip() or type(error).__name__
        raise CheckpointError(f"{path}: {card.runtime} cannot open it ({reason[:300]})") from error


def _open_torch(path: Path, card: ExportCard, num_threads: int) -> Run:
    return _torch_call(torch.export.load(path).module())


def _open_aoti(path: Path, card: ExportCard, num_threads: int) -> Run:
    from torch._inductor import aoti_load_package

    return _torch_call(aoti_load_package(str(path)))


def _torch_call(module: Any) -> Run:
    def run(clips: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return module(torch.from_numpy(clips)).numpy()

    return run


def _open_onnx(path: Path, card: ExportCard, num_threads: int) -> Run:
    onnxruntime = require("onnxruntime", f"{path}: running it", extra="export")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = num_threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda clips: session.run([card.output], {"clip": clips})[0]


def _open_openvino(path: Path, card: ExportCard, num_threads: int) -> Run:
    openvino = require("openvino", f"{path}: running it", extra="export")
    settings = {
        # Left alone, OpenVINO computes float32 networks in bfloat16 where the CPU has it.
        "INFERENCE_PRECISION_HINT": "bf16" if card.precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": num_threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    request = compiled.create_infer_request()
    return lambda clips: np.array(request.infer({"clip": clips})[card.output])
