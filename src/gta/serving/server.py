"""Listening, and stopping without losing an answer."""

import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import FrameType

import uvicorn
from PIL import Image
from starlette.types import ASGIApp

from gta.datasets.layouts.common import is_video_name
from gta.errors import OptionError
from gta.serving.api import create_api
from gta.serving.connections import PatientProtocol
from gta.serving.limits import LOOPBACK, Limits
from gta.serving.mends import UploadProgress
from gta.serving.middleware import Guard
from gta.serving.service import ServedModel, Service
from gta.serving.visitor_files import FOLDER, VisitorFiles
from gta.synthetic import write_clip
from gta.terminal import print_line

_PICTURE_PIXELS = 4096 * 2304
_EXAMPLES = ("Opening something", "Closing something", "Moving something up", "Moving something down")


def serve(
    models: Sequence[ServedModel],
    limits: Limits,
    *,
    host: str,
    port: int,
    password: tuple[str, str] | None = None,
    examples: Path | None = None,
    video_folder: Path | None = None,
    with_page: bool = True,
    allow_hosts: Sequence[str] = (),
) -> None:
    """Answer until SIGTERM or SIGINT comes; then answer what has been asked, and return.

    Args:
        models: what to serve.
        limits: what requests may cost.
        host: address to listen at.
        port: port to listen at; 0 takes a free one.
        password: user and password that every request must carry.
        examples: folder of videos that the page offers; synthetic ones are rendered if None.
        video_folder: folder whose files may be asked for by path.
        with_page: offer the page for people.
        allow_hosts: further names that requests may call the server by, where it listens to this machine only.

    Raises:
        OptionError: the address cannot be listened at.
    """
    listening = listen(host, port)
    _log_to_stderr()
    service = Service(models, limits)
    folders = [None if folder is None else folder.resolve() for folder in (examples, video_folder)]
    before = tempfile.tempdir, Path.cwd()
    largest_picture = Image.MAX_IMAGE_PIXELS
    try:
        Image.MAX_IMAGE_PIXELS = _PICTURE_PIXELS  # those of a camera; Pillow refuses what has twice as many
        tempfile.tempdir = str(service.folder.path)  # what libraries write goes there as well
        os.chdir(service.folder.path)  # so that paths which Gradio tells its page can be relative ones
        app = create_app(
            service,
            password,
            examples=folders[0],
            video_folder=folders[1],
            with_page=with_page,
            hosts=(*LOOPBACK, *allow_hosts) if host in LOOPBACK else None,
        )
        config = uvicorn.Config(
            app,
            http=PatientProtocol,
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            ws="none",
            timeout_graceful_shutdown=int(limits.request_seconds) + 1,
        )
        shown = f"[{host}]" if ":" in host else host
        print_line(f"http://{shown}:{listening.getsockname()[1]}/  (routes for programs: /docs; Ctrl+C stops)")
        sys.stdout.flush()
        _Server(config, service).run(sockets=[listening])
    finally:
        Image.MAX_IMAGE_PIXELS = largest_picture
        tempfile.tempdir = before[0]
        os.chdir(before[1])
        service.close()
        listening.close()


def create_app(
    service: Service,
    password: tuple[str, str] | None = None,
    *,
    examples: Path | None = None,
    video_folder: Path | None = None,
    with_page: bool = True,
    hosts: Collection[str] | None = None,
) -> ASGIApp:
    """Everything that answers, behind its guard."""
    api = create_api(service, video_folder=video_folder)
    app: ASGIApp = api
    if with_page:
        # Gradio reads these when it is imported. It tells its page where files are: under a neutral, relative name.
        os.environ.update(GRADIO_TEMP_DIR=FOLDER, GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1")
        from gta.serving.page import add_page

        functions = add_page(api, service, find_examples(service, examples))
        app = UploadProgress(VisitorFiles(api, functions))
    return Guard(
        app,
        limits=service.limits,
        metrics=service.metrics,
        password=password,
        hosts=hosts,
        is_draining=lambda: service.is_draining,
        is_idle=lambda: service.is_idle,
        stored_bytes=service.folder.num_bytes,
    )


def find_examples(service: Service, folder: Path | None) -> dict[str, Path]:
    """Videos to offer, by name: those of the folder, or a few synthetic ones that are rendered now."""
    if folder is None:
        for number, name in enumerate(_EXAMPLES):
            write_clip(service.folder.kept / f"{name}.mp4", name, seed=11, index=number)
        folder = service.folder.kept
    return {path.stem: path for path in sorted(folder.iterdir()) if path.is_file() and is_video_name(path.name)}


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        OptionError: the address is not this machine's, the port is taken, or not allowed.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        raise OptionError(
            f"`host` {host}, `port` {port}: {getattr(error, 'strerror', None) or error}; choose another one"
        ) from error


class _Server(uvicorn.Server):
    """Uvicorn, which tells the service to drain and lets the program end as usual."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        known = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in known.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.is_draining = True
        super().handle_exit(sig, frame)


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    for name, level in (("gta.serve", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.propagate = False
        logger.handlers[:] = [handler]
