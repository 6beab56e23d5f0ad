"""The callback that conducts a run: checkpoints, validation, records, signals, in one visible order.

At the end of an epoch: (checkpoint with the validation still owed, if the last one is old) -> validation -> metrics
row -> best checkpoint -> last checkpoint. A process that is killed anywhere in between repeats exactly the rest.

Lightning stores the progress of its loops as it stands in the middle of a hook, and guesses on resuming where that
was. Here a checkpoint always says one of two plain things: "n batches of this epoch are done" or "this epoch is done".
"""

import math
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from gta.config import RunConfig
from gta.engine.evaluate import EvaluationResult
from gta.engine.module import ClassifierModule
from gta.engine.progress import Display
from gta.engine.run_folder import BEST, LAST, RunFolder
from gta.engine.stopping import Stopper, TrainingInterrupted
from gta.errors import GtaError

_OLD_SECONDS = 30.0
"""A validation begins with a checkpoint if the last one is older than this."""


class _ValidationCutOff(Exception):  # noqa: N818 - control flow inside this module
    """A signal came during a validation."""


@dataclass
class RunState:
    """What a run must remember besides weights and counters; stored in checkpoints."""

    epochs_done: int = 0
    validation_owed: bool = False
    best_top1: float = -1.0
    best_epoch: int = 0
    best_result: dict[str, Any] = field(default_factory=dict)
    validations_without_gain: int = 0
    stopped_early: bool = False


