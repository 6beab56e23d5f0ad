"""`gta demo`: from nothing to trained, compared, explained models, on freshly rendered videos."""

import csv
import math
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gta.commands.arguments import parse_arguments
from gta.commands.demo_explain import PAGE, explain_fresh, order_accuracies, predict_backwards
from gta.errors import OptionError, RunFolderError

if TYPE_CHECKING:
    from gta.config import TrainConfig
    from gta.predictor import Predictor
    from gta.viz.report import Example, ModelResult, Panel

RESULTS = "results.json"
REPORT = "report.html"
MARKER = ".gta-demo"  # says that a folder is the demo's own, so that the demo may replace what it left there
QUANTITIES = ("train_loss", "train_top1", "val_top1")  # of metrics.csv, whose curves the report shows
FRESH_CLASSES = (
    "Opening something",
    "Pushing something from right to left",
    "Moving something towards the camera",
    "Turning something clockwise",
    "Shaking something",
)


@dataclass(frozen=True)
class DemoArguments:
    """Render videos, train a 2D model and GTA on the same budget, then compare and explain them on held-out videos."""

    output: Path = Path("runs/demo")
    """Output folder. An interrupted demo is continued; the results of a finished one are replaced."""
    models: tuple[str, ...] = ("tiny", "tiny_gta")
    """Models to compare (see `gta models`)."""
    num_videos: int = 1280
    """Videos to render: 70 % to train on, 10 % to choose the best epoch, 20 % to test."""
    epochs: int = 14
    """Passes over the training videos for each model."""
    seed: int = 0
    """Seed of the videos and the training; the same seed gives the same numbers."""
    num_workers: int = 2
    """Processes that render and decode videos; 0 does it in the main process."""

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise OptionError(f"--epochs is {self.epochs}: at least one epoch is needed")
        if not self.models:
            raise OptionError("--models is empty: name at least one model")
        if len(set(self.models)) < len(self.models):
            raise OptionError(f"--models is {' '.join(self.models)}: name each model once")


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta demo`."""
    options = parse_arguments(
        DemoArguments, arguments, command="gta demo", renamed={"--folder": "--output", "--max-epochs": "--epochs"}
    )
    run_demo(options)


def run_demo(options: DemoArguments) -> dict[str, Any]:
    """Do all steps and return what was written to results.json.

    Raises:
        OptionError: an option does not fit.
        RunFolderError: the folder exists and is not an earlier demo's.
    """
    from gta.files import write_json, write_text
    from gta.predictor import Predictor
    from gta.synthetic import synthesize
    from gta.synthetic.classes import CLASSES, permutation_invariant_ceiling
    from gta.viz.report import render_report

    _check_models(options, num_classes=len(CLASSES))
    _claim(options.output)
    videos = options.output / "videos"
    _step("1/4", f"rendering {options.num_videos} videos of {len(CLASSES)} classes into {videos}")
    summary = synthesize(
        videos,
        layout="folder",
        num_videos=options.num_videos,
        seed=options.seed,
        val_fraction=0.1,
        test_fraction=0.2,
        num_workers=options.num_workers,
    )
    _clear_finished(options)  # only now, when nothing speaks against starting
    ceiling = permutation_invariant_ceiling(CLASSES)
    error = math.sqrt(ceiling * (1 - ceiling) / summary.num_test)
    models = []
    for position, name in enumerate(options.models, start=1):
        _step("2/4", f"training {name} ({position} of {len(options.models)}), {options.epochs} epochs")
        models.append(_train_and_test(name, options))
    _step("3/4", "predicting and explaining freshly rendered videos")
    predictors = {
        name: Predictor.from_checkpoint(options.output / name / "best.ckpt", device="cpu") for name in options.models
    }
    examples = _predict_fresh(predictors, options)
    pictures = explain_fresh(predictors, options.output / "fresh" / "0.mp4", options.output)
    commands = _next_commands(options, videos)
    _step("4/4", f"writing {options.output / REPORT}")
    results = _results(models, ceiling, error, summary.num_test, options)
    write_json(options.output / RESULTS, results)
    write_text(
        options.output / REPORT,
        render_report(
            title=f"{' and '.join(options.models)}: the same training, compared on held-out videos",
            summary=_summary(summary.num_train, summary.num_test, len(CLASSES), ceiling, error, options),
            models=models,
            ceiling=(ceiling, error),
            classes=CLASSES,
            examples=examples,
            commands=commands,
            panels=_panels(),
            pictures=pictures,
            explained=[
                f"What {options.models[-1]} sees in one of the fresh videos below; open {PAGE} next to this file "
                "to explore any point of any frame."
            ],
        ),
    )
    _print_results(models, ceiling, error, options, commands)
    return results


def _configuration(model: str, options: DemoArguments) -> "TrainConfig":
    from gta.recipes.demo import demo

    return demo(
        model=model,
        videos=options.output / "videos",
        folder=options.output / model,
        max_epochs=options.epochs,
        seed=options.seed,
        num_workers=options.num_workers,
    )


def _check_models(options: DemoArguments, *, num_classes: int) -> None:
    """Build each model once: a wrong name should not cost the time of rendering."""
    from gta.runs.composition import build_model

    for model in options.models:
        try:
            build_model(_configuration(model, options).model, num_classes=num_classes)
        except OptionError as error:
            raise OptionError(f"--models {model}: {error}") from error


def _claim(folder: Path) -> None:
    """Make the folder the demo's own; what an earlier demo left there stays."""
    if folder.exists():
        if not folder.is_dir():
            raise RunFolderError(f"{folder}: this is a file: choose another --output")
        if any(folder.iterdir()) and not (folder / MARKER).exists():
            raise RunFolderError(f"{folder}: this folder contains something other than a demo: choose another --output")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()


def _clear_finished(options: DemoArguments) -> None:
    """Remove the results of a finished demo; the runs of an interrupted one stay and go on."""
    if not (options.output / RESULTS).exists():
        return
    for model in options.models:
        if (options.output / model).exists():
            shutil.rmtree(options.output / model)
    for name in (REPORT, PAGE):
        (options.output / name).unlink(missing_ok=True)
    (options.output / RESULTS).unlink()  # last: as long as it is there, the runs are known to be finished ones


def _train_and_test(name: str, options: DemoArguments) -> "ModelResult":
    """Train one model and measure its best epoch on the test videos, which had no part in choosing it."""
    import numpy as np

    from gta.checkpoint import read_checkpoint
    from gta.commands.evaluate import EvaluateArguments, evaluate_checkpoint
    from gta.models.flops import count_flops
    from gta.predictor import build_model, clip_protocol
    from gta.runs.train import train
    from gta.viz.report import ModelResult

    fitted = train(_configuration(name, options), resume=True)
    assert fitted is not None  # the demo is one process
    arguments = EvaluateArguments(
        checkpoint=fitted.best_checkpoint,
        data=options.output / "videos",
        split="test",
        num_workers=options.num_workers,
        device="cpu",
    )
    measured = evaluate_checkpoint(arguments)
    checkpoint = read_checkpoint(fitted.best_checkpoint)
    model = build_model(checkpoint)
    clip = clip_protocol(checkpoint)
    return ModelResult(
        name=name,
        top1=measured["top1"],
        top5=measured["top5"],
        direction_accuracy=measured["direction_accuracy"],
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        gflops=count_flops(model, (1, 3, clip.num_frames, clip.crop_size, clip.crop_size)) / 1e9,
        train_seconds=_training_seconds(fitted.folder),
        confusion=np.array(measured["confusion"]["rows_true_columns_predicted"]),
        treatments=order_accuracies(
            fitted.best_checkpoint, options.output / "videos", seed=options.seed, num_workers=options.num_workers
        ),
        curves={key: [float("nan") if row[key] is None else row[key] for row in fitted.rows] for key in QUANTITIES},
    )


def _training_seconds(folder: Path) -> float:
    """Seconds of all epochs with their validations, also those before an interruption."""
    with (folder / "timing.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return sum(float(row[column] or 0) for row in rows for column in ("seconds", "validation_seconds"))


def _predict_fresh(predictors: "Mapping[str, Predictor]", options: DemoArguments) -> "list[Example]":
    """Render videos that no split contains and ask every model about them."""
    from gta.synthetic import write_clip
    from gta.video.reading import read_video
    from gta.viz.report import Example

    examples = []
    for index, truth in enumerate(FRESH_CLASSES):
        # Another seed than the data set's, so these parameters were never drawn for it.
        path = write_clip(
            options.output / "fresh" / f"{index}.mp4", truth, seed=options.seed + 1_000_003, index=options.seed + index
        )
        examples.append(
            Example(
                title=path.name,
                truth=truth,
                frames=read_video(path).permute(0, 2, 3, 1).numpy(),
                predictions={name: predictor.predict(path, top_k=3) for name, predictor in predictors.items()},
                backwards={name: predict_backwards(one, path, top_k=3) for name, one in predictors.items()},
            )
        )
    return examples


def _results(
    models: "Sequence[ModelResult]", ceiling: float, error: float, num_test: int, options: DemoArguments
) -> dict[str, Any]:
    from gta.model_card import library_versions

    return {
        "ceiling": ceiling,
        "ceiling_sampling_error": error,
        "num_test_videos": num_test,
        "models": {
            model.name: {
                "top1": model.top1,
                "top5": model.top5,
                "direction_accuracy": model.direction_accuracy,
                "num_parameters": model.num_parameters,
                "gflops": model.gflops,
            }
            for model in models
        },
        "num_videos": options.num_videos,
        "max_epochs": options.epochs,
        "seed": options.seed,
        "versions": library_versions(),
    }


def _summary(
    num_train: int, num_test: int, num_classes: int, ceiling: float, error: float, options: DemoArguments
) -> list[str]:
    return [
        f"Every model was trained on the same budget ({options.epochs} epochs, seed {options.seed}) on "
        f"{num_train} synthetic videos of {num_classes} classes and tested on {num_test} others. Seven pairs of "
        "classes are each other's time reversal, such as opening and closing.",
        f"The ceiling of {100 * ceiling:.1f} % top-1 is computed from the classes: a model whose answer does not "
        "depend on the order of the frames - a 2D network that averages over frames, or self-attention among them - "
        "can at best recognise the pair and has to guess the direction. With this many test videos, its measured top-1 "
        f"would vary by {100 * error:.1f} points (one standard deviation) around the ceiling.",
    ]


def _panels() -> "dict[str, Panel]":
    from gta.viz.report import Panel

    titles = (Panel("Training loss"), Panel("Training top-1", is_share=True), Panel("Validation top-1", is_share=True))
    return dict(zip(QUANTITIES, titles, strict=True))


def _next_commands(options: DemoArguments, videos: Path) -> list[str]:
    program = "gta" if shutil.which("gta") else sys.argv[0]  # the environment may not be activated
    best = options.output / options.models[-1] / "best.ckpt"
    other = options.output / "tiny_dnl"
    commands = [
        [program, "predict", best, options.output / "fresh" / "0.mp4", "--top-k", "3"],
        [program, "evaluate", best, videos, "--split", "test"],
        [program, "train", "synthetic", "--data.root", videos, "--model.name", "tiny_dnl", "--run.folder", other],
    ]
    return [shlex.join(map(str, command)) for command in commands]


def _step(number: str, text: str) -> None:
    print(f"[{number}] {text}", flush=True)


def _print_results(
    models: "Sequence[ModelResult]", ceiling: float, error: float, options: DemoArguments, commands: Sequence[str]
) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Held-out videos", title_justify="left")
    table.add_column("model")
    for heading in ("top-1", "top-5", "direction", "parameters", "GFLOPs", "training"):
        table.add_column(heading, justify="right")
    for model in models:
        direction = model.direction_accuracy
        table.add_row(
            model.name,
            f"{100 * model.top1:.1f} %",
            f"{100 * model.top5:.1f} %",
            "-" if direction is None else f"{100 * direction:.1f} %",
            f"{model.num_parameters / 1e6:.2f} M",
            f"{model.gflops:.3f}",
            f"{model.train_seconds:.0f} s",
        )
    console = Console()
    console.print()
    console.print(table)
    print(
        f"Ceiling of any model that ignores the order of frames: {100 * ceiling:.1f} % top-1 "
        f"(measured: +- {100 * error:.1f})."
    )
    print(f"\nReport:  {options.output / REPORT}\nNumbers: {options.output / RESULTS}\n\nNext, for example:")
    for command in commands:
        print(f"  {command}")
    print(f"\nOpen in a browser, and click any point of the video: {options.output / PAGE}")
