"""The `gta` command: finds the subcommand, imports only that one, and turns errors into one line and an exit code.

Exit codes: 0 success, 1 a defect of ours (with a traceback), 2 a user's mistake (one line on stderr), 130 interrupted,
128 + the signal's number for a training run or a watch that a signal stopped.
Nothing here may import PyTorch: `gta --help` and a mistyped command must answer at once.
"""

import contextlib
import difflib
import errno
import importlib
import importlib.abc
import io
import os
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from gta._version import __version__
from gta.commands import COMMANDS
from gta.errors import GtaError
from gta.files import DISK_ERRORS
from gta.terminal import print_line, printable

# The library names an argument in backticks, as Python has it; here it is the option that sets it.
_FIELD = re.compile(r"`([a-z][a-z_]*)`")
# These say nothing to the user without the path that they are about.
_ABOUT_A_PATH = (errno.EEXIST, errno.ENOENT)


def _usage() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    return "\n".join(
        [
            "usage: gta COMMAND [OPTIONS]",
            "",
            "Global Temporal Attention for video action recognition.",
            "",
            "commands:",
            *lines,
            "",
            "gta COMMAND --help shows a command's options; gta --version the version.",
        ]
    )


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean '{close[0]}'?" if close else "see gta --help for the list"
    return f"'{name}' is not a command: {hint}"


def _as_option(field: re.Match[str]) -> str:
    return f"--{field[1].replace('_', '-')}"


def describe_os_error(error: OSError) -> str | None:
    """The one line for an operating-system error that the user can mend, or None for any other."""
    known = DISK_ERRORS.get(error.errno or 0)
    if known is None or (error.errno in _ABOUT_A_PATH and not error.filename):
        return None
    where = f"{error.filename}: " if error.filename else ""
    return where + ": ".join(known)


def run(arguments: list[str]) -> int:
    """Run one command line (without the program's name) and return its exit code."""
    if not arguments or arguments[0] in ("-h", "--help", "--help-all", "help"):
        print(_usage())
        return 0
    if arguments[0] == "--version":
        print(f"gta {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        print_line(f"gta: {_unknown(name)}", file=sys.stderr)
        return 2
    code = 2
    _announce_loading()
    try:
        with _told_traffic(name):
            importlib.import_module(f"gta.commands.{name}").main(rest)
    except GtaError as error:
        message, code = _FIELD.sub(_as_option, " ".join(str(error).split())), error.exit_code
    except OSError as error:
        known = describe_os_error(error)
        if known is None:
            raise
        message = known
    except KeyboardInterrupt:
        print(f"gta {name}: interrupted", file=sys.stderr)
        return 130
    else:
        return 0
    print_line(f"gta {name}: {message}", file=sys.stderr)
    return code


@contextlib.contextmanager
def _told_traffic(name: str) -> Iterator[None]:
    """Say in the end what the command fetched from addresses, if anything."""
    before = _fetched()
    try:
        yield
    finally:
        requests, size = (now - former for now, former in zip(_fetched(), before, strict=True))
        if requests:
            print_line(f"gta {name}: fetched {requests:,} ranges, {size / 1e6:,.1f} MB", file=sys.stderr)


def _fetched() -> tuple[int, int]:
    """Ranges and bytes that this process has fetched so far; only commands that read videos load what counts them."""
    remote = sys.modules.get("gta.video.remote")
    traffic = None if remote is None else remote.total_traffic()
    return (0, 0) if traffic is None else (traffic.requests, traffic.bytes)


class _Announcer(importlib.abc.MetaPathFinder):
    """Says on the terminal that PyTorch is being loaded, which takes seconds, when the first module asks for it."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:
        """Find nothing; only look at what is imported."""
        if fullname == "torch":
            sys.meta_path.remove(self)
            print("loading PyTorch ...", file=sys.stderr, flush=True)


def _announce_loading() -> None:
    """Tell a user at a terminal what the first seconds are spent on; scripts and log files are not told."""
    if "torch" not in sys.modules and sys.stderr.isatty():
        sys.meta_path.insert(0, _Announcer())


def show_every_name() -> None:
    """Print what the terminal's encoding cannot show, such as names of files that are not valid UTF-8, as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def shorten_warnings() -> None:
    """Print warnings of ours as one line, without the source line that raised them."""
    original, ours = warnings.formatwarning, os.path.dirname(__file__)

    def format_warning(message: Any, category: Any, filename: str, lineno: int, line: str | None = None) -> str:
        if filename.startswith(ours):
            return f"gta: {printable(' '.join(str(message).split()))}\n"
        return original(message, category, filename, lineno, line)

    warnings.formatwarning = format_warning


def main() -> None:
    """Entry point of the console script."""
    show_every_name()
    shorten_warnings()
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