class Conductor(pl.Callback):
    """Runs everything around the training steps.

    Args:
        run: the run's options.
        folder: writes the run folder's files; None in all processes but the first.
        checkpoints: folder of best.ckpt and last.ckpt (every process must know it).
        display: shows progress; None in all processes but the first.
        stopper: knows whether a signal came.
        validate: measures the module; takes a function to call after each batch. None if there is no validation.
        note_skipped: takes note of unreadable videos and returns those that are new; None in all but the first process.
        curves: called with (name, value, step) for TensorBoard; None if there is none.
    """

    def __init__(
        self,
        *,
        run: RunConfig,
        folder: RunFolder | None,
        checkpoints: Path,
        display: Display | None,
        stopper: Stopper,
        validate: Callable[[ClassifierModule, Callable[[], None]], EvaluationResult] | None,
        note_skipped: Callable[[list[tuple[str, str]]], list[tuple[str, str]]] | None = None,
        curves: Callable[[str, float, int], None] | None = None,
    ) -> None:
        self.run = run
        self.folder = folder
        self.checkpoints = checkpoints
        self.display = display
        self.stopper = stopper
        self.validate = validate
        self.note_skipped = note_skipped
        self.curves = curves
        self.state = RunState()
        self._at_epoch_end = False
        self._last_saved = time.monotonic()
        self._skipped: list[tuple[str, str]] = []
        self._failure: GtaError | None = None  # of this process; raised once all processes know
        self._epoch_started = time.monotonic()
        self._clips_in_epoch = 0

    # ---- an epoch's beginning and its steps -------------------------------------------------------------------------

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take the signals back from Lightning, and redo a validation that was cut off."""
        self.stopper.install()
        if self.run.num_threads is not None:  # Lightning's launcher has set its own number
            torch.set_num_threads(self.run.num_threads)
        if trainer._signal_connector.received_sigterm:  # it came while Lightning had them
            trainer._signal_connector.received_sigterm = False
            self.stopper.number = self.stopper.number or signal.SIGTERM
        if self._patience_is_over():  # the run to resume had stopped early, and still would
            self.state.stopped_early = True
            trainer.should_stop = True
            return
        self.state.stopped_early = False
        self.finish_epoch(trainer, _classifier(pl_module))
        done = trainer.fit_loop.epoch_loop.batch_progress.current.completed
        if done:
            self._begin(trainer, done)

    def finish_epoch(self, trainer: pl.Trainer, module: ClassifierModule) -> None:
        """Do the validation that a checkpoint still owes, if any."""
        if self.state.validation_owed:
            self._validate_and_save(trainer, module, epoch=self.state.epochs_done, seconds=None)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock and the bar."""
        self._begin(trainer, 0)

    def _begin(self, trainer: pl.Trainer, done: int) -> None:
        self._epoch_started = time.monotonic()
        self._clips_in_epoch = 0
        if self.display:
            self.display.start_epoch(trainer.current_epoch + 1, int(trainer.num_training_batches), done)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After a step: show it, record it, write a checkpoint if one is due, stop if a signal came."""
        module = _classifier(pl_module)
        self._note(list(batch.get("skipped", ())))
        self._clips_in_epoch += len(batch["label"]) * trainer.world_size
        if self.display:
            speed = self._clips_in_epoch / max(time.monotonic() - self._epoch_started, 1e-9)
            self.display.advance(module.totals, speed)
        loop = trainer.fit_loop.epoch_loop
        if loop._should_accumulate():
            return  # the gradients of unfinished sums are not stored, so no checkpoint and no stop between the steps
        if self.curves and trainer.global_step % 10 == 0:
            loss = float(outputs["loss"]) * trainer.accumulate_grad_batches  # Lightning has divided it
            self.curves("train/step_loss", loss, trainer.global_step)
        if loop._num_ready_batches_reached() or self._steps_are_over(trainer):
            return  # the epoch's end has its own checkpoint
        stop, save, failed = self._agree(
            trainer, self.stopper.number or 0, int(self._is_checkpoint_due(trainer)), int(self._failure is not None)
        )
        if failed:
            self._fail()
        if stop or save:
            self.save(trainer, LAST)
        if stop:
            self._stop(trainer, stop)

    def _note(self, skipped: list[tuple[str, str]]) -> None:
        """Record unreadable videos at once; the other processes hand theirs over at the epoch's end."""
        if not skipped:
            return
        if self.note_skipped is None:
            self._skipped += skipped
            return
        try:
            new = self.note_skipped(skipped)
        except GtaError as error:  # too many, or the disk is full
            self._failure = self._failure or error
            return
        if new and self.display:
            for path, reason in new:
                self.display.say(f"left out, because it cannot be read: {path}: {reason}")

    def _is_checkpoint_due(self, trainer: pl.Trainer) -> bool:
        every = self.run.checkpoint_steps
        if every is not None and trainer.global_step % every == 0:
            return True
        return time.monotonic() - self._last_saved >= 60 * self.run.checkpoint_minutes

    def _agree(self, trainer: pl.Trainer, *values: int) -> list[int]:
        """The largest of each value over all processes, so that they all do the same."""
        if trainer.world_size == 1:
            return list(values)
        tensor = torch.tensor(values, device=trainer.strategy.root_device)
        torch.distributed.all_reduce(tensor, op=torch.distributed.ReduceOp.MAX)
        return tensor.tolist()

    def _fail_together(self, trainer: pl.Trainer) -> None:
        """Stop all processes if one of them has failed: the others would wait for it for as long as the timeout is."""
        if self._agree(trainer, int(self._failure is not None))[0]:
            self._fail()

    def _fail(self) -> None:
        if self.display:
            self.display.stop()
        raise self._failure or GtaError("another process of this run has failed: its message says why")

    def _stop(self, trainer: pl.Trainer, number: int) -> None:
        if self.display:
            self.display.stop()
        raise TrainingInterrupted(
            number,
            f"checkpoint written after epoch {self.state.epochs_done}, step {trainer.global_step} "
            f"({self.checkpoints / LAST}); continue with --resume",
        )

    # ---- an epoch's end ---------------------------------------------------------------------------------------------

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Validate, record, write the checkpoints, and stop if it is time."""
        module = _classifier(pl_module)
        self.state.epochs_done = trainer.current_epoch + 1
        seconds = time.monotonic() - self._epoch_started
        self._validate_and_save(trainer, module, epoch=self.state.epochs_done, seconds=seconds)
        stop, _ = self._agree(trainer, self.stopper.number or 0, 0)
        if stop and not self._is_last_epoch(trainer):
            self._stop(trainer, stop)

    def _is_last_epoch(self, trainer: pl.Trainer) -> bool:
        return (
            self.state.epochs_done >= self.run.max_epochs or self._steps_are_over(trainer) or self.state.stopped_early
        )

    def _steps_are_over(self, trainer: pl.Trainer) -> bool:
        return self.run.max_steps is not None and trainer.global_step >= self.run.max_steps

    def _patience_is_over(self) -> bool:
        patience = self.run.patience
        return patience is not None and self.state.validations_without_gain >= patience

    def _validate_and_save(
        self, trainer: pl.Trainer, module: ClassifierModule, *, epoch: int, seconds: float | None
    ) -> None:
        self._at_epoch_end = True
        due = epoch % self.run.validate_every == 0 or self._is_last_epoch(trainer)
        result: EvaluationResult | None = None
        started = time.monotonic()
        if self.validate and due:
            self.state.validation_owed = True
            if self._agree(trainer, int(started - self._last_saved > _OLD_SECONDS))[0]:
                self.save(trainer, LAST)
            try:
                result = self.validate(module, lambda: self._after_validation_batch(trainer))
            except _ValidationCutOff:
                self.save(trainer, LAST)  # only now: the module holds its own weights again, not the averaged ones
                self._stop(trainer, self.stopper.number or 0)
            self.state.validation_owed = False
        took = time.monotonic() - started
        is_best = self._judge(result, epoch)
        self._record(trainer, module, epoch=epoch, result=result, seconds=seconds, validation_seconds=took)
        self._fail_together(trainer)
        if is_best or not self.validate:
            self.save(trainer, BEST)
        self.save(trainer, LAST)
        self._at_epoch_end = False
        if self.state.stopped_early:
            trainer.should_stop = True

    def _after_validation_batch(self, trainer: pl.Trainer) -> None:
        """Show progress, and cut the validation off on a signal (one process only; several finish it together)."""
        if self.display:
            self.display.advance()
        if self.stopper.number is not None and trainer.world_size == 1:
            raise _ValidationCutOff

    def _judge(self, result: EvaluationResult | None, epoch: int) -> bool:
        """Remember the best validation (of equal top-1 the one of lower loss); returns whether this is it."""
        if result is None:
            return False
        gained = result.top1 > self.state.best_top1
        tied = result.top1 == self.state.best_top1
        is_best = gained or (tied and result.loss < self.state.best_result.get("loss", math.inf))
        if is_best:
            self.state.best_top1 = result.top1
            self.state.best_epoch = epoch
            self.state.best_result = result.to_json()
        self.state.validations_without_gain = 0 if gained else self.state.validations_without_gain + 1
        self.state.stopped_early = self._patience_is_over()  # top-1 only: a falling loss must not prolong the run
        return is_best

    def _record(
        self,
        trainer: pl.Trainer,
        module: ClassifierModule,
        *,
        epoch: int,
        result: EvaluationResult | None,
        seconds: float | None,
        validation_seconds: float,
    ) -> None:
        totals = module.global_totals()
        skipped = gather_objects(trainer, self._skipped)
        self._skipped = []
        if self.folder is None:
            return
        row: dict[str, Any] = {
            "epoch": epoch,
            "step": trainer.global_step,
            "lr": trainer.optimizers[0].param_groups[0]["lr"],
            "train_loss": totals.mean_loss if totals.count else None,
            "train_top1": totals.top1 if totals.count else None,
            "bad_steps": module.bad_steps,
        }
        for part in skipped:
            self._note(part)
        if result is not None:
            row.update(
                val_loss=result.loss,
                val_top1=result.top1,
                val_top5=result.top5,
                val_mean_class_accuracy=result.mean_class_accuracy,
                val_direction_accuracy=result.direction_accuracy,
            )
            self._note(list(result.skipped))
        timing = {
            "epoch": epoch,
            "seconds": seconds,
            "clips_per_second": self._clips_in_epoch / seconds if seconds else None,
            "validation_seconds": validation_seconds if result is not None else None,
            "peak_memory_mib": torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None,
        }
        try:
            self.folder.add_epoch(row, timing)
        except GtaError as error:
            self._failure = self._failure or error
            return
        if self.curves:
            for name, value in {**row, "clips_per_second": timing["clips_per_second"]}.items():
                if name not in ("epoch", "step") and value is not None and math.isfinite(value):
                    self.curves(f"epoch/{name}", float(value), trainer.global_step)
        if self.display:
            self.display.end_epoch(row, timing)

    # ---- checkpoints ------------------------------------------------------------------------------------------------

    def save(self, trainer: pl.Trainer, name: str) -> None:
        """Write a checkpoint of this moment; every process must call it."""
        try:
            trainer.save_checkpoint(self.checkpoints / name, weights_only=False)
        except GtaError as error:  # in the first process, which alone writes; the others wait for it
            self._failure = self._failure or error
            trainer.strategy.barrier()
        self._fail_together(trainer)
        self._last_saved = time.monotonic()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the run's state, and say plainly how far the loops are."""
        checkpoint["run"] = dict(vars(self.state))
        progress = trainer.fit_loop.epoch_loop.batch_progress
        batches = 0 if self._at_epoch_end else progress.current.ready
        set_progress(
            checkpoint["loops"]["fit_loop"], epochs=self.state.epochs_done, batches=batches, steps=trainer.global_step
        )
        checkpoint["batches_done"] = batches
        checkpoint["epoch"] = self.state.epochs_done

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Continue the run's state."""
        self.state = RunState(**checkpoint["run"])


