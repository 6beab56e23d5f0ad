"""`fit`: train a model, from the parts it is handed to a finished run folder."""

import contextlib
import copy
import math
import sys
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gta.checkpoint import load_file
from gta.config import OptimConfig, RunConfig, config_to_json
from gta.errors import CheckpointError, DataError, OptionError
from gta.skipped import SkippedVideos
from gta.stored import StoredError
from gta.terminal import quantity
from gta.training.curves import open_curves
from gta.training.display import Display
from gta.training.folder import BEST, LAST, SKIPPED, RunFolder, check_run_folder
from gta.training.launch import create_fabric, launch
from gta.training.loop import Loop
from gta.training.memory import arrange_model
from gta.training.optim import learning_rate_factor, scaled_learning_rate
from gta.training.run_state import check_optimizer, check_run_state, check_weights
from gta.training.signals import Stopper
from gta.training.step import Objective, Plan, TrainStep

_UNEXPECTED = (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError)
NoteSkipped = Callable[[list[tuple[str, str]]], list[tuple[str, str]]]


@dataclass(frozen=True)
class TrainResult:
    """The outcome of a training run."""

    folder: Path
    """The run folder."""
    best_checkpoint: Path
    """The checkpoint of the best epoch."""
    last_checkpoint: Path
    """The checkpoint of the last epoch, from which the run can be resumed."""
    rows: list[dict[str, Any]] = field(repr=False)
    """One row per epoch, with the columns of metrics.csv; accuracies in [0, 1]."""
    timing: list[dict[str, Any]] = field(repr=False)
    """One row per epoch, with the columns of timing.csv: seconds, clips per second, memory."""
    best_epoch: int
    """The epoch with the best validation top-1, counted from 1; 0 without a validation."""
    best: dict[str, Any] = field(repr=False)
    """Evaluation of the best epoch, as from `EvaluationResult.to_json`; empty without a validation."""
    steps: int
    """Optimiser steps of the whole run."""
    bad_steps: int
    """Steps skipped because loss or gradient was not finite."""
    stopped_early: bool
    """Whether the run ended because `run.patience` was exhausted."""
    seconds: float
    """Wall time of this session, in seconds."""
    total_seconds: float
    """Wall time of this session and of the epochs of earlier ones, in seconds."""
    resumed: bool
    """Whether this session continued an earlier one."""
    skipped: dict[str, str] = field(repr=False)
    """Videos that could not be read: path -> reason."""
    versions: dict[str, Any] = field(repr=False)
    """Versions of Python and the libraries, and the device."""

    def to_json(self) -> dict[str, Any]:
        """The content of results.json as plain JSON values, without model, classes and clip."""
        names = ("best_epoch", "best", "steps", "bad_steps", "stopped_early", "seconds", "total_seconds")
        return {
            **{name: getattr(self, name) for name in names},
            "epochs": len(self.rows),
            "skipped": [{"path": path, "reason": reason} for path, reason in sorted(self.skipped.items())],
        }


