"""`gta serve`: a page and an HTTP API to try models in."""

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from gta.commands.arguments import parse_arguments
from gta.errors import OptionError
from gta.terminal import print_line

if TYPE_CHECKING:
    from gta.predictor import Predictor
    from gta.serving.service import ServedModel

_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_EVERYDAY_NAMES = ("best", "last", "model")


@dataclass(frozen=True)
class ServeArguments:
    """Try models in a browser, and over HTTP.

    The page takes a video, shows the prediction and that of the video played backwards, lets frames be shuffled, and
    what the models see be clicked through. /docs describes the routes for programs.
    """

    checkpoints: tyro.conf.Positional[tuple[str, ...]]
    """Checkpoints (.ckpt) of training runs; with several, two can be compared side by side."""
    host: str = "127.0.0.1"
    """Address to listen at. The default can be reached from this machine only; 0.0.0.0 from everywhere."""
    port: int = 7860
    """Port to listen at; 0 takes a free one."""
    examples: Path | None = None
    """Folder of videos to offer as examples; a few synthetic ones are rendered if not given."""
    video_folder: Path | None = None
    """Folder whose videos /v1/predict may be asked for by path; none if not given."""
    max_mb: float = 50.0
    """Size of a video at most, in MiB."""
    max_seconds: float = 60.0
    """Length of a video at most, in seconds."""
    request_seconds: float = 30.0
    """Time that an answer may take, and that a request may take to arrive."""
    keep_seconds: float = 600.0
    """Time after which a visitor's files are removed."""
    queue_size: int = 64
    """Requests that are worked on or wait at most; further ones are told to come back (503)."""
    batch_size: int = 8
    """Videos that go through a model together at most."""
    num_workers: int = 2
    """Processes that read videos."""
    auth: str | None = None
    """USER:FILE: nothing is answered without this user's password, the first line of FILE."""
    page: bool = True
    """Offer the page; --no-page has the routes for programs only."""
    device: str = "auto"
    """Where to compute: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, ..."""


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta serve`."""
    options = parse_arguments(ServeArguments, arguments, command="gta serve")
    if not options.checkpoints:
        raise OptionError("no model given: name one or more checkpoints")
    password = None if options.auth is None else read_password(options.auth)
    for option, folder in (("--examples", options.examples), ("--video-folder", options.video_folder)):
        if folder is not None and not folder.is_dir():
            raise OptionError(f"{option} is {folder}: there is no such folder")
    _require_extra()
    from gta.serving.limits import Limits
    from gta.serving.server import serve

    limits = Limits(
        max_mb=options.max_mb,
        max_seconds=options.max_seconds,
        request_seconds=options.request_seconds,
        body_seconds=options.request_seconds,
        queue_size=options.queue_size,
        batch_size=options.batch_size,
        num_workers=options.num_workers,
        keep_seconds=options.keep_seconds,
    )
    if options.host not in _LOOPBACK and password is None:
        print_line(
            f"gta serve: everybody who reaches {options.host} can use this server: --auth asks for a password",
            file=sys.stderr,
        )
    serve(
        load_models(options.checkpoints, options.device),
        limits,
        host=options.host,
        port=options.port,
        password=password,
        examples=options.examples,
        video_folder=options.video_folder,
        with_page=options.page,
    )


def _require_extra() -> None:
    """Say which package is missing before anything slow is imported.

    Raises:
        OptionError: one is.
    """
    for package in ("gradio", "fastapi", "uvicorn"):
        if importlib.util.find_spec(package) is None:
            raise OptionError(
                f"gta serve needs the package {package}: install the extra with pip install 'gta-video[web]'"
            )


def read_password(text: str) -> tuple[str, str]:
    """User and password from USER:FILE.

    Raises:
        OptionError: it has another form, or the file has no password.
    """
    user, colon, name = text.partition(":")
    if not (user and colon and name):
        raise OptionError("--auth must be USER:FILE, a name and the file with the password")
    try:
        lines = Path(name).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"--auth: {name} cannot be read as the file with the password") from error
    if not lines or not lines[0].strip():
        raise OptionError(f"--auth: the first line of {name} must be the password; it is empty")
    return user, lines[0].strip()


def load_models(sources: tuple[str, ...], device: str) -> "list[ServedModel]":
    """The models of the sources, with names that differ and tell nothing of where they are."""
    from gta.serving.service import ServedModel

    loaded: list[ServedModel] = []
    for source in sources:
        predictor = load_predictor(source, device)
        name = wanted = model_name(source)
        number = 2
        while name in [model.name for model in loaded]:
            name, number = f"{wanted}-{number}", number + 1
        loaded.append(ServedModel(name, predictor))
    return loaded


def model_name(source: str) -> str:
    """A name for visitors: that of the file, or of its folder where all files are called alike."""
    path = Path(source)
    parent = path.absolute().parent.name
    return parent if path.stem in _EVERYDAY_NAMES and parent else path.stem


def load_predictor(source: str, device: str) -> "Predictor":
    """The model of one source."""
    from gta.predictor import Predictor

    return Predictor.from_checkpoint(source, device=device)
