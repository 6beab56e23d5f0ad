"""Checking where a run is to continue, as its last checkpoint has it, before anything is loaded from it."""

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from gta.checkpoint import MODEL_PREFIX
from gta.stored import StoredError, entry, mapping, plain, real, sequence, whole

_COUNTS = ("num_batches", "bad_steps", "bad_in_a_row", "average_updates", "global_batch", "steps_per_epoch")


def check_run_state(content: Mapping[str, Any], *, batches_per_epoch: int) -> None:
    """Hold the numbers of a checkpoint to their types and ranges.

    Args:
        content: the checkpoint.
        batches_per_epoch: batches of one epoch in this process.

    Raises:
        StoredError: one of them is missing, of another type or out of range; the text says which.
    """
    run = mapping(entry(content, "run", "the checkpoint"), "run")
    epochs = whole(entry(run, "epochs_done", "run"), "epochs_done")
    for name in ("validation_owed", "stopped_early"):
        if not isinstance(run.get(name, False), bool):
            raise StoredError(f"{name} is {run[name]!r}, not true or false")
    whole(run.get("best_epoch", 0), "best_epoch", 0, epochs)
    whole(run.get("validations_without_gain", 0), "validations_without_gain", 0, epochs)
    real(run.get("best_top1", -1.0), "best_top1", -1.0, 1.0)
    if best := mapping(plain(run.get("best_result", {}), "best_result"), "best_result"):
        _check_evaluation(best)
    whole(entry(content, "batches_done", "the checkpoint"), "batches_done", 0, batches_per_epoch)
    whole(entry(content, "global_step", "the checkpoint"), "global_step")
    training = mapping(entry(content, "training", "the checkpoint"), "training")
    for name in _COUNTS:
        whole(training.get(name, 0), name)
    if "total_epochs" in training:
        real(training["total_epochs"], "total_epochs", 0.0)
    totals = entry(training, "totals", "training")
    if not isinstance(totals, list | tuple) or len(totals) != 3:
        raise StoredError("totals are not three numbers")
    for number in totals:
        real(number, "a number of totals", 0.0, float(2**53))
    states = entry(content, "optimizer_states", "the checkpoint")
    if not isinstance(states, list) or len(states) != 1:
        raise StoredError("the optimiser's state is missing")
    mapping(states[0], "the state of the optimiser")


def _check_evaluation(result: Mapping[str, Any]) -> None:
    """Hold a stored evaluation (`EvaluationResult.to_json`) to what reports and messages read in it.

    Raises:
        StoredError: something of it is missing, of another type or out of range.
    """
    for name in ("top1", "top5", "mean_class_accuracy"):
        real(entry(result, name, "best_result"), name, 0.0, 1.0)
    real(entry(result, "loss", "best_result"), "loss", 0.0)
    whole(entry(result, "num_videos", "best_result"), "num_videos")
    if entry(result, "direction_accuracy", "best_result") is not None:
        real(result["direction_accuracy"], "direction_accuracy", 0.0, 1.0)
    classes = mapping(entry(result, "per_class", "best_result"), "per_class")
    for row in classes.values():
        whole(entry(mapping(row, "a class of best_result"), "num_videos", "a class of best_result"), "num_videos")
        if entry(row, "accuracy", "a class of best_result") is not None:
            real(row["accuracy"], "accuracy", 0.0, 1.0)
    confusion = mapping(entry(result, "confusion", "best_result"), "confusion")
    matrix = sequence(entry(confusion, "rows_true_columns_predicted", "confusion"), "the confusion matrix")
    if sequence(entry(confusion, "classes", "confusion"), "classes") != list(classes) or len(matrix) != len(classes):
        raise StoredError("the confusion matrix does not match the classes")
    for row in matrix:
        if len(sequence(row, "a row of the confusion matrix")) != len(classes):
            raise StoredError("the confusion matrix is not square")
        for count in row:
            whole(count, "a number of the confusion matrix")
    for pair in sequence(result.get("worst_confusions", []), "worst_confusions"):  # which runs of earlier versions lack
        _check_confusion(mapping(pair, "a confusion"), classes)


def _check_confusion(pair: Mapping[str, Any], classes: Mapping[str, Any]) -> None:
    for name in ("true", "predicted"):
        if not isinstance(entry(pair, name, "a confusion"), str) or pair[name] not in classes:
            raise StoredError("a confusion matrix belongs to other classes")
    whole(entry(pair, "count", "a confusion"), "count", 1)
    for number in sequence(entry(pair, "index", "a confusion"), "index"):
        whole(number, "a video's position")


def check_weights(state_dict: Mapping[str, Any], model: nn.Module, *, left_out: Collection[str] = ()) -> None:
    """Hold a checkpoint's weights to the names and shapes of the model that is to continue, less those `left_out`.

    Raises:
        StoredError: they are another model's; the text names the first weight that differs.
    """
    weights = {
        name.removeprefix(MODEL_PREFIX): value for name, value in state_dict.items() if name.startswith(MODEL_PREFIX)
    }
    expected = {name: value for name, value in model.state_dict().items() if name not in left_out}
    for name in (*expected, *weights):
        found, like = weights.get(name), expected.get(name)
        if like is None or not isinstance(found, torch.Tensor):
            raise StoredError(f"it belongs to another model: {name} is in only one of the two")
        if found.shape != like.shape:
            raise StoredError(
                f"it belongs to another model: {name} has shape {tuple(found.shape)}, "
                f"the model's has {tuple(like.shape)}"
            )


def check_optimizer(optimizer: Optimizer) -> None:
    """Hold what an optimiser remembers of each parameter to the parameter's shape; PyTorch does not look.

    Raises:
        StoredError: a shape differs, or a number is not finite.
    """
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if not isinstance(value, torch.Tensor):
                continue
            if value.numel() != 1 and value.shape != parameter.shape:
                raise StoredError(
                    f"the optimiser's {name} has shape {tuple(value.shape)}, not {tuple(parameter.shape)}"
                )
            if not bool(torch.isfinite(value).all()):
                raise StoredError(f"the optimiser's {name} holds NaN or infinite numbers")
