"""Hostile requests for `gta serve`, each of another kind, drawn from a seed (`hostile_run.py` counts what they do)."""

import base64
import functools
import io
import json
import random
import re
import socket
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

PATHS = (
    "/etc/passwd",
    "../../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "/proc/self/environ",
)
ROUTES = (
    *("/gradio_api/file=", "/gradio_api/file/", "/file=", "/assets/", "/static/", "/svelte/", "/explanations/"),
    *("/gradio_api/proxy=", "/gradio_api/stream/a/b/c/", "/gradio_api/custom_component/", "/v1/", "/", ""),
    *("/v1/predict/", "/v1/explain/", "/v1/model/", "/v1/health/", "/metrics/", "/docs/", "/openapi.json/", "/config/"),
    *("/gradio_api/upload/", "/gradio_api/upload_progress?upload_id=", "/gradio_api/queue/data?session_hash="),
    *("/gradio_api/queue/join/", "/gradio_api/heartbeat/", "/gradio_api/startup-events/", "/gradio_api/cancel/"),
    *("/gradio_api/reset/", "/gradio_api/run/", "/gradio_api/api/", "/gradio_api/call/", "/gradio_api/info/"),
    *("/gradio_api/deep_link?session_hash=", "/gradio_api/process_recording/", "/gradio_api/vibe-code/", "/theme.css/"),
    *("/favicon.ico/", "/manifest.json/", "/pwa_icon/", "/monitoring/", "/robots.txt/", "/login", "/logout/", "/dev/"),
)
"""Every route of ours and of Gradio, shut ones included."""

_NAMES = (
    "../../../tmp/x.mp4",
    "<script>alert(1)</script>.mp4",
    "a\r\nX-Evil: 1.mp4",
    "\u202egpm.mp4",
    "a" * 3000 + ".mp4",
    "|id.mp4",
)
_LISTS = (
    b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
    b'<?xml version="1.0"?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>',
    b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
)
_BOUNDARY = "xxhostilexx"
_UPLOADED = re.compile(r"visitors/[0-9a-f]{64}/[^\"]+")


@functools.cache
def picture_bomb() -> bytes:
    """A PNG of 40,000 x 40,000 pixels in two hundred kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 40_000, 40_000, 1, 0, 0, 0, 0)
    packer = zlib.compressobj()
    pixels = b"".join(packer.compress(bytes(5001 * 1000)) for _ in range(40)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@dataclass
class Report:
    """What came back: answers by kind and status, and what should never have."""

    answers: Counter[str] = field(default_factory=Counter)
    leaks: list[str] = field(default_factory=list)


def form(content: bytes, name: str = "clip.mp4", head: str | None = None) -> bytes:
    """A multipart body with one file."""
    line = head or f'Content-Disposition: form-data; name="file"; filename="{name}"'
    return f"--{_BOUNDARY}\r\n{line}\r\n\r\n".encode("utf-8", "replace") + content + f"\r\n--{_BOUNDARY}--\r\n".encode()


def mutated(content: bytes, rng: random.Random) -> bytes:
    """A video with a few bytes changed, and sometimes its end missing."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 4, 40, 400))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.3 else data)


