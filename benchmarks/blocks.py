"""Speed and memory of the SA + GTA block against the naive block, the field's non-local block and the floor.

One interleaved run: every contender is timed in turn, round after round, so that a slower or faster minute of the
machine meets all of them; medians and ratios are reported. On CPUs one thread is used and the thread's CPU time is
taken, which other processes disturb less than wall time.

    python benchmarks/blocks.py            # prints the tables
    python benchmarks/blocks.py --write    # also writes docs/results/blocks.md and blocks.png
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from contenders import FieldNonLocal, contenders
from gta.blocks import create_block
from gta.blocks.fused import fuse
from gta.models.flops import count_flops

SHAPES = {"first": (512, 8, 28, 28), "second": (1024, 8, 14, 14)}  # C, T, H, W
NOTES = """
The floor is the multiply-adds of the block's definition over the rate of a large matrix product in the same run and
dtype (three times as many for a backward pass). Each implementation gets its features in the memory format that it
is written for. Unfused is our block before `gta.fuse`. Peak memory is the increase of the resident memory of a fresh
process during one pass, including the output.

In bfloat16, the matrix units of such a CPU are several times faster than in float32, but memory is not: the block is
then limited by reading and writing its features (residual, norm, pooling, softmax), not by multiplications. With one
library call per step, the floor cannot be reached; this would need a fused kernel. The same applies to the backward
passes, whose peak memory also contains gradients and the tensors that autograd stores: the input of the norm and the
result of SA are as large as the features.
"""
RESULTS = Path(__file__).parents[1] / "docs" / "results"


def features(shape: tuple[int, ...], batch: int, device: str, dtype: torch.dtype) -> Tensor:
    """Random features, channels-last in memory as our backbones make them."""
    x = torch.randn(batch, *shape, device=device, dtype=dtype)
    return x.contiguous(memory_format=torch.channels_last_3d)


def in_best_format(name: str, x: Tensor) -> Tensor:
    """The features in the memory format that the contender's code is written for."""
    return x if name == "ours" else x.contiguous()


def timed(function: Callable[[], object], device: str) -> float:
    """Seconds of one call."""
    if device == "cuda":
        torch.cuda.synchronize()
        start = time.perf_counter()
        function()
        torch.cuda.synchronize()
        return time.perf_counter() - start
    start = time.thread_time()
    function()
    return time.thread_time() - start


def interleave(tasks: dict[str, Callable[[], object]], device: str, rounds: int) -> dict[str, float]:
    """Median seconds of each task; the tasks take turns."""
    for task in tasks.values():
        task()
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            seconds[name].append(timed(task, device))
    return {name: statistics.median(values) for name, values in seconds.items()}


def run_inference(block: nn.Module, x: Tensor) -> Callable[[], object]:
    """A forward pass in evaluation, without gradients; of blocks of this package as `gta.fuse` arranges them."""
    return without_gradients(fuse(block.eval()), x)


def without_gradients(block: nn.Module, x: Tensor) -> Callable[[], object]:
    """A forward pass of a block as it is."""

    def task() -> object:
        with torch.no_grad():
            return block(x)

    return task


def run_training(block: nn.Module, x: Tensor) -> Callable[[], object]:
    """A forward and a backward pass in training."""
    block.train()
    given = x.clone(memory_format=torch.preserve_format).requires_grad_()
    gradient = torch.randn_like(x)

    def task() -> object:
        return torch.autograd.grad(block(given), [given, *block.parameters()], gradient)

    return task


def matrix_product(x: Tensor) -> tuple[Callable[[], object], int]:
    """A large matrix product in x's dtype, shaped like the block's own, and its multiply-adds."""
    rows, channels = x.numel() // x.shape[1], x.shape[1]
    left = torch.randn(rows, channels, device=x.device, dtype=x.dtype)
    right = torch.randn(channels, channels, device=x.device, dtype=x.dtype)
    out = torch.empty_like(left)
    return (lambda: torch.mm(left, right, out=out)), rows * channels**2


