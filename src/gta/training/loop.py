"""The training loop: epochs, steps, validations, checkpoints, signals, in one visible order.

At the end of an epoch: (checkpoint with the validation still owed, if the last one is old) -> validation -> metrics
row -> best checkpoint -> last checkpoint. A process that is killed anywhere in between repeats exactly the rest. A
checkpoint says one of two plain things: "n batches of this epoch are done" or "this epoch is done".
"""

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NoReturn

import torch
from lightning.fabric import Fabric
from torch import Tensor
from torch.utils.data import DataLoader

from gta.checkpoint import write_checkpoint
from gta.config import RunConfig
from gta.errors import GtaError
from gta.evaluation.scores import EvaluationResult, evaluate
from gta.processes import guarded
from gta.training.curves import Curves
from gta.training.display import Display
from gta.training.folder import BEST, LAST, RunFolder
from gta.training.launch import all_reduce
from gta.training.signals import Stopper, TrainingInterrupted
from gta.training.step import TrainStep

_OLD_SECONDS = 30.0
"""A validation begins with a checkpoint if the last one is older than this."""


class _ValidationCutOff(Exception):  # noqa: N818 - control flow inside this module
    """A signal came during a validation."""


@dataclass
class RunState:
    """What a run must remember besides the step's state; stored in checkpoints."""

    epochs_done: int = 0
    validation_owed: bool = False
    best_top1: float = -1.0
    best_epoch: int = 0
    best_result: dict[str, Any] = field(default_factory=dict)
    validations_without_gain: int = 0
    stopped_early: bool = False

    def judge(self, result: EvaluationResult) -> bool:
        """Remember the best validation (of equal top-1 the one of lower loss); returns whether this is it.

        Only top-1 counts as a gain: a falling loss must not prolong a run that stops early.
        """
        gained = result.top1 > self.best_top1
        self.validations_without_gain = 0 if gained else self.validations_without_gain + 1
        tied = result.top1 == self.best_top1
        if not (gained or (tied and result.loss < self.best_result.get("loss", math.inf))):
            return False
        self.best_top1, self.best_epoch, self.best_result = result.top1, self.epochs_done, result.to_json()
        return True


