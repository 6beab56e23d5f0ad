"""`fit`: train a model, from the parts it is handed to a finished run folder."""

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from gta.config import OptimConfig, RunConfig, config_to_json
from gta.engine.batches import TrainingBatches
from gta.engine.checkpoint import load_file
from gta.engine.conductor import Conductor, gather_objects
from gta.engine.curves import open_curves
from gta.engine.evaluate import EvaluationResult, evaluate
from gta.engine.launch import create_trainer
from gta.engine.memory import checkpoint_activations, set_memory_format
from gta.engine.module import ClassifierModule
from gta.engine.optim import scaled_learning_rate
from gta.engine.progress import Display
from gta.engine.run_folder import BEST, LAST, SKIPPED, RunFolder, check_run_folder
from gta.engine.stopping import Stopper
from gta.errors import CheckpointError, DataError, OptionError
from gta.skipped import SkippedVideos

NoteSkipped = Callable[[list[tuple[str, str]]], list[tuple[str, str]]]


@dataclass(frozen=True)
class FitResult:
    """What a run left: its folder, checkpoints, one row per epoch (as in metrics.csv) and the best epoch's evaluation.

    `best` is empty if there was no validation; `seconds` is this process's wall time, `skipped` the unreadable videos.
    """

    folder: Path
    best_checkpoint: Path
    last_checkpoint: Path
    rows: list[dict[str, Any]]
    best_epoch: int
    best: dict[str, Any]
    steps: int
    bad_steps: int
    stopped_early: bool
    seconds: float
    skipped: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        """The content of results.json, less what the description says."""
        return {
            "best_epoch": self.best_epoch,
            "best": self.best,
            "epochs": len(self.rows),
            "steps": self.steps,
            "bad_steps": self.bad_steps,
            "stopped_early": self.stopped_early,
            "seconds": self.seconds,
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
) -> FitResult:
    """Train `model` and leave a run folder.

    Args:
        model: (B, 3, T, H, W) float32 -> logits (B, K), initialised.
        train_loader: batches {"clip": uint8 (B, 3, T, H, W), "label": (B,), "skipped": [...]}; its sampler has
            `set_epoch` and `set_start`; each of several processes has its own part (`gta.engine.launch.find_process`).
        val_loader: batches as `gta.engine.evaluate.evaluate` reads; None for no validation.
        prepare: uint8 clips -> normalised float32 clips; runs on the device.
        optim: loss, optimiser and schedule.
        run: folder, length, devices, precision, checkpoints.
        description: from `gta.engine.checkpoint.describe`.
        config: the whole resolved configuration, for config.json; `optim` and `run` if not given.
        class_weights: (K,) weight of each class in the loss.
        note_skipped: takes note of unreadable videos, (path, reason), and returns those that are new; skipped.csv in
            the run folder if not given.
        resume: continue from last.ckpt if the folder has one.
        live: draw a progress bar; whether stderr is a terminal if not given.

    Raises:
        RunFolderError: the folder exists (and `resume` is false) or cannot be written.
        TrainingInterrupted: a signal stopped the run; a checkpoint was written.
        DivergedError: the loss was not finite for too many steps in a row.
        DataError: there is no training batch.
    """
    started = time.monotonic()
    if len(train_loader) == 0:
        raise DataError("no training batch: there are fewer training videos than --data.batch-size")
    if run.num_threads is not None:
        torch.set_num_threads(run.num_threads)
    trainer = create_trainer(run, optim)
    is_first = trainer.global_rank == 0
    global_batch = _batch_size(train_loader) * optim.accumulate * trainer.world_size
    steps_per_epoch = math.ceil(len(train_loader) / optim.accumulate)
    stored = None
    if is_first:
        check_run_folder(run.folder, resume=resume)
    if resume and (run.folder / LAST).exists():
        stored = _read_last(run, description, global_batch=global_batch, steps_per_epoch=steps_per_epoch)
    whole = config or {"optim": config_to_json(optim), "run": config_to_json(run)}
    folder = _open_folder(run, whole, stored) if is_first else None
    module = _build_module(
        model,
        prepare,
        optim=optim,
        run=run,
        description=description,
        global_batch=global_batch,
        steps_per_epoch=steps_per_epoch,
        class_weights=class_weights,
    )
    display = Display(max_epochs=run.max_epochs, live=live) if is_first else None
    if display:
        _announce(display, trainer, module, _batch_size(train_loader), stored)
    conductor = Conductor(
        run=run,
        folder=folder,
        checkpoints=run.folder,
        display=display,
        stopper=Stopper(),
        validate=_validator(val_loader, trainer, description, run, display) if val_loader is not None else None,
        note_skipped=(note_skipped or SkippedVideos(run.folder / SKIPPED).add) if folder else None,
    )
    trainer.callbacks.append(conductor)  # pyright: ignore[reportAttributeAccessIssue]
    resumed_at = stored["global_step"] if stored else None
    curves = open_curves(run.folder, display.say, resumed_at=resumed_at) if display else contextlib.nullcontext()
    try:
        with conductor.stopper, curves as conductor.curves:
            _train(trainer, module, train_loader, conductor, stored)
    finally:
        for loader in (train_loader, val_loader):
            _end_workers(loader)
    return _finish(run, folder, conductor, module, description, seconds=time.monotonic() - started)


