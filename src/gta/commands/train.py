"""`gta train`: train a model from a recipe, or continue a run."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gta.commands.arguments import name_options, parse_arguments
from gta.commands.fast_dev_run import fast_dev_run
from gta.config import (
    DataConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    TrainConfig,
    config_to_json,
)
from gta.errors import GtaError, OptionError
from gta.recipes import GROUPS, RECIPES, SUMMARIES
from gta.recipes.files import file_schema, find_config, write_yaml
from gta.runs.train import train
from gta.short_names import SHORT_NAMES
from gta.terminal import print_line, quantity

if TYPE_CHECKING:
    from gta.training.fit import TrainResult

_USAGE = """usage: gta train RECIPE [DATA] [OPTIONS]
       gta train FILE.yaml [DATA] [OPTIONS]
       gta train RUN_FOLDER --resume [OPTIONS]
       gta train --list

Train a model from a recipe on the data set in the folder DATA. Options override the recipe's fields.

  gta train --list           list the recipes
  gta train RECIPE --help    show the usual options with the recipe's values; --help-all shows all of them
  gta train RECIPE --print   print the resolved configuration; with --yaml, as a file that you can edit and train from
  gta train --schema         print the schema of such files

Given a run folder instead of a recipe, --resume continues the run with its own configuration."""


# The names that the other commands have for what configurations call by field.
SHORT_FLAGS = {
    f"--{name}".replace("_", "-"): [f"--{field}".replace("_", "-") for field in fields]
    for name, fields in SHORT_NAMES.items()
}
_ABOUT = (
    "Train a model on the data set in the folder DATA. Every option shows the recipe's value as its default.\n\n"
    "Short names: DATA or "
    + ", ".join(f"{flag} for {' and '.join(fields)}" for flag, fields in SHORT_FLAGS.items())
    + "."
)
# What `--help` shows; the other fields are under `--help-all`.
_COMMON = {
    *(field for fields in SHORT_FLAGS.values() for field in fields if field != "--data.fold"),
    *("--model.pretrained", "--model.freeze", "--model.at", "--data.clip.crop-size"),
    *("--data.clip.flip", "--optim.optimizer", "--optim.weight-decay", "--optim.warmup-epochs", "--run.accelerator"),
    *("--run.devices", "--run.patience", "--run.compile", "--resume", "--print", "--yaml", "--fast-dev-run"),
}


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
    """Continue the run folder from its last checkpoint, even in the middle of an epoch."""
    change: tuple[str, ...] = ()
    """With --resume: optimiser fields that may change from here on: `--change optim.lr --optim.lr 0.001`."""
    print: bool = False
    """Print the resolved configuration as JSON and exit."""
    yaml: bool = False
    """With --print: print YAML, which `gta train FILE.yaml` accepts."""
    fast_dev_run: bool = False
    """Test the recipe in seconds: two small steps and a validation, on synthetic videos if --data.root has none."""


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta train`."""
    if arguments == ["--schema"]:
        import json

        print(json.dumps(file_schema(), indent=2))
        return
    if arguments[:1] == ["--list"]:
        print(_recipes())
        return
    if not arguments or arguments[0].startswith("-"):
        if arguments and arguments[0] in ("-h", "--help", "--help-all"):
            print(_USAGE)
            return
        raise OptionError("name a recipe first: gta train RECIPE [OPTIONS]; gta train --list shows the recipes")
    name, *rest = arguments
    config = find_config(name)  # outside of the try: an error in a file is told with the names that the file has
    try:
        _run(name, config, rest)
    except GtaError as error:  # the library names fields, the command line the options that set them
        error.args = (name_options(str(error)), *error.args[1:])
        raise


def _run(name: str, start: TrainConfig, rest: list[str]) -> None:
    options = _parse(name, start, rest)
    config = TrainConfig(model=options.model, data=options.data, optim=options.optim, run=options.run)
    if options.yaml and not options.print:
        raise OptionError("--yaml requires --print: gta train RECIPE --print --yaml")
    if options.print:
        import json

        print(write_yaml(config) if options.yaml else json.dumps(config_to_json(config), indent=2))
        return
    if options.fast_dev_run:
        fast_dev_run(config)
        return
    result = train(config, resume=options.resume, change=options.change)
    if result is not None:
        _print_result(result)


def _recipes() -> str:
    """The recipes in groups, a line each."""
    width = max(map(len, RECIPES))
    groups = [
        f"{title}:\n" + "\n".join(f"  {name:<{width}}  {SUMMARIES[name]}" for name in names)
        for title, names in GROUPS.items()
    ]
    return "\n\n".join(groups)


def _full_names(words: list[str]) -> list[str]:
    """The words with short flags as the fields that they set; a first word that is no flag is the data set's folder."""
    data = words[0] if words and not words[0].startswith("-") else None
    full: list[str] = []
    set_by: dict[str, str] = {}
    rest = iter(words if data is None else ["--data.root", *words])
    for number, word in enumerate(rest):
        flag, equals, value = word.partition("=")
        plain = flag.replace("_", "-")
        fields = SHORT_FLAGS.get(plain, [plain if plain.startswith("--") else flag])
        if data is not None and number and fields == ["--data.root"]:
            raise OptionError(f"the data set is given twice, as {data} and by {flag}: give one of them")
        for option in fields if plain.startswith("--") else ():
            before = set_by.setdefault(option, plain)
            if before != plain:
                raise OptionError(f"{option} is set by {before} and by {plain}: give one of them")
        if len(fields) > 1 and not equals:  # the one value is for all of them
            equals, value = "=", next(rest, "--")
            if value.startswith("--"):
                raise OptionError(f"{flag} needs a value, such as {flag} 8")
        full += [f"{field}{equals}{value}" for field in fields]
    return full


def _parse(name: str, config: TrainConfig, rest: list[str]) -> TrainArguments:
    default = TrainArguments(model=config.model, data=config.data, optim=config.optim, run=config.run)
    try:
        options = parse_arguments(
            TrainArguments,
            _full_names(rest),
            command=f"gta train {name}",
            default=default,
            common=_COMMON,
            about=_ABOUT,
        )
    except OptionError as error:
        stray = re.search(r"^Unrecognized options: ([^-\s;,][^\s;,]*)", str(error))
        if stray and rest[0].startswith("-"):
            place = f"gta train {name} {stray[1]} [OPTIONS]"
            raise OptionError(f"{stray[1]} is no option: a data set's folder comes first, {place}") from None
        raise
    if Path(name).is_dir() and name not in RECIPES and not (options.resume or options.print):
        raise OptionError(f"{name} is a run folder: continue it with --resume, or name a recipe")
    return options


def _print_result(result: "TrainResult") -> None:
    from gta.evaluation.metrics import tells_top5

    if result.best:
        best = result.best
        line = f"best: epoch {result.best_epoch}, top-1 {100 * best['top1']:.2f} %"
        if tells_top5(len(best["per_class"])):
            line += f", top-5 {100 * best['top5']:.2f} %"
        if best["direction_accuracy"] is not None:
            line += f", direction {100 * best['direction_accuracy']:.2f} %"
        print_line(line)
    sessions = f"; {result.total_seconds:.0f} s with the epochs of earlier sessions" if result.resumed else ""
    steps = quantity(result.steps, "step")
    print_line(f"written: {result.folder} ({steps} in {result.seconds:.0f} s{sessions})")
    print_line(f"report: {result.folder / 'report.html'}")
    print_line(f"next: gta evaluate {result.best_checkpoint}")