@dataclass
class Loop:
    """Runs a training from its present state to its end; every process of the run has one."""

    fabric: Fabric
    step: TrainStep
    options: RunConfig
    train_loader: DataLoader[Any]
    """Batches of this process; its sampler has `set_epoch` and `set_start`."""
    val_loader: DataLoader[Any] | None
    """The validation's batches; None for no validation."""
    description: dict[str, Any]
    """The "gta" entry of checkpoints."""
    folder: RunFolder | None
    """Writes the run folder's files; None in all processes but the first."""
    display: Display
    """Shows progress; silent in all processes but the first."""
    stopper: Stopper
    """Knows whether a signal came."""
    note_skipped: Callable[[list[tuple[str, str]]], list[tuple[str, str]]]
    """Takes note of unreadable videos and returns those that are new; called in the first process only."""
    curves: Curves | None
    """Called with (name, value, step) for TensorBoard; None if there is none."""
    state: RunState = field(default_factory=RunState)
    batches_done: int = 0
    """Batches of the epoch after `state.epochs_done` that are trained already."""

    def __post_init__(self) -> None:
        self._last_saved = self._epoch_started = time.monotonic()
        self._clips_in_epoch = 0
        self._skipped: list[tuple[str, str]] = []  # which the first process does not know yet
        self._failure: GtaError | None = None  # of this process; raised once all processes know

    def run(self) -> None:
        """Train epoch after epoch, until the run is long enough, stops early or is told to stop.

        Raises:
            TrainingInterrupted: a signal came; a checkpoint was written.
        """
        self.state.stopped_early = self._patience_is_over()  # a run to resume that had stopped early may have more now
        if self.state.validation_owed and not self.state.stopped_early:  # it was cut off
            self._end_epoch(seconds=None)
        while not self._is_over():
            self._train_epoch()
            self.state.epochs_done += 1
            self.batches_done = 0
            self._end_epoch(seconds=time.monotonic() - self._epoch_started)
            if not self._is_over():
                self._save_or_stop(due=False)
        if self.state.stopped_early:
            self.display.say(
                f"stopped early: {self.state.validations_without_gain} validations in a row were no better than that "
                f"of epoch {self.state.best_epoch} (run.patience is {self.options.patience})"
            )

    def _is_over(self) -> bool:
        return self.state.epochs_done >= self.options.max_epochs or self._steps_are_over() or self.state.stopped_early

    def _steps_are_over(self) -> bool:
        return self.options.max_steps is not None and self.step.num_steps >= self.options.max_steps

    def _patience_is_over(self) -> bool:
        patience = self.options.patience
        return patience is not None and self.state.validations_without_gain >= patience

    # ---- an epoch's steps -------------------------------------------------------------------------------------------

    def _train_epoch(self) -> None:
        """Train one epoch, or what is left of it."""
        self._epoch_started, self._clips_in_epoch = time.monotonic(), 0
        done, total, per_step = self.batches_done, len(self.train_loader), self.step.plan.accumulate
        if done == 0:
            self.step.begin_epoch()
        self.display.start_epoch(self.state.epochs_done + 1, total, done)
        sampler: Any = self.train_loader.sampler
        sampler.set_epoch(self.state.epochs_done)
        sampler.set_start(done)
        for number, batch in enumerate(self._batches(), start=done):
            first = number - number % per_step
            parts = min(per_step, total - first)  # an epoch's last step may have fewer
            last = number + 1 == first + parts
            loss = self.step(batch, parts=parts, last=last)
            self._show(batch)
            if not last:
                continue  # the gradients of unfinished steps are not stored: no checkpoint and no stop inside a step
            self.batches_done = number + 1
            if self.curves and self.step.num_steps % 10 == 0:
                self.curves("train/step_loss", float(loss), self.step.num_steps)
            if self._steps_are_over():
                break
            if self.batches_done < total:  # the epoch's end has its own checkpoint
                self._save_or_stop(due=self._is_checkpoint_due())

    def _batches(self) -> Iterator[Mapping[str, Any]]:
        return batches_ahead(guarded(self.train_loader, self._note), self.fabric.device)

    def _show(self, batch: Mapping[str, Any]) -> None:
        self._note(list(batch.get("skipped", ())))
        self._clips_in_epoch += len(batch["label"]) * self.fabric.world_size
        speed = self._clips_in_epoch / max(time.monotonic() - self._epoch_started, 1e-9)
        self.display.advance(self.step.totals, speed)

    def _note(self, skipped: list[tuple[str, str]]) -> None:
        """Record unreadable videos at once; the other processes hand theirs over at the epoch's end."""
        if self.folder is None:
            self._skipped += skipped
        elif skipped:
            try:
                new = self.note_skipped(skipped)
            except GtaError as error:  # too many, or the disk is full
                self._failure = self._failure or error
                return
            for path, reason in new:
                self.display.say(f"skipped, because it cannot be read: {path}: {reason}")

    def _is_checkpoint_due(self) -> bool:
        every = self.options.checkpoint_steps
        if every is not None and self.step.num_steps % every == 0:
            return True
        return time.monotonic() - self._last_saved >= 60 * self.options.checkpoint_minutes

    def _save_or_stop(self, *, due: bool) -> None:
        """Write a checkpoint if one is due in any process, stop if one got a signal or has failed."""
        stop, save, failed = self._agree(self.stopper.number or 0, int(due), int(self._failure is not None))
        if failed:
            self._fail()
        if stop or save:
            self.save(LAST)
        if stop:
            raise self._interrupted(stop)

    # ---- an epoch's end ---------------------------------------------------------------------------------------------

    def _end_epoch(self, *, seconds: float | None) -> None:
        """Validate if it is time, record, and write the checkpoints; `seconds` is how long the epoch took, if known."""
        due = self.state.epochs_done % self.options.validate_every == 0 or self._is_over()
        started = time.monotonic()
        result = self._validate(self.val_loader) if self.val_loader is not None and due else None
        took = None if result is None else time.monotonic() - started
        is_best = result is not None and self.state.judge(result)
        self.state.stopped_early = result is not None and self._patience_is_over()
        self._record(result, seconds=seconds, validation_seconds=took)
        self._fail_together()
        if is_best or self.val_loader is None:
            self.save(BEST)
        self.save(LAST)

    def _validate(self, loader: DataLoader[Any]) -> EvaluationResult:
        """Measure the model on the validation videos, over all processes."""
        self.state.validation_owed = True
        if self._agree(int(time.monotonic() - self._last_saved > _OLD_SECONDS))[0]:
            self.save(LAST)
        self.display.start_validation(len(loader))
        model, step, clip = self.step.model, self.step, self.description["clip"]
        try:
            with step.evaluated_weights():
                if self.fabric.world_size > 1:  # BatchNorm statistics differ between processes; the first's are stored
                    for buffer in model.buffers():
                        torch.distributed.broadcast(buffer, src=0)
                result = evaluate(
                    model,
                    loader,
                    prepare=step.objective.prepare,
                    classes=tuple(self.description["classes"]),
                    averaging=clip.get("averaging", "softmax"),
                    reversals=self.description.get("reversals"),
                    precision=self.options.precision,
                    device=self.fabric.device,
                    on_batch=self._after_validation_batch,
                    gather=self._gather,
                )
        except _ValidationCutOff:
            self.save(LAST)  # only now: the model holds its own weights again, not the averaged ones
            raise self._interrupted(self.stopper.number or 0) from None
        self.state.validation_owed = False
        return result

    def _after_validation_batch(self, count: int) -> None:
        """Show progress, and cut the validation off on a signal (one process only; several finish it together)."""
        self.display.advance()
        if self.stopper.number is not None and self.fabric.world_size == 1:
            raise _ValidationCutOff

    def _record(
        self, result: EvaluationResult | None, *, seconds: float | None, validation_seconds: float | None
    ) -> None:
        totals = self.step.global_totals()
        skipped, self._skipped = self._gather(self._skipped), []
        if self.folder is None:
            return
        for part in [*skipped, list(result.skipped) if result else []]:
            self._note(part)
        row: dict[str, Any] = {
            "epoch": self.state.epochs_done,
            "step": self.step.num_steps,
            "lr": self.step.learning_rate,
            "train_loss": totals.mean_loss if totals.count else None,
            "train_top1": totals.top1 if totals.count else None,
            "bad_steps": self.step.bad_steps,
        }
        if result is not None:
            names = ("loss", "top1", "top5", "mean_class_accuracy", "direction_accuracy")
            row.update({f"val_{name}": getattr(result, name) for name in names})
        timing = {
            "epoch": self.state.epochs_done,
            "seconds": seconds,
            "clips_per_second": self._clips_in_epoch / seconds if seconds else None,
            "validation_seconds": validation_seconds,
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
                    self.curves(f"epoch/{name}", float(value), self.step.num_steps)
        self.display.end_epoch(row, timing)

    # ---- checkpoints ------------------------------------------------------------------------------------------------

    def save(self, name: str) -> None:
        """Write a checkpoint of this moment; every process must call it."""
        content = {
            "gta": self.description,
            "run": asdict(self.state),
            "epoch": self.state.epochs_done,
            "batches_done": self.batches_done,
            **self.step.state_dict(),
        }
        if self.fabric.is_global_zero:
            try:
                if self.folder is not None:
                    self.folder.lock.require_folder()
                write_checkpoint(self.options.folder / name, content)
            except GtaError as error:
                self._failure = self._failure or error
        self._fail_together()
        self._last_saved = time.monotonic()

    def load(self, content: Mapping[str, Any]) -> None:
        """Continue from the content of a checkpoint."""
        self.step.load_state_dict(content)
        self.state = RunState(**content["run"])
        self.batches_done = content["batches_done"]

    # ---- several processes, and the end -----------------------------------------------------------------------------

    def _agree(self, *values: int) -> list[int]:
        """The largest of each value over all processes, so that they all do the same."""
        if self.fabric.world_size == 1:  # without a detour over the device
            return list(values)
        return all_reduce(self.fabric, torch.tensor(values, device=self.fabric.device), "max").tolist()

    def _gather(self, value: Any) -> list[Any]:
        """The values of all processes, in the order of their ranks."""
        parts: list[Any] = [value] * self.fabric.world_size
        if self.fabric.world_size > 1:
            torch.distributed.all_gather_object(parts, value)
        return parts

    def _fail_together(self) -> None:
        """Stop all processes if one of them has failed: the others would wait for it for as long as the timeout is."""
        if self._agree(int(self._failure is not None))[0]:
            self._fail()

    def _fail(self) -> NoReturn:
        raise self._failure or GtaError("another process of this run has failed: its message says why")

    def _interrupted(self, number: int) -> TrainingInterrupted:
        return TrainingInterrupted(
            number,
            f"checkpoint written after epoch {self.state.epochs_done}, step {self.step.num_steps} "
            f"({self.options.folder / LAST}); continue with `resume`",
        )


def batches_ahead(loader: Iterable[Mapping[str, Any]], device: torch.device) -> Iterator[Mapping[str, Any]]:
    """A loader's batches with their tensors on `device`; a GPU gets the next batch while it computes the present one.

    The copy runs on a stream of its own; the loader should pin its memory.
    """
    if device.type != "cuda":
        yield from loader
        return
    copying, computing = torch.cuda.Stream(device), torch.cuda.current_stream(device)
    ahead: tuple[dict[str, Any], Any] | None = None
    for batch in itertools.chain(loader, [None]):
        arriving, ahead = ahead, None
        if batch is not None:
            with torch.cuda.stream(copying):
                tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor)}
                tensors = {name: value.to(device, non_blocking=True) for name, value in tensors.items()}
                ahead = ({**batch, **tensors}, copying.record_event())
        if arriving is not None:
            present, copied = arriving
            computing.wait_event(copied)
            for value in present.values():
                if isinstance(value, Tensor):
                    value.record_stream(computing)  # so that its memory is kept until it is computed
            yield present