def _end_workers(loader: DataLoader[Any] | None) -> None:
    """End a loader's persistent workers now; a later iteration starts new ones.

    Left to the garbage collector, they live until it runs - and if it runs in a worker that was forked meanwhile, for
    the next model's data, PyTorch complains there about processes that are not its children.
    """
    iterator = getattr(loader, "_iterator", None)
    if iterator is not None and hasattr(iterator, "_shutdown_workers"):
        iterator._shutdown_workers()
        loader._iterator = None  # pyright: ignore[reportOptionalMemberAccess]


def _finish(
    run: RunConfig,
    folder: RunFolder | None,
    conductor: Conductor,
    module: ClassifierModule,
    description: dict[str, Any],
    *,
    seconds: float,
) -> FitResult:
    """Gather what the run left, and write results.json."""
    result = FitResult(
        folder=run.folder,
        best_checkpoint=run.folder / BEST,
        last_checkpoint=run.folder / LAST,
        rows=folder.rows if folder else [],
        best_epoch=conductor.state.best_epoch,
        best=conductor.state.best_result,
        steps=module.num_steps,
        bad_steps=module.bad_steps,
        stopped_early=conductor.state.stopped_early,
        seconds=seconds,
        skipped=SkippedVideos(run.folder / SKIPPED).reasons if folder else {},
    )
    if folder:
        described = {name: description.get(name) for name in ("model", "classes", "clip")}
        folder.write_results({**result.to_json(), **described, "precision": run.precision})
    return result


def _open_folder(run: RunConfig, config: dict[str, Any], stored: dict[str, Any] | None) -> RunFolder:
    """Open the run folder; rows of epochs that are not in the checkpoint to resume from are dropped."""
    recorded = 0
    if stored:
        recorded = stored["run"]["epochs_done"] - int(stored["run"]["validation_owed"])
    return RunFolder(run.folder, config=config, last_epoch=recorded)


def _read_last(
    run: RunConfig, description: dict[str, Any], *, global_batch: int, steps_per_epoch: int
) -> dict[str, Any]:
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
        best = run.folder / BEST
        way = f"copy {best} over it to continue from the best epoch" if best.exists() else "start a new run folder"
        raise CheckpointError(f"{last}: damaged, so the run cannot be resumed from it: {way}") from error
    classes, present = list(stored["gta"]["classes"]), list(description["classes"])
    if classes != present:
        changed = sorted(set(classes) ^ set(present)) or present
        raise DataError(
            f"{run.folder}: the run was started with other classes ({len(classes)} then, {len(present)} now; "
            f"{changed[0]!r} is one that differs): give it the same data, or start a new run folder"
        )
    before = tuple(stored["training"].get(name) for name in ("global_batch", "steps_per_epoch"))
    if before != (global_batch, steps_per_epoch) and None not in before:
        raise OptionError(
            f"{run.folder}: the run was started with {before[1]} steps of {before[0]} clips per epoch, now there are "
            f"{steps_per_epoch} of {global_batch}: resume it with as many processes and training videos, or start a "
            "new run folder"
        )
    done = stored["run"]["epochs_done"]
    if run.max_epochs < done:
        raise OptionError(f"--run.max-epochs is {run.max_epochs}: the run to resume has trained {done} epochs already")
    return stored


