"""One page of every kind, with names that try to be markup, to turn the text round or to begin a formula."""

from pathlib import Path

import numpy as np

from gta.studies.findings import Study
from gta.studies.grids import Budget, Grid, Row
from gta.studies.report import html_page
from gta.studies.results import CellResult, collect
from gta.types import Prediction
from gta.viz.frames import image_png
from gta.viz.parts import Confusion, ExampleVideo
from gta.viz.probe_report import probe_page
from gta.viz.report import Example, ModelResult, Panel, Picture, render_report
from gta.viz.run_report import Measured, TrainingReport, evaluation_page, training_page

EVIL = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "\"quoted\" 'twice' & more",
    "$x_{2}$ costs $5",
    "פתיחה של משהו",
    "فتح شيء ما",
    "👩\u200d🍳 cooking 🎬",
    "javascript:alert(3)",
    "Moving something and something away from each other",
    "Pretending to put something on a surface",
    "Pushing something from right to left",
    "Turning something clockwise",
    "Opening something",
    "Closing something",
    "Holding something",
    "Shaking something",
)


def _measured() -> Measured:
    rng = np.random.default_rng(0)
    matrix = rng.integers(0, 30, (len(EVIL), len(EVIL))) * (rng.random((len(EVIL), len(EVIL))) > 0.7)
    totals = matrix.sum(axis=1)
    values = {
        "num_videos": int(matrix.sum()),
        "top1": 0.4321,
        "top5": 0.8,
        "mean_class_accuracy": 0.41,
        "direction_accuracy": 0.51,
        "loss": 1.25,
        "per_class": {
            name: {"accuracy": float(matrix[i, i] / totals[i]) if totals[i] else None, "num_videos": int(totals[i])}
            for i, name in enumerate(EVIL)
        },
        "confusion": {"classes": list(EVIL), "rows_true_columns_predicted": matrix.tolist()},
        "skipped": [{"path": f"videos/{EVIL[0]}/{EVIL[4]}.mp4", "reason": "the file is empty"}],
        "checkpoint": f"runs/{EVIL[2]}/best.ckpt",
        "data": f"videos/{EVIL[5]}",
        "layout": "folder",
        "fold": 1,
        "split": "val",
        "precision": "32",
        "protocol": {"num_frames": 8, "mean": [0.5, 0.5, 0.5]},
    }
    frames = rng.integers(0, 256, (12, 60, 80, 3), dtype=np.uint8)
    examples = (ExampleVideo(f"videos/{EVIL[1]}.mp4", frames), ExampleVideo("gone.mp4", None, "cannot be shown"))
    return Measured(values, (Confusion(EVIL[0], EVIL[4], 7, 20, examples), Confusion(EVIL[12], EVIL[13], 3, 9)))


def _training() -> str:
    measured = _measured()
    epochs = range(1, 4)
    return training_page(
        TrainingReport(
            title=f"Training run runs/{EVIL[0]}",
            model="tiny_gta",
            rows=[
                {"epoch": e, "lr": 0.1 / e, "train_loss": 2.0 / e, "train_top1": 0.2 * e,
                 "val_loss": None if e == 2 else 2.1 / e, "val_top1": None if e == 2 else 0.15 * e}
                for e in epochs
            ],
            timing=[{"epoch": e, "seconds": 3.5, "clips_per_second": 120.0, "validation_seconds": 1.0} for e in epochs],
            best_epoch=3,
            best=measured,
            steps=30,
            bad_steps=1,
            stopped_early=False,
            config={"model": {"name": "tiny_gta"}, "data": {"root": f"videos/{EVIL[5]}"}},
            versions={"gta": "0.1", "torch": "2.8"},
            skipped=[(f"videos/{EVIL[1]}", "damaged <b>")],
            next_commands=["gta evaluate best.ckpt"],
        )
    )  # fmt: skip