def fit(
    model: nn.Module,
    train_loader: DataLoader[Any],
    val_loader: DataLoader[Any] | None,
    *,
    prepare: nn.Module,
    optim: OptimConfig,
    run: RunConfig,
    description: dict[str, Any],
    config: dict[str, Any] | None = None,
    class_weights: Tensor | None = None,
    note_skipped: NoteSkipped | None = None,
    resume: bool = False,
    live: bool | None = None,
    fabric: Fabric | None = None,
    left_out: Collection[str] = (),
) -> TrainResult:
    """Train `model` and leave a run folder.

    Args:
        model: (B, 3, T, H, W) float32 -> logits (B, K), initialised.
        train_loader: batches {"clip": uint8 (B, 3, T, H, W), "label": (B,), "skipped": [...]}; its sampler has
            `set_epoch` and `set_start`; each of several processes has its own part.
        val_loader: batches as `gta.evaluation.scores.evaluate` reads; None for no validation.
        prepare: uint8 clips -> normalised float32 clips; runs on the device.
        optim: loss, optimiser and schedule.
        run: folder, length, devices, precision, checkpoints.
        description: from `gta.model_card.describe`.
        config: the whole resolved configuration, for config.json; `optim` and `run` if not given.
        class_weights: (K,) weight of each class in the loss.
        note_skipped: takes note of unreadable videos, (path, reason), and returns those that are new; skipped.csv in
            the run folder if not given.
        resume: continue from last.ckpt if the folder has one.
        live: draw a progress bar; whether somebody sees it (a terminal, a notebook) if not given.
        fabric: from `gta.training.launch.create_fabric`, if the loaders needed to know rank and world size.
        left_out: names of frozen weights that checkpoints do not store; `description` says what they are.

    Raises:
        RunFolderError: the folder exists (and `resume` is false) or cannot be written.
        TrainingInterrupted: a signal stopped the run; a checkpoint was written.
        DivergedError: the loss was not finite for too many steps in a row.
        DataError: there is no training batch.
    """
    started = time.monotonic()
    if len(train_loader) == 0:
        raise DataError("no training batch: there are fewer training videos than data.batch_size")
    fabric = fabric or create_fabric(run, optim)
    plan = _plan(train_loader, optim, run, fabric.world_size)
    if fabric.global_rank == 0:
        check_run_folder(run.folder, resume=resume)
    stored = _read_last(run, description, plan) if resume and (run.folder / LAST).exists() else None
    display = Display(
        max_epochs=run.max_epochs, num_classes=len(description["classes"]), live=live, silent=fabric.global_rank != 0
    )
    folder = curves = None
    if fabric.global_rank == 0:
        folder = _open_folder(run, config or {"optim": config_to_json(optim), "run": config_to_json(run)}, stored)
    _announce(display, plan, optim, stored)
    arrange_model(model, run)
    objective = Objective(prepare, optim, num_classes=len(description["classes"]), class_weights=class_weights)
    with Stopper() as stopper, contextlib.ExitStack() as exits:
        exits.callback(display.stop)
        if folder:
            exits.callback(folder.lock.release)
            resumed_at = stored["global_step"] if stored else None
            curves = exits.enter_context(open_curves(run.folder, display.say, resumed_at=resumed_at))
        launch(fabric, run)
        loop = Loop(
            fabric,
            TrainStep(
                fabric,
                model,
                objective,
                optim=optim,
                plan=plan,
                seed=run.seed,
                max_bad_steps=run.max_bad_steps,
                left_out=left_out,
            ),
            options=run,
            train_loader=exits.enter_context(_own_workers(train_loader)),
            val_loader=None if val_loader is None else exits.enter_context(_own_workers(val_loader)),
            description=description,
            folder=folder,
            display=display,
            stopper=stopper,
            note_skipped=note_skipped or SkippedVideos(run.folder / SKIPPED).add,
            curves=curves,
        )
        if stored:
            _restore(loop, stored, run)
        loop.run()
        return _finish(run, folder, loop, description, seconds=time.monotonic() - started, resumed=stored is not None)


def _plan(loader: DataLoader[Any], optim: OptimConfig, run: RunConfig, world_size: int) -> Plan:
    if loader.batch_size is None:
        raise ValueError("the training loader needs a batch_size: the learning rate is scaled with it")
    steps_per_epoch = math.ceil(len(loader) / optim.accumulate)
    epochs = math.inf if run.max_steps is None else run.max_steps / steps_per_epoch
    return Plan(loader.batch_size, world_size, optim.accumulate, steps_per_epoch, min(float(run.max_epochs), epochs))


@contextlib.contextmanager
def _own_workers(loader: DataLoader[Any]) -> Iterator[DataLoader[Any]]:
    """A copy of the loader, whose persistent workers end with the block.

    Left to the garbage collector, they live until it runs - and if it runs in a worker that was forked meanwhile, for
    the next model's data, PyTorch complains there about processes that are not its children.
    """
    own = copy.copy(loader)
    try:
        yield own
    finally:
        vars(own).clear()  # with them goes the iterator that keeps the workers, even if a traceback holds the copy


def _open_folder(run: RunConfig, config: dict[str, Any], stored: dict[str, Any] | None) -> RunFolder:
    """Open the run folder; rows of epochs that are not in the checkpoint to resume from are dropped."""
    recorded = 0
    if stored:
        recorded = stored["run"]["epochs_done"] - int(stored["run"]["validation_owed"])
    return RunFolder(run.folder, config=config, last_epoch=recorded)