def compare(
    shape: tuple[int, ...], batch: int, device: str, dtype: torch.dtype, training: bool, rounds: int
) -> dict[str, float]:
    """Median seconds of every contender, of ours unfused (inference) and of the floor.

    The floor is our multiply-adds over the rate of a matrix product.
    """
    x = features(shape, batch, device, dtype)
    make = run_training if training else run_inference
    blocks = {name: block.to(device, dtype) for name, block in contenders(shape[0], shape[1]).items()}
    product, size = matrix_product(x)
    tasks = {name: make(block, in_best_format(name, x)) for name, block in blocks.items()}
    if not training:
        tasks["unfused"] = without_gradients(blocks["ours"], x)
    seconds = interleave(tasks | {"mm": product}, device, rounds)
    passes = 3 if training else 1  # a backward pass multiplies twice as much as a forward pass
    seconds["floor"] = passes * count_flops(blocks["ours"], x.shape) * seconds.pop("mm") / size
    return seconds


def peak_memory(name: str, where: str, training: bool) -> float:
    """MB that one pass needs beyond its input and the weights, measured in a process of its own (CPU)."""
    command = [sys.executable, __file__, "--peak", name, where, "train" if training else "infer"]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def measure_peak(name: str, where: str, mode: str) -> None:
    """In the child process: print how far the highest resident memory rose during one pass."""
    torch.set_num_threads(1)
    make = run_training if mode == "train" else run_inference
    channels, frames, *_ = SHAPES[where]
    block = contenders(channels, frames)[name]
    make(block, features((channels, frames, 4, 4), 1, "cpu", torch.float32))()  # load every kernel
    task = make(block, in_best_format(name, features(SHAPES[where], 1, "cpu", torch.float32)))
    Path("/proc/self/clear_refs").write_text("5")  # forget the highest resident memory so far
    before = _resident("VmRSS")
    kept = task()
    print((_resident("VmHWM") - before) / 1024)
    del kept


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def peak_memory_gpu(shape: tuple[int, ...], batch: int, training: bool) -> dict[str, float]:
    """MB beyond what is there before the pass, on the GPU."""
    make = run_training if training else run_inference
    x = features(shape, batch, "cuda", torch.float32)
    peaks = {}
    for name, block in contenders(shape[0], shape[1]).items():
        task = make(block.cuda(), in_best_format(name, x))
        task()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        task()
        peaks[name] = (torch.cuda.max_memory_allocated() - before) / 2**20
    return peaks


def time_over_frames(device: str, rounds: int) -> dict[str, dict[int, float]]:
    """Median seconds of an inference by number of frames."""
    curves: dict[str, dict[int, float]] = {"ours": {}, "non-local": {}}
    for frames in (8, 16, 32, 64):
        x = features((256, frames, 14, 14), 1, device, torch.float32)
        blocks = {"ours": create_block("gta", channels=256, num_frames=frames), "non-local": FieldNonLocal(256)}
        tasks = {name: run_inference(block.to(device), in_best_format(name, x)) for name, block in blocks.items()}
        for name, seconds in interleave(tasks, device, rounds).items():
            curves[name][frames] = seconds
    return curves


