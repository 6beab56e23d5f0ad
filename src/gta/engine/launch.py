"""Devices and processes of a run: one to many, through Lightning."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy

from gta.config import OptimConfig, RunConfig
from gta.engine.checkpoint_io import CheckpointFiles
from gta.engine.quiet import quieten_lightning
from gta.errors import OptionError

_PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass(frozen=True)
class Process:
    """One process among all of a run: its `rank` in [0, world_size)."""

    rank: int
    world_size: int


def create_trainer(run: RunConfig, optim: OptimConfig, *, callbacks: Sequence[pl.Callback] = ()) -> pl.Trainer:
    """Build the Lightning trainer: devices, processes, precision and accumulation; all else is in `callbacks`.

    Raises:
        OptionError: the device or the precision is not available here.
    """
    quieten_lightning()
    on_gpu = run.accelerator != "cpu" and torch.cuda.is_available()
    if run.accelerator == "gpu" and not on_gpu:
        raise OptionError("--run.accelerator is gpu: PyTorch finds no GPU here; use --run.accelerator cpu")
    if run.precision == "fp16" and not on_gpu:
        raise OptionError("--run.precision is fp16: it needs a GPU; use bf16 or 32")
    if optim.batch_norm == "sync" and not on_gpu:
        raise OptionError("--optim.batch-norm is sync: synchronised BatchNorm needs GPUs; use train, partial or frozen")
    available = torch.cuda.device_count() if on_gpu else 1
    devices = available if run.devices == "auto" else run.devices
    if TorchElasticEnvironment.detect() and run.devices == "auto":
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
    _check_launch(devices, run.num_nodes)
    if on_gpu and devices > available:
        raise OptionError(f"--run.devices is {devices}: PyTorch finds {available} GPU(s) here")
    plugins: list[object] = [CheckpointFiles()]
    if SLURMEnvironment.detect():
        plugins.append(SLURMEnvironment(auto_requeue=False))  # signals are handled by gta.engine.stopping
    several = devices * run.num_nodes > 1
    return pl.Trainer(
        accelerator="gpu" if on_gpu else "cpu",
        devices=devices,
        num_nodes=run.num_nodes,
        strategy=_strategy(on_gpu) if several else "auto",
        precision=_PRECISION[run.precision],  # pyright: ignore[reportArgumentType]
        max_epochs=run.max_epochs,
        max_steps=run.max_steps or -1,
        accumulate_grad_batches=optim.accumulate,
        sync_batchnorm=optim.batch_norm == "sync",
        callbacks=list(callbacks),
        plugins=plugins,  # pyright: ignore[reportArgumentType]
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_autolog_hparams=False,
        num_sanity_val_steps=0,
        limit_val_batches=0,
        use_distributed_sampler=False,
        default_root_dir=run.folder,
        benchmark=on_gpu,
    )


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
            f"{launcher} has started {started} process(es), but --run.devices {devices} x --run.num-nodes {num_nodes} "
            f"means {devices * num_nodes}: give the numbers of the launch"
        )


def _strategy(on_gpu: bool) -> DDPStrategy:
    return DDPStrategy(
        process_group_backend="nccl" if on_gpu else "gloo",
        gradient_as_bucket_view=True,
        timeout=timedelta(hours=1),  # validation and checkpoints of the first process may take long
    )


def find_process(run: RunConfig, optim: OptimConfig) -> Process:
    """Which process of how many this one is, as Lightning, torchrun or SLURM started it.

    Data loaders need it before training starts, to give every process its own part.
    """
    trainer = create_trainer(run, optim)
    return Process(rank=trainer.global_rank, world_size=trainer.world_size)
