"""Pretrained weights from the model hub, without minutes of retries where there is no network."""

import contextlib
import socket
import threading
import urllib.request
from collections.abc import Iterator
from urllib.parse import urlsplit

_SECONDS_TO_ANSWER = 4.0
_PORTS = {"http": 80, "https": 443}


@contextlib.contextmanager
def cache_only_without_network() -> Iterator[None]:
    """Inside, the hub's client takes weights from its cache alone, if the hub cannot be reached.

    Left to itself it tries every file six times with growing pauses: a minute before it says that there is no network.
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    if not before and not _answers(constants.ENDPOINT):
        constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def cannot_download(weights: str, name: str, error: OSError) -> ValueError:
    """What is said where the weights of a network are neither in the cache nor to be had from the network."""
    return ValueError(
        f"the weights {weights!r} of {name!r} cannot be downloaded (no network?) and are not in the cache: give a "
        f"file as model.pretrained, or none for random weights ({type(error).__name__})"
    )


def _answers(address: str) -> bool:
    """Whether the server of an address, or the proxy that leads to it, accepts a connection within some seconds."""
    target = urlsplit(address)
    host = target.hostname or ""
    proxy = urllib.request.getproxies().get(target.scheme)
    if proxy and not urllib.request.proxy_bypass(host):
        target = urlsplit(proxy if "//" in proxy else f"//{proxy}", scheme="http")
    server = (target.hostname or "", target.port or _PORTS.get(target.scheme, 443))
    answered: list[bool] = []

    def connect() -> None:
        with contextlib.suppress(OSError), socket.create_connection(server, timeout=_SECONDS_TO_ANSWER):
            answered.append(True)

    # In a thread, since looking a name up has no time limit of its own.
    asking = threading.Thread(target=connect, daemon=True)
    asking.start()
    asking.join(_SECONDS_TO_ANSWER)
    return bool(answered)
