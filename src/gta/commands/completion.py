"""`gta completion`: a script that completes commands, options and their values in a shell.

The script holds all words itself, so that pressing Tab starts no Python.
"""

import dataclasses
import importlib
import shlex
from typing import Any, Literal, get_args, get_origin, get_type_hints

from gta.commands import COMMANDS
from gta.commands.data import NAMES
from gta.commands.train import SHORT_FLAGS
from gta.errors import OptionError
from gta.recipes import RECIPES
from gta.studies.tables import list_grids

SHELLS = ("bash", "zsh", "fish")

_USAGE = """usage: gta completion {bash,zsh,fish}

Print the completion script for a shell. Load it in the shell's start-up file:

  bash  eval "$(gta completion bash)"             in ~/.bashrc
  zsh   eval "$(gta completion zsh)"              in ~/.zshrc, after compinit
  fish  gta completion fish | source              in ~/.config/fish/config.fish"""

_BASH = """\
_gta() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}" words=""
    local command="${{COMP_WORDS[1]}}"
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands}"
    elif [ "$COMP_CWORD" -eq 2 ] && [[ "$current" != -* ]]; then
        case "$command" in
{first}
        esac
    else
        case "$command $previous" in
{values}
        *) case "$command" in
{options}
            esac ;;
        esac
        # After a word that is no option comes a file or a folder, which `-o default` completes.
        case "$current$previous" in -*) ;; *) case "$current" in -*) ;; *) words="" ;; esac ;; esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _gta gta"""


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta completion`."""
    if not arguments or arguments[0] in ("-h", "--help", "--help-all"):
        print(_USAGE)
        return
    if arguments[0] not in SHELLS or len(arguments) > 1:
        raise OptionError(f"'{' '.join(arguments)}' is not a supported shell: choose bash, zsh or fish")
    print(script(arguments[0]))


def script(shell: str) -> str:
    """The completion script of `bash`, `zsh` or `fish`."""
    table = {name: command_options(name) for name in COMMANDS}
    if shell == "fish":
        return "\n".join(_fish(COMMANDS, table))
    bash = _bash(table)
    return bash if shell == "bash" else f"autoload -Uz bashcompinit && bashcompinit\n{bash}"


def command_options(command: str) -> dict[str, tuple[str, ...]]:
    """Options of a command -> the values that they can have, none where these are open.

    They are the fields of the dataclasses `...Arguments` of its module.
    """
    module = importlib.import_module(f"gta.commands.{command}")
    options: dict[str, tuple[str, ...]] = {}
    for name, kind in vars(module).items():
        if name.endswith("Arguments") and dataclasses.is_dataclass(kind) and kind.__module__ == module.__name__:
            options |= _options(kind, "")
    if command == "train":
        options |= {flag: options[fields[0]] for flag, fields in SHORT_FLAGS.items()}
        options |= {"--list": (), "--schema": ()}
    return {**options, "--help": (), "--help-all": ()}


def first_words() -> dict[str, tuple[str, ...]]:
    """What may stand right after a command, for those where that is not a file: recipes, grids, further commands."""
    return {"train": tuple(RECIPES), "study": tuple(list_grids()), "data": NAMES, "completion": SHELLS}


def _options(kind: Any, prefix: str) -> dict[str, tuple[str, ...]]:
    """The options of a dataclass, those of the dataclasses in it with their names before them."""
    hints = get_type_hints(kind, include_extras=True)
    found: dict[str, tuple[str, ...]] = {}
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            found |= _options(hint, f"{prefix}{field.name}.")
        elif not _is_positional(hint):
            name = next(
                (part.name for part in getattr(hint, "__metadata__", ()) if getattr(part, "name", None)), field.name
            )
            # Of a switch that is on, only the form that turns it off is of use.
            switch = "no-" if field.default is True else ""
            found[f"--{prefix}{switch}{name}".replace("_", "-")] = _choices(hint)
    return found


def _is_positional(hint: Any) -> bool:
    return any("Positional" in repr(part) for part in getattr(hint, "__metadata__", ()))


def _choices(hint: Any) -> tuple[str, ...]:
    """The values of a `Literal`, alone or in a union."""
    if get_origin(hint) is Literal:
        return tuple(map(str, get_args(hint)))
    return tuple(value for part in get_args(hint) for value in _choices(part))


def _bash(table: dict[str, dict[str, tuple[str, ...]]]) -> str:
    values = [
        f'        "{command} {option}") words="{" ".join(choices)}" ;;'
        for command, options in table.items()
        for option, choices in options.items()
        if choices
    ]
    options = [f'            {command}) words="{" ".join(names)}" ;;' for command, names in table.items()]
    first = [f'        {command}) words="{" ".join(words)}" ;;' for command, words in first_words().items()]
    parts = {"first": first, "values": values, "options": options}
    return _BASH.format(commands=" ".join(table), **{name: "\n".join(lines) for name, lines in parts.items()})


def _fish(commands: dict[str, str], table: dict[str, dict[str, tuple[str, ...]]]) -> list[str]:
    lines = [
        f"complete -c gta -n __fish_use_subcommand -f -a {name} -d {shlex.quote(text)}"
        for name, text in commands.items()
    ]
    lines += [
        f"complete -c gta -n '__fish_seen_subcommand_from {command}; and test (count (commandline -opc)) -eq 2'"
        f" -a {shlex.quote(' '.join(words))}"
        for command, words in first_words().items()
    ]
    for command, options in table.items():
        for option, choices in options.items():
            values = f" -x -a {shlex.quote(' '.join(choices))}" if choices else ""
            lines.append(f"complete -c gta -n '__fish_seen_subcommand_from {command}' -l {option[2:]}{values}")
    return lines