def _batch_size(loader: DataLoader[Any]) -> int:
    if loader.batch_size is None:
        raise ValueError("the training loader needs a batch_size: the learning rate is scaled with it")
    return loader.batch_size


def _build_module(
    model: nn.Module,
    prepare: nn.Module,
    *,
    optim: OptimConfig,
    run: RunConfig,
    description: dict[str, Any],
    global_batch: int,
    steps_per_epoch: int,
    class_weights: Tensor | None,
) -> ClassifierModule:
    set_memory_format(model, channels_last=run.channels_last)
    if run.activation_checkpointing:
        checkpoint_activations(model)
    if run.compile:
        model.compile()
    total_epochs = float(run.max_epochs)
    if run.max_steps is not None:
        total_epochs = min(total_epochs, run.max_steps / steps_per_epoch)
    return ClassifierModule(
        model,
        prepare=prepare,
        optim=optim,
        description=description,
        global_batch=global_batch,
        steps_per_epoch=steps_per_epoch,
        total_epochs=total_epochs,
        seed=run.seed,
        class_weights=class_weights,
        max_bad_steps=run.max_bad_steps,
    )


def _announce(
    display: Display, trainer: pl.Trainer, module: ClassifierModule, batch_size: int, stored: dict[str, Any] | None
) -> None:
    """Say the arithmetic of batch and learning rate, and where a resumed run continues."""
    optim = module.optim
    rate = scaled_learning_rate(optim, module.global_batch)
    rule = f"{optim.lr:g} x {module.global_batch}/{optim.lr_batch_size}" if optim.scale_lr else "not scaled"
    display.say(
        f"global batch {module.global_batch} = {batch_size} clips x {trainer.world_size} process(es) x "
        f"{optim.accumulate} accumulated; learning rate {rate:g} ({rule}); {module.steps_per_epoch} steps per epoch"
    )
    if optim.warmup_epochs >= module.total_epochs:
        display.say(
            f"warning: the warm-up of {optim.warmup_epochs:g} epochs does not end within the run's "
            f"{module.total_epochs:g}: the learning rate stays below its peak (--optim.warmup-epochs)"
        )
    if stored:
        done, batches = stored["run"]["epochs_done"], stored["batches_done"]
        display.say(f"resuming after {done} epoch(s) and {batches} batch(es), step {stored['global_step']}")


def _train(
    trainer: pl.Trainer,
    module: ClassifierModule,
    train_loader: DataLoader[Any],
    conductor: Conductor,
    stored: dict[str, Any] | None,
) -> None:
    device = trainer.strategy.root_device
    batches = TrainingBatches(train_loader, device)
    if stored:
        batches.set_epoch(stored["epoch"])
        batches.set_start(stored["batches_done"])
    last = conductor.checkpoints / LAST if stored else None
    try:
        trainer.fit(module, train_dataloaders=batches, ckpt_path=last, weights_only=True)
        if conductor.state.validation_owed:  # killed in the very last validation: Lightning has nothing left to train
            module.to(device)
            conductor.finish_epoch(trainer, module)
    finally:
        if conductor.display:
            conductor.display.stop()


def _validator(
    val_loader: DataLoader[Any],
    trainer: pl.Trainer,
    description: dict[str, Any],
    run: RunConfig,
    display: Display | None,
) -> Callable[[ClassifierModule, Callable[[], None]], EvaluationResult]:
    """Make the function that measures the module on the validation videos, over all processes."""

    def validate(module: ClassifierModule, on_batch: Callable[[], None]) -> EvaluationResult:
        if display:
            display.start_validation(len(val_loader))
        with module.averaged.swapped_in() if module.averaged else contextlib.nullcontext():
            if trainer.world_size > 1:  # BatchNorm statistics differ between processes; the first's are stored
                for buffer in module.model.buffers():
                    torch.distributed.broadcast(buffer, src=0)
            return evaluate(
                module.model,
                val_loader,
                prepare=module.prepare,
                classes=tuple(description["classes"]),
                averaging=description["clip"].get("averaging", "softmax"),
                reversals=description.get("reversals"),
                precision=run.precision,
                device=trainer.strategy.root_device,
                on_batch=lambda count: on_batch(),
                gather=lambda part: gather_objects(trainer, part),
            )

    return validate
