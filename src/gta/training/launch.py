"""Devices and processes of a run: one to many, through Lightning Fabric."""

import logging
import os
import warnings
from datetime import timedelta
from typing import Literal

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.fabric.strategies.ddp import DDPStrategy
from torch import Tensor

from gta.config import OptimConfig, RunConfig
from gta.errors import OptionError

_PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


def create_fabric(run: RunConfig, optim: OptimConfig) -> Fabric:
    """Choose devices, processes and precision; the other processes are not started yet (`launch` does it).

    Its `global_rank` and `world_size` say which process of how many this is: loaders need them before training starts.

    Raises:
        OptionError: the device or the precision is not available here, or a launcher has started other processes.
    """
    on_gpu = run.accelerator != "cpu" and torch.cuda.is_available()
    if run.accelerator == "gpu" and not on_gpu:
        raise OptionError("run.accelerator is gpu: PyTorch finds no GPU here; use run.accelerator cpu")
    if run.precision == "fp16" and not on_gpu:
        raise OptionError("run.precision is fp16: it needs a GPU; use bf16 or 32")
    if optim.batch_norm == "sync" and not on_gpu:
        raise OptionError("optim.batch_norm is sync: synchronised BatchNorm needs GPUs; use train, partial or frozen")
    available = torch.cuda.device_count() if on_gpu else 1
    devices = available if run.devices == "auto" else run.devices
    if TorchElasticEnvironment.detect() and run.devices == "auto":
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
    _check_launch(devices, run.num_nodes)
    if on_gpu and devices > available:
        raise OptionError(f"run.devices is {devices}: PyTorch finds {available} GPU(s) here")
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)  # its information lines name ranks and ports
    warnings.filterwarnings("ignore", message=".*srun.*command is available on your system but is not used.*")
    strategy = "auto"
    if devices * run.num_nodes > 1:
        strategy = DDPStrategy(
            process_group_backend="nccl" if on_gpu else "gloo",
            gradient_as_bucket_view=True,
            timeout=timedelta(hours=1),  # validation and checkpoints of the first process may take long
        )
    return Fabric(
        accelerator="gpu" if on_gpu else "cpu",
        devices=devices,
        num_nodes=run.num_nodes,
        strategy=strategy,
        precision=_PRECISION[run.precision],  # pyright: ignore[reportArgumentType]
    )


def launch(fabric: Fabric, run: RunConfig) -> None:
    """Start the other processes, or connect to those that a launcher has started, and set this one up."""
    fabric.launch()
    if fabric.device.type == "cuda":
        torch.backends.cudnn.benchmark = True
    if run.num_threads is not None:  # Fabric's launcher has set its own number
        torch.set_num_threads(run.num_threads)


def all_reduce(fabric: Fabric, values: Tensor, operation: Literal["sum", "max"]) -> Tensor:
    """Combine `values` over all processes, in place; every process must call it."""
    if fabric.world_size == 1:
        return values
    combined = fabric.all_reduce(values, reduce_op=operation)
    assert isinstance(combined, Tensor)  # as tensors come in
    return combined


def _check_launch(devices: int, num_nodes: int) -> None:
    """Refuse to run when a launcher has started another number of processes than the options say.

    Raises:
        OptionError: the text names both numbers and the options.
    """
    if TorchElasticEnvironment.detect():
        launcher, started = "torchrun", int(os.environ["WORLD_SIZE"])
    elif SLURMEnvironment.detect() and os.environ.get("SLURM_NTASKS", "").isdecimal():
        launcher, started = "SLURM", int(os.environ["SLURM_NTASKS"])
    else:
        return
    if started != devices * num_nodes:
        raise OptionError(
            f"{launcher} has started {started} process(es), but run.devices {devices} x run.num_nodes {num_nodes} "
            f"means {devices * num_nodes}: set both to match the launch"
        )