def _read_last(run: RunConfig, description: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Read the checkpoint to resume from, and check that the present run can continue it.

    Raises:
        CheckpointError: it is damaged.
        DataError: the data set has other classes now.
        OptionError: the run is longer already than it is allowed to become, or its steps would be others.
    """
    last = run.folder / LAST
    try:
        stored = load_file(last)
    except CheckpointError as error:
        raise CheckpointError(f"{last}: damaged, so the run cannot be resumed from it: {_way_out(run)}") from error
    classes, present = list(stored["gta"]["classes"]), list(description["classes"])
    if classes != present:
        changed = sorted(set(classes) ^ set(present)) or present
        raise DataError(
            f"{run.folder}: the run was started with other classes ({len(classes)} then, {len(present)} now; "
            f"{changed[0]!r} is one that differs): give it the same data, or start a new run folder"
        )
    if stored["gta"].get("frozen") != description.get("frozen"):
        raise OptionError(
            f"{run.folder}: the run was started with other weights of its frozen backbone (model.pretrained): give it "
            "the same, or start a new run folder"
        )
    try:
        check_run_state(stored, batches_per_epoch=sys.maxsize)
    except StoredError as error:
        raise CheckpointError(f"{last}: the run cannot be resumed from it: {error}: {_way_out(run)}") from error
    before = tuple(stored["training"].get(name) for name in ("global_batch", "steps_per_epoch"))
    if before != (plan.global_batch, plan.steps_per_epoch) and None not in before:
        raise OptionError(
            f"{run.folder}: the run was started with {before[1]} steps of {before[0]} clips per epoch, now there are "
            f"{plan.steps_per_epoch} of {plan.global_batch}: resume it with as many processes and training videos, or "
            "start a new run folder"
        )
    done = stored["run"]["epochs_done"]
    if run.max_epochs < done:
        raise OptionError(f"run.max_epochs is {run.max_epochs}: the run to resume has trained {done} epochs already")
    return stored


def _restore(loop: Loop, stored: dict[str, Any], run: RunConfig) -> None:
    """Load where the run was.

    Raises:
        CheckpointError: what the checkpoint says of it cannot be.
    """
    try:
        check_run_state(stored, batches_per_epoch=len(loop.train_loader))
        check_weights(stored["state_dict"], loop.step.model, left_out=loop.step.left_out)
        loop.load(stored)
        check_optimizer(loop.step.optimizer)
    except StoredError as error:
        raise CheckpointError(f"{run.folder / LAST}: the run cannot be resumed from it: {error}") from error
    except _UNEXPECTED as error:  # whatever PyTorch meets in a state that looks right and is not
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CheckpointError(f"{run.folder / LAST}: its run state is damaged ({reason}): {_way_out(run)}") from error


def _way_out(run: RunConfig) -> str:
    best = run.folder / BEST
    return f"copy {best} over it to continue from the best epoch" if best.exists() else "start a new run folder"


def _announce(display: Display, plan: Plan, optim: OptimConfig, stored: dict[str, Any] | None) -> None:
    """Say the arithmetic of batch and learning rate, and where a resumed run continues."""
    rate = scaled_learning_rate(optim, plan.global_batch)
    rule = f"{optim.lr:g} x {plan.global_batch}/{optim.lr_batch_size}" if optim.scale_lr else "not scaled"
    display.say(
        f"global batch {plan.global_batch} = {plan.batch_size} clips x {plan.world_size} process(es) x "
        f"{plan.accumulate} accumulated; learning rate {rate:g} ({rule}); "
        f"{quantity(plan.steps_per_epoch, 'step')} per epoch"
    )
    if optim.warmup_epochs >= plan.total_epochs:
        display.say(
            f"warning: the warm-up of {optim.warmup_epochs:g} epochs does not end within the run's "
            f"{plan.total_epochs:g}: the learning rate stays below its peak (optim.warmup_epochs)"
        )
    if stored:
        _announce_stretch(display, plan, optim, stored)
        done, batches = stored["run"]["epochs_done"], stored["batches_done"]
        display.say(f"resuming after {done} epoch(s) and {batches} batch(es), step {stored['global_step']}")


def _announce_stretch(display: Display, plan: Plan, optim: OptimConfig, stored: dict[str, Any]) -> None:
    """Say that the rate jumps where a cosine is stretched over more epochs than the run was planned for."""
    before = stored["training"].get("total_epochs")
    if optim.schedule != "cosine" or before is None or before == plan.total_epochs:
        return
    rates = [
        scaled_learning_rate(optim, plan.global_batch)
        * learning_rate_factor(optim, steps_per_epoch=plan.steps_per_epoch, total_epochs=epochs)(stored["global_step"])
        for epochs in (before, plan.total_epochs)
    ]
    display.say(
        f"warning: the run was planned for {before:g} epochs and now has {plan.total_epochs:g}: its cosine is "
        f"stretched, and the learning rate jumps from {rates[0]:.3g} to {rates[1]:.3g} (change optim.lr to lower it)"
    )


def _finish(
    run: RunConfig, folder: RunFolder | None, loop: Loop, description: dict[str, Any], *, seconds: float, resumed: bool
) -> TrainResult:
    """Gather what the run left, and write results.json."""
    result = TrainResult(
        folder=run.folder,
        best_checkpoint=run.folder / BEST,
        last_checkpoint=run.folder / LAST,
        rows=folder.rows if folder else [],
        timing=folder.timing if folder else [],
        best_epoch=loop.state.best_epoch,
        best=loop.state.best_result,
        steps=loop.step.num_steps,
        bad_steps=loop.step.bad_steps,
        stopped_early=loop.state.stopped_early,
        seconds=seconds,
        total_seconds=seconds + (folder.seconds_before if folder else 0.0),
        resumed=resumed,
        skipped=SkippedVideos(run.folder / SKIPPED).reasons if folder else {},
        versions=folder.versions if folder else {},
    )
    if folder:
        described = {name: description.get(name) for name in ("model", "classes", "clip")}
        folder.write_results({**result.to_json(), **described, "precision": run.precision})
    return result