def _comparison() -> str:
    rng = np.random.default_rng(1)
    guess = Prediction(Path("a.mp4"), EVIL[:3], (0.7, 0.2, 0.1))
    models = [
        ModelResult(
            name=name,
            top1=top1,
            top5=0.9,
            direction_accuracy=0.5,
            num_parameters=123456,
            gflops=0.123,
            train_seconds=61.0,
            confusion=rng.integers(0, 9, (len(EVIL), len(EVIL))),
            curves={"loss": [2.0, 1.5, 1.0], "top1": [0.2, 0.3, top1]},
            treatments={"in order": top1, "reversed": 0.1, "shuffled": 0.2, "one frame": 0.15},
        )
        for name, top1 in (("tiny", 0.4), (EVIL[3], 0.95))
    ]
    frames = rng.integers(0, 256, (12, 60, 80, 3), dtype=np.uint8)
    examples = [Example("0.mp4", EVIL[0], frames, {"tiny": guess, EVIL[3]: guess}, {EVIL[3]: guess})]
    return render_report(
        title="tiny and others",
        summary=["Every model was trained with the same budget."],
        models=models,
        classes=EVIL,
        examples=examples,
        commands=["gta predict " + "x" * 150],
        panels={"loss": Panel("Loss"), "top1": Panel("Top-1", is_share=True)},
        ceiling=(0.5625, 0.03),
        pictures=[Picture(image_png(np.zeros((60, 1400, 3), np.uint8)), "attention <b>", "Where it looks <b>.")],
        explained=["What it sees."],
    )


def _probe() -> str:
    keys = ("in order", "reversed", "shuffled 1", "one frame")
    rng = np.random.default_rng(2)
    changes = ("reversed", "shuffled", "one frame")
    return probe_page(
        "Order of frames: best.ckpt",
        {
            "verdict": "the order of the frames changes what this model predicts",
            "num_videos": 64,
            "num_classes": len(EVIL),
            "treatments": {
                key: {"top1": 0.5, "top5": 0.9, "direction_accuracy": None, "share_of_predictions_changed": 0.2,
                      "movement": 0.1}
                for key in keys
            },
            "per_class": {
                name: {
                    "num_videos": 4,
                    "top1": dict.fromkeys(keys, 0.5),
                    "sensitivity": dict(zip(changes, (rng.random(3) * 0.05).tolist(), strict=True)),
                    "taken_for_its_reversal_when_reversed": None if number % 3 else 0.4,
                }
                for number, name in enumerate(EVIL)
            },
            "skipped": [],
        },
        {"checkpoint": EVIL[0], "seed": 0},
    )  # fmt: skip


def _study() -> str:
    rows = tuple(
        Row(f"r{number}", label, "tiny", part="2D" if number < 3 else "SlowFast", paper_ssv1=31.2, paper_ssv2=50.7)
        for number, label in enumerate((EVIL[0], EVIL[4], "backbone alone", "+ region GTA", "+ pixel GTA, then region"))
    )
    grid = Grid("t", f"A table {EVIL[3]}", "Does it help?", rows, references=("r4",), budget=Budget())
    cells = [_cell(row.key, seed) for row in rows for seed in range(3)]
    return html_page(Study(grid, collect(grid, cells), (0, 1, 2), 0.5625, "64 videos", "gta study " + "x" * 150))


def _cell(row: str, seed: int) -> CellResult:
    return CellResult(
        row=row,
        seed=seed,
        top1=0.5 + seed / 100,
        top5=0.9,
        loss=1.25,
        direction_accuracy=0.5,
        reversed_top1=0.5,
        shuffled_top1=0.5,
        order_effect=0.0,
        per_class={"a": 0.5},
        num_videos=640,
        num_parameters=311_144,
        gflops=0.0299,
        clips_per_second=170.0,
        train_seconds=60.0,
        peak_memory_mib=90.0,
        curves={"val_top1": [0.3, 0.5]},
        model={"name": "tiny"},
        versions={"gta": "0"},
        machine="a computer",
    )


def pages() -> dict[str, str]:
    """Name of the kind -> page."""
    measured = _measured()
    return {
        "training": _training(),
        "evaluation": evaluation_page(f"Evaluation of {EVIL[1]}", measured),
        "comparison": _comparison(),
        "probe": _probe(),
        "study": _study(),
    }