def zip_bomb() -> bytes:
    """A megabyte and a half of compressed zeros, all of which a careless reader would unpack."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.mp4", bytes(20_000_000))
    return buffer.getvalue()


class Attacker:
    """Sends hostile requests to one server.

    Args:
        address: host and port.
        clip: a valid video.
        forbidden: what no answer may contain, such as the folders of the machine.
        without: kinds of requests to leave out.
    """

    def __init__(
        self, address: tuple[str, int], clip: bytes, forbidden: Sequence[str], *, without: Sequence[str] = ()
    ) -> None:
        self.address, self.clip, self.forbidden = address, clip, [*forbidden, "Traceback", "root:x:0", 'File "']
        self.report = Report()
        self.kinds: list[Callable[[random.Random], bytes]] = [
            self._fuzzed, self._fuzzed, self._list, self._name, self._bomb, self._claim, self._probe, self._probe,
            self._path, self._gradio, self._gradio, self._upload, self._picture, self._broken_form, self._nonsense,
            self._slow, self._large, self._host, self._half,
        ]  # fmt: skip
        self.kinds = [kind for kind in self.kinds if kind.__name__.strip("_") not in without]

    def run(self, count: int, seed: int = 0) -> Report:
        """Send so many requests, of all kinds in turn."""
        for number in range(count):
            kind = self.kinds[number % len(self.kinds)]
            answer = kind(random.Random(f"{seed}/{number}"))
            name = kind.__name__.strip("_")
            self.report.answers[f"{name} {answer[9:12].decode('latin-1') or 'closed'}"] += 1
            text = answer.decode("utf-8", "replace")
            self.report.leaks += [f"{name}: {word!r} in {text[:200]!r}" for word in self.forbidden if word in text]
        return self.report

    def _send(
        self, head: str, body: bytes = b"", *, length: int | None = None, timeout: float = 30.0, host: str = ""
    ) -> bytes:
        lines = [head, f"Host: {host or self.address[0]}", "Connection: close"]
        if body or length is not None:
            lines.append(f"Content-Length: {len(body) if length is None else length}")
        data = "\r\n".join([*lines, "", ""]).encode("utf-8", "replace") + body
        answer = b""
        with socket.create_connection(self.address, timeout=timeout) as connection:
            try:
                connection.sendall(data)
                while (part := connection.recv(1 << 16)) and len(answer) < 4 << 20:
                    answer += part
            except OSError:  # the server has closed: what came before counts
                return answer
        return answer

    def _post(
        self, body: bytes, path: str = "/v1/predict", *, length: int | None = None, timeout: float = 30.0
    ) -> bytes:
        head = f"POST {path} HTTP/1.1\r\nContent-Type: multipart/form-data; boundary={_BOUNDARY}"
        return self._send(head, body, length=length, timeout=timeout)

    def _json(self, path: str, value: object) -> bytes:
        return self._send(f"POST {path} HTTP/1.1\r\nContent-Type: application/json", json.dumps(value).encode())

    def _fuzzed(self, rng: random.Random) -> bytes:
        return self._post(form(mutated(self.clip, rng)))

    def _list(self, rng: random.Random) -> bytes:
        return self._post(form(rng.choice(_LISTS), f"x{rng.choice(('.mp4', '.m3u8', '.ffconcat', '.mpd', '.sdp'))}"))

    def _name(self, rng: random.Random) -> bytes:
        return self._post(form(self.clip, rng.choice(_NAMES)))

    def _bomb(self, rng: random.Random) -> bytes:
        return self._post(form(zip_bomb(), f"x{rng.choice(('.mp4', '.zip'))}"))

    def _claim(self, rng: random.Random) -> bytes:
        return self._post(form(b"x"), length=rng.choice((2 << 30, 1 << 62, 10**30)), timeout=5)

    def _probe(self, rng: random.Random) -> bytes:
        return self._send(f"{rng.choice(('GET', 'HEAD', 'POST'))} {rng.choice(ROUTES)}{rng.choice(PATHS)} HTTP/1.1")

    def _path(self, rng: random.Random) -> bytes:
        return self._json(
            "/v1/predict", {"path": rng.choice((*PATHS, "file:///etc/passwd", "http://127.0.0.1:9/", ""))}
        )

    def _gradio(self, rng: random.Random) -> bytes:
        """Calls of the page's functions with files that were never uploaded, and addresses."""
        name = rng.choice(PATHS)
        file = {
            "path": name,
            "url": rng.choice((f"file://{name}", "http://127.0.0.1:9/a.mp4")),
            "meta": {"_type": "gradio.FileData"},
        }
        if rng.random() < 0.3:  # something that was uploaded, or that looks like it
            found = self._uploaded(form(mutated(self.clip, rng)))
            name = found[0] if found and rng.random() < 0.5 else f"visitors/{'0f' * 32}/../../../../..{name}"
            file = {"path": name, "meta": {"_type": "gradio.FileData"}}
        return self._call(file, rng)

    def _call(self, file: object, rng: random.Random) -> bytes:
        """Have one of the page's functions called about a file."""
        return self._join(*rng.choice((self._of_the_page, self._of_no_page))(file, rng), rng)

    def _join(self, number: int, data: list[object], rng: random.Random, *, seconds: float = 20) -> bytes:
        """Have a function called, and wait for what it says."""
        session = f"s{rng.getrandbits(48):x}"
        value = {"data": data, "fn_index": number, "session_hash": session, "event_data": None}
        place = rng.choice(("/gradio_api/queue/join",) * 4 + ("/gradio_api/run/predict", "/gradio_api/call/predict"))
        answer = self._json(place, value)
        if b"event_id" not in answer:
            return answer
        return answer + self._send(f"GET /gradio_api/queue/data?session_hash={session} HTTP/1.1", timeout=seconds)

    def _models(self) -> list[str]:
        """The names of the models that the page offers."""
        answer = self._send("GET /v1/model HTTP/1.1").partition(b"\r\n\r\n")[2]
        return [model["name"] for model in json.loads(answer)["models"]]

    def _of_the_page(self, file: object, rng: random.Random) -> tuple[int, list[object]]:
        """A call in the form of the page's own: of what follows from a choice, or of the explanation."""
        chosen = [None, file, None, rng.choice(self._models()), "none"]
        change = rng.choice(("shuffle", "drop", "freeze"))
        return rng.choice(((0, [*chosen, change, rng.randrange(101), None, rng.randrange(99)]), (3, chosen)))

    @staticmethod
    def _of_no_page(file: object, rng: random.Random) -> tuple[int, list[object]]:
        """A call that no page makes."""
        data = [file, rng.choice((None, "../../etc/passwd", 7)), rng.choice(("gta", "<b>", None)), "shuffle", 50]
        return rng.randrange(9), data[: rng.randrange(1, 6)]

    def _uploaded(self, body: bytes) -> "re.Match[str] | None":
        """The path that an upload to the page gets."""
        answer = self._post(body.replace(b'"file"', b'"files"', 1), "/gradio_api/upload")
        return _UPLOADED.search(answer.decode("latin-1"))

    def _picture(self, rng: random.Random) -> bytes:
        """A picture for the camera that would fill the memory, or is none, in the form of the page's own frames."""
        picture = rng.choice((picture_bomb(), picture_bomb()[:100], rng.randbytes(200)))
        kind = rng.choice(("png", "jpeg", "jpeg"))
        frame = {"url": f"data:image/{kind};base64,{base64.b64encode(picture).decode()}", "path": None}
        # A camera's call goes on until its visitor goes.
        return self._join(4, [frame, None, self._models()[0], "none"], rng, seconds=2)

    def _upload(self, rng: random.Random) -> bytes:
        body = form(mutated(self.clip, rng)[:2000], rng.choice(_NAMES))
        return self._post(body.replace(b'"file"', rng.choice((b'"file"', b'"files"')), 1), "/gradio_api/upload")

    def _broken_form(self, rng: random.Random) -> bytes:
        body = form(self.clip[:500], head=rng.choice(("", "Content-Disposition: form-data", "X: " + "y" * 9000)))
        return self._post(body[: rng.randrange(1, len(body))])

    def _nonsense(self, rng: random.Random) -> bytes:
        return self._send(f"GET /{quote(rng.randbytes(rng.choice((4, 400, 9000))))} HTTP/1.1")

    def _slow(self, rng: random.Random) -> bytes:
        """A body that never comes to its end."""
        return self._post(form(self.clip)[: rng.randrange(1, 300)], length=5000, timeout=60)

    def _large(self, rng: random.Random) -> bytes:
        """JSON of very many small values, or of one very large one."""
        body = rng.choice(
            (b"[" + b"[]," * 10_000_000 + b"[]]", b"[" + b"{}," * 300_000 + b"1]", b'["%b"]' % bytes(30 << 20))
        )
        path = rng.choice(("/v1/predict", "/v1/explain", "/gradio_api/queue/join"))
        return self._send(f"POST {path} HTTP/1.1\r\nContent-Type: application/json", body)

    def _host(self, rng: random.Random) -> bytes:
        """What a foreign page would send whose name leads here."""
        route = rng.choice(("/v1/health", "/config", "/v1/model"))
        return self._send(f"GET {route} HTTP/1.1\r\nOrigin: http://evil.example", host="evil.example")

    def _half(self, rng: random.Random) -> bytes:
        """A head that never comes to its end."""
        with socket.create_connection(self.address, timeout=60) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"y" * rng.randrange(1, 300))
            return connection.recv(1 << 16)
