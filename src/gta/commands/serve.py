"""`gta serve`: a page and an HTTP API to try models in."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from gta.commands.arguments import parse_arguments
from gta.errors import OptionError
from gta.extras import require_installed
from gta.hub import hub_name
from gta.serving.limits import LOOPBACK, Limits
from gta.terminal import print_line

if TYPE_CHECKING:
    from gta.serving.service import ServedModel

_EVERYDAY_NAMES = ("best", "last", "model")


_COMMON = (
    "--host",
    "--port",
    "--examples",
    "--video-folder",
    "--max-mb",
    "--max-seconds",
    "--auth",
    "--device",
)  # what `--help` shows


@dataclass(frozen=True)
class ServeArguments(Limits):
    """Serve models on a web page and over HTTP.

    On the page, you can upload a video, see the predictions for it played forwards and backwards, shuffle its frames,
    and explore what the models see. /docs describes the routes for programs.
    """

    models: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="MODEL ...")] = ()
    """Checkpoints (.ckpt), folders from `gta export`, or hf://owner/name; with several, two can be compared."""
    host: str = "127.0.0.1"
    """Address to listen on. The default can be reached from this machine only, 0.0.0.0 from everywhere."""
    port: int = 7860
    """Port to listen on; 0 selects a free one."""
    examples: Path | None = None
    """Folder of videos to offer as examples; a few synthetic ones are rendered if not given."""
    video_folder: Path | None = None
    """Folder whose videos /v1/predict accepts by path; none if not given."""
    auth: str | None = None
    """USER:FILE: require this user name and the password in the first line of FILE for every request."""
    allow_host: tuple[str, ...] = ()
    """For a server that can be reached from this machine only: host names that requests may use besides localhost and
    127.0.0.1, such as that of a proxy in front of it."""
    page: bool = True
    """Offer the web page; --no-page offers the HTTP API only."""
    device: str = "auto"
    """Where to compute: `auto` (a GPU if there is one), `cpu`, `cuda`, `cuda:1`, ..."""
    trust: bool = False
    """Load exported folders of the formats torch and aoti, whose files can run arbitrary code."""


def main(arguments: list[str]) -> None:
    """Run the command with the words after `gta serve`."""
    options = parse_arguments(ServeArguments, arguments, command="gta serve", common=_COMMON)
    if not options.models:
        raise OptionError("no model given: name one or more checkpoints, exported folders or hf://owner/name")
    password = None if options.auth is None else read_password(options.auth)
    for option, folder in (("--examples", options.examples), ("--video-folder", options.video_folder)):
        if folder is not None and not folder.is_dir():
            raise OptionError(f"{option} is {folder}: there is no such folder")
    for package in ("gradio", "fastapi", "uvicorn"):
        require_installed(package, "gta serve", extra="web")
    from gta.serving.server import serve

    if options.host not in LOOPBACK and password is None:
        print_line(
            f"gta serve: anyone who can reach {options.host} can use this server: set --auth to require a password",
            file=sys.stderr,
        )
    serve(
        load_models(options.models, options.device, trust=options.trust),
        options,
        host=options.host,
        port=options.port,
        password=password,
        examples=options.examples,
        video_folder=options.video_folder,
        with_page=options.page,
        allow_hosts=options.allow_host,
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


def load_models(sources: tuple[str, ...], device: str, *, trust: bool = False) -> "list[ServedModel]":
    """The models of the sources, with names that differ and tell nothing of where they are."""
    from gta.predictor import load_predictor
    from gta.serving.service import ServedModel

    loaded: list[ServedModel] = []
    for source in sources:
        predictor = load_predictor(source, device=device, trust=trust)
        name = wanted = model_name(source)
        number = 2
        while name in [model.name for model in loaded]:
            name, number = f"{wanted}-{number}", number + 1
        loaded.append(ServedModel(name, predictor))
    return loaded


def model_name(source: str) -> str:
    """A name for visitors: that of the repository, folder or file; of its folder where all files are called alike."""
    repository = hub_name(source)
    if repository is not None:
        return repository[0].rpartition("/")[2]
    path = Path(source).absolute()
    if path.is_dir():
        return path.name
    return path.parent.name if path.stem in _EVERYDAY_NAMES and path.parent.name else path.stem