def plot(curves: dict[str, dict[int, float]], path: Path) -> None:
    """Time against frames, on logarithmic axes: slope 1 is linear, slope 2 quadratic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.5), layout="constrained")
    labels = {"ours": "SA + GTA (this package)", "non-local": "non-local, materialised softmax"}
    for name, curve in curves.items():
        axes.plot(list(curve), [1e3 * seconds for seconds in curve.values()], "o-", label=labels[name])
    frames = list(curves["ours"])
    start = 1e3 * curves["ours"][frames[0]]
    axes.plot(frames, [start * f / frames[0] for f in frames], "k:", label="linear")
    axes.set(xscale="log", yscale="log", xlabel="frames T", ylabel="ms per clip", xticks=frames, xticklabels=frames)
    axes.minorticks_off()
    axes.legend()
    axes.set_title("Inference, 256 channels, 14 x 14 positions", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def check_goals(
    ratios: dict[tuple[str, str, bool], tuple[float, float, float]], memory: dict[bool, float], growth: float
) -> list[str]:
    """What the block was meant to reach, and whether it did.

    Args:
        ratios: naive / ours, non-local / ours and ours / floor by shape, dtype and whether training.
        memory: ours / non-local, by whether training.
        growth: how much longer 64 frames take than 8.
    """
    floors = [
        (f"inference within 1.3x of the floor, {where} shape, {dtype}", ratios[where, dtype, False][2], 1.3)
        for where in SHAPES
        for dtype in ("float32", "bfloat16")
    ]
    at_most = [
        *floors,
        ("extra peak memory at most a quarter of the non-local block's, inference", memory[False], 0.25),
        ("the same, forward + backward", memory[True], 0.25),
        ("64 frames take at most 9x as long as 8 (linear growth)", growth, 9.0),
    ]
    at_least = [
        (
            "training at least 1.8x faster than non-local, first shape, float32",
            ratios["first", "float32", True][1],
            1.8,
        ),
        ("training no slower than non-local, second shape, float32", ratios["second", "float32", True][1], 1.0),
    ]
    rows = [(text, value, value <= bound) for text, value, bound in at_most]
    rows += [(text, value, value >= bound) for text, value, bound in at_least]
    lines = ["", "| goal | measured | |", "| --- | ---: | --- |"]
    return lines + [f"| {text} | {value:.2f} | {'reached' if good else 'not reached'} |" for text, value, good in rows]


def report(rounds: int) -> tuple[str, dict[str, dict[int, float]]]:
    """Everything as Markdown, and the curves over T."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    lines = [
        _machine(device),
        "",
        "| shape | dtype | pass | ours (ms) | naive / ours | non-local / ours | ours / floor | unfused / ours |",
    ]
    lines.append("| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |")
    batch = 8 if device == "cuda" else 1
    by_case, memory = {}, {}
    for where, shape in SHAPES.items():
        for dtype in (torch.float32, torch.bfloat16):
            for training in (False, True):
                seconds = compare(shape, batch, device, dtype, training, rounds)
                ours = seconds["ours"]
                ratios = (seconds["naive"] / ours, seconds["non-local"] / ours, ours / seconds["floor"])
                by_case[where, str(dtype)[6:], training] = ratios
                numbers = " | ".join(f"{ratio:.2f}" for ratio in ratios)
                kind = "forward + backward" if training else "inference"
                size = "x".join(map(str, (batch, *shape)))
                unfused = "" if training else f"{seconds['unfused'] / ours:.2f}"
                lines.append(
                    f"| {where}: {size} | {str(dtype)[6:]} | {kind} | {1e3 * ours:.1f} | {numbers} | {unfused} |"
                )
    lines += ["", "| extra peak memory, first shape | ours (MB) | naive (MB) | non-local (MB) | ours / non-local |"]
    lines.append("| --- | ---: | ---: | ---: | ---: |")
    for training in (False, True):
        if device == "cuda":
            peaks = peak_memory_gpu(SHAPES["first"], batch, training)
        else:
            peaks = {name: peak_memory(name, "first", training) for name in ("ours", "naive", "non-local")}
        numbers = " | ".join(f"{peaks[name]:.1f}" for name in ("ours", "naive", "non-local"))
        kind = "forward + backward" if training else "inference"
        memory[training] = peaks["ours"] / peaks["non-local"]
        lines.append(f"| {kind}, float32 | {numbers} | {peaks['ours'] / peaks['non-local']:.2f} |")
    curves = time_over_frames(device, rounds)
    frames = list(curves["ours"])
    lines += ["", f"| inference, 256 channels, 14x14 (ms) | {' | '.join(f'T = {f}' for f in frames)} | growth |"]
    lines.append(f"| --- | {' | '.join('---:' for _ in frames)} | ---: |")
    for name, curve in curves.items():
        cells = " | ".join(f"{1e3 * seconds:.2f}" for seconds in curve.values())
        lines.append(f"| {name} | {cells} | {curve[frames[-1]] / curve[frames[0]]:.1f}x for 8x the frames |")
    lines += check_goals(by_case, memory, curves["ours"][frames[-1]] / curves["ours"][frames[0]])
    return "\n".join(lines), curves


def _machine(device: str) -> str:
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}, wall time, medians of interleaved rounds."
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "unknown CPU",
    )
    return f"{model}, one thread, PyTorch {torch.__version__}, CPU time, medians of interleaved rounds."


def main() -> None:
    """Parse the options and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="how often every contender is timed")
    parser.add_argument("--write", action="store_true", help="write docs/results/blocks.md and blocks.png")
    parser.add_argument("--peak", nargs=3, metavar=("NAME", "SHAPE", "MODE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak:
        measure_peak(*options.peak)
        return
    torch.set_num_threads(1)
    text, curves = report(options.rounds)
    print(text)
    if options.write:
        plot(curves, RESULTS / "blocks.png")
        picture = "![Time against the number of frames](blocks.png)"
        (RESULTS / "blocks.md").write_text(f"# Speed and memory of the blocks\n\n{text}\n{NOTES}\n{picture}\n")


if __name__ == "__main__":
    main()