def set_progress(fit_loop: dict[str, Any], *, epochs: int, batches: int, steps: int) -> None:
    """Rewrite the stored progress of Lightning's loops: `epochs` are done, and `batches` batches of the next one."""
    fit_loop["epoch_loop.state_dict"]["_batches_that_stepped"] = steps
    inside = int(batches > 0)
    epoch_counts = {"ready": epochs + inside, "completed": epochs, "started": epochs + inside, "processed": epochs}
    fit_loop["epoch_progress"] = {"total": dict(epoch_counts), "current": dict(epoch_counts)}
    progress = fit_loop["epoch_loop.batch_progress"]
    total = progress["total"]["ready"]
    progress["total"] = dict.fromkeys(("ready", "completed", "started", "processed"), total)
    progress["current"] = dict.fromkeys(("ready", "completed", "started", "processed"), batches)
    progress["is_last_batch"] = False


def gather_objects(trainer: pl.Trainer, value: Any) -> list[Any]:
    """The values of all processes, in the order of their ranks; every process must call it."""
    if trainer.world_size == 1:
        return [value]
    parts: list[Any] = [None] * trainer.world_size
    torch.distributed.all_gather_object(parts, value)
    return parts


def _classifier(module: pl.LightningModule) -> ClassifierModule:
    if not isinstance(module, ClassifierModule):
        raise TypeError(f"the conductor runs a ClassifierModule, not a {type(module).__name__}")
    return module
