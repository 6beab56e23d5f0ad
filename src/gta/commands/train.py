"""`gta train`: train a model from a recipe, or continue a run."""

import difflib
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gta.commands.arguments import name_options, parse_arguments
from gta.config import (
    ClipConfig,
    DataConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    TrainConfig,
    config_to_json,
)
from gta.errors import DataError, GtaError, OptionError
from gta.recipes import RECIPES, SUMMARIES
from gta.recipes.files import SUFFIXES, file_schema, read_config_file, write_yaml

if TYPE_CHECKING:
    from gta.data.listing import VideoList
    from gta.engine.launch import Process

_USAGE = """usage: gta train RECIPE [OPTIONS]
       gta train FILE.yaml [OPTIONS]
       gta train RUN_FOLDER --resume [OPTIONS]
       gta train --list

Train a model from a recipe; options override its fields. gta train RECIPE --help shows them all with their values.
gta train --list shows the recipes, gta train RECIPE --print the resolved configuration (--print --yaml as a file to
edit and train from; gta train --schema prints the schema of such files). A run folder in the place of the recipe
continues with that run's own configuration."""


@dataclass(frozen=True)
class TrainArguments:
    """Train a model. Every option shows the recipe's value as its default."""

    model: ModelConfig = field(default_factory=ModelConfig)
    """The network."""
    data: DataConfig = field(default_factory=DataConfig)
    """The videos."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Loss, optimiser and schedule."""
    run: RunConfig = field(default_factory=RunConfig)
    """The run."""
    resume: bool = False
    """Continue the run folder from its last checkpoint, in the middle of an epoch if need be."""
    print: bool = False
    """Print the resolved configuration as JSON and stop."""
    yaml: bool = False
    """With --print: as YAML, a file that `gta train FILE.yaml` takes."""
    fast_dev_run: bool = False
    """Prove the recipe in seconds: two small steps and a validation, on synthetic videos if --data.root has none."""


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta train`."""
    try:
        _run(arguments)
    except GtaError as error:  # the library names fields, the command line the options that set them
        error.args = (name_options(str(error)), *error.args[1:])
        raise


def _run(arguments: list[str]) -> None:
    if arguments == ["--schema"]:
        import json

        print(json.dumps(file_schema(), indent=2))
        return
    if arguments[:1] == ["--list"]:
        width = max(map(len, RECIPES))
        print("\n".join(f"{name:<{width}}  {SUMMARIES[name]}" for name in RECIPES))
        return
    if not arguments or arguments[0].startswith("-"):
        if arguments and arguments[0] in ("-h", "--help"):
            print(_USAGE)
            return
        raise OptionError("name a recipe first: gta train RECIPE [OPTIONS]; gta train --list shows the recipes")
    name, *rest = arguments
    options = _parse(name, rest)
    config = TrainConfig(model=options.model, data=options.data, optim=options.optim, run=options.run)
    if options.yaml and not options.print:
        raise OptionError("--yaml goes with --print: gta train RECIPE --print --yaml")
    if options.print:
        import json

        print(write_yaml(config) if options.yaml else json.dumps(config_to_json(config), indent=2))
        return
    if options.fast_dev_run:
        from gta.commands.fast_dev_run import fast_dev_run

        fast_dev_run(config)
        return
    result = train(config, resume=options.resume)
    if result is not None:
        _print_result(result)


def _parse(name: str, rest: list[str]) -> TrainArguments:
    folder = Path(name)
    if name in RECIPES:
        config = RECIPES[name]()
    elif (folder / "config.json").exists():
        stored = read_config_file(folder / "config.json")
        config = replace(stored, run=replace(stored.run, folder=folder))
    elif name.endswith(SUFFIXES):
        config = read_config_file(folder)
    else:
        close = difflib.get_close_matches(name, RECIPES, n=1)
        hint = f"did you mean '{close[0]}'?" if close else "gta train --list shows them"
        raise OptionError(f"'{name}' is neither a recipe, a configuration file nor a run folder: {hint}")
    default = TrainArguments(model=config.model, data=config.data, optim=config.optim, run=config.run)
    options = parse_arguments(TrainArguments, rest, command=f"gta train {name}", default=default)
    if folder.is_dir() and name not in RECIPES and not (options.resume or options.print):
        raise OptionError(f"{name} is a run folder: continue it with --resume, or name a recipe")
    return options


def train(
    config: TrainConfig, *, resume: bool = False, live: bool | None = None, max_val_videos: int | None = None
) -> Any:
    """Train as `config` says: open the data, build the model, fit.

    Args:
        config: the whole configuration.
        resume: continue from the run folder's last checkpoint, if it has one.
        live: draw a progress bar; whether stderr is a terminal if not given.
        max_val_videos: validate on this many videos only.

    Returns:
        A `gta.engine.fit.FitResult`, or None in all processes but the first.
    """
    if config.data.root is None:
        raise OptionError("no data: give the data set's folder with --data.root")
    from gta.data.listing import open_videos

    # Before the imports below, which take seconds: a wrong folder should be told at once.
    data, clip = config.data, config.data.clip
    training = open_videos(config.data.root, "train", layout=data.layout, fold=data.fold, index=data.index)
    if len(training.classes) < 2:
        raise DataError(
            f"{data.root}: its only class is {', '.join(training.classes)}: training needs at least two classes"
        )
    validation = open_videos(
        config.data.root, "val", layout=data.layout, classes=training.classes, fold=data.fold, index=data.index
    )
    validation = replace(validation, records=validation.records[:max_val_videos])

    import torch

    from gta.data.transforms import Normalize
    from gta.engine.fit import fit
    from gta.engine.launch import find_process
    from gta.engine.run_folder import check_run_folder, check_same_config, read_config
    from gta.model_card import describe
    from gta.skipped import SkippedVideos

    # So that gta evaluate finds the data from every folder.
    plain = config_to_json(replace(config, data=replace(data, root=config.data.root.absolute())))
    process = find_process(config.run, config.optim)
    if process.rank == 0:
        check_run_folder(config.run.folder, resume=resume)
        if (config.run.folder / "config.json").exists():
            check_same_config(read_config(config.run.folder), plain)
    torch.manual_seed(config.run.seed)
    model = build_model(config.model, num_classes=len(training.classes))
    if model.loaded is not None and process.rank == 0:  # which weights were used, resized, left out
        print(model.loaded.summary(), file=sys.stderr)
    _check_crops(clip, config.model.name, int(model.backbone.minimum_size))
    train_loader, val_loader = _loaders(config, training, validation, process)
    result = fit(
        model,
        train_loader,
        val_loader,
        prepare=Normalize(clip.mean, clip.std),
        optim=config.optim,
        run=config.run,
        description=describe(
            model=model.arguments,
            classes=training.classes,
            clip=config_to_json(clip),
            reversals=reversals(training.classes),
        ),
        config=plain,
        note_skipped=SkippedVideos(
            config.run.folder / "skipped.csv",
            num_videos=len(training) + len(validation),
            max_share=data.max_skipped,
        ).add,
        class_weights=_class_weights(config.optim, [record.label for record in training.records], training.classes),
        resume=resume,
        live=live,
    )
    return result if process.rank == 0 else None


def _check_crops(clip: ClipConfig, name: str, minimum: int) -> None:
    """Refuse clips that are smaller than the model can read, before anything is written."""
    for option, size in (("crop-size", clip.crop_size), ("test-crop-size", clip.test_crop_size)):
        if size is not None and size < minimum:
            raise OptionError(f"--data.clip.{option} is {size}: {name} needs {minimum} pixels or more")


def _loaders(
    config: TrainConfig, training: "VideoList", validation: "VideoList", process: "Process"
) -> tuple[Any, Any]:
    """The loaders of this process's part of both splits."""
    import torch

    from gta.data.dataset import VideoDataset
    from gta.data.loader import build_loader

    data = config.data
    shared = {
        "batch_size": data.batch_size,
        "num_workers": data.num_workers,
        "rank": process.rank,
        "world_size": process.world_size,
        "pin_memory": config.run.accelerator != "cpu" and torch.cuda.is_available(),
        "seed": config.run.seed,
    }
    train_set = VideoDataset(training, data.clip, training=True, seed=config.run.seed)
    # A last batch of a few clips would disturb BatchNorm; a data set smaller than one batch has no other.
    drop_last = len(training) >= data.batch_size * process.world_size
    # Thirty views of each video would cost more than the training, and as many times the memory of its batches.
    val_clip = data.clip if data.val_views == "all" else replace(data.clip, test_clips=1, test_crops=1)
    return (
        build_loader(train_set, shuffle=True, drop_last=drop_last, **shared),
        build_loader(VideoDataset(validation, val_clip, training=False), shuffle=False, **shared),
    )


def build_model(config: ModelConfig, *, num_classes: int) -> Any:
    """Build the network that `config` names.

    Raises:
        OptionError: the name is unknown or the options do not fit it.
    """
    from gta.models.registry import create_model

    try:
        return create_model(
            config.name,
            num_classes=num_classes,
            num_frames=config.num_frames,
            pretrained=config.pretrained,
            dropout=config.dropout,
            at=config.at,
            num_groups=config.num_groups,
            num_regions=config.num_regions,
        )
    except ValueError as error:
        raise OptionError(f"--model: {error}") from error


def reversals(classes: tuple[str, ...]) -> dict[str, str]:
    """Which of these classes are each other's time reversal, as far as is known (the synthetic data set's)."""
    from gta.data.synthetic.classes import REVERSALS

    return {name: REVERSALS[name] for name in classes if REVERSALS.get(name) in classes}


def _class_weights(optim: OptimConfig, labels: list[int], classes: tuple[str, ...]) -> Any:
    """Inverse shares of the classes, mean 1 over the videos; None if all count alike."""
    if optim.class_weights == "none":
        return None
    import torch

    counts = torch.bincount(torch.tensor(labels), minlength=len(classes)).double()
    present = (counts > 0).sum()
    return (len(labels) / (present * counts.clamp(min=1))).float()


def _print_result(result: Any) -> None:
    if result.best:
        best = result.best
        line = f"best: epoch {result.best_epoch}, top-1 {100 * best['top1']:.2f} %, top-5 {100 * best['top5']:.2f} %"
        if best["direction_accuracy"] is not None:
            line += f", direction {100 * best['direction_accuracy']:.2f} %"
        print(line)
    print(f"written: {result.folder} ({result.steps} steps in {result.seconds:.0f} s)")
    print(f"next: gta evaluate {result.best_checkpoint}")
