"""An S3 server on this machine that fails when a test says so, or at random, and a clock that does not wait."""

import math
import random
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server


@dataclass
class Fault:
    """An answer in place of the server's own."""

    method: str
    status: str
    """As "503 Service Unavailable"."""
    code: str
    times: float = 1
    applied: bool = False
    """The request is carried out, and only its answer lost."""
    seen: int = 0
    buckets: bool = False
    """Requests of buckets fail too."""
    cut: bool = False
    """The server's own answer, of which half comes."""
    reset: bool = False
    """The connection is reset: before an answer, or where it is cut."""


class Weather:
    """Faults at random, at requests of objects: an answer of its own, a lost or cut one, or a connection that is reset.

    Args:
        share: of the requests that fail.
    """

    def __init__(self, seed: int, share: float) -> None:
        self._random = random.Random(seed)
        self._share = share

    def fault(self, environ: dict[str, Any]) -> Fault | None:
        """What happens to a request."""
        if self._random.random() >= self._share:
            return None
        answers = [
            ("500 Internal Server Error", "InternalError"), ("503 Service Unavailable", "SlowDown"),
            ("429 Too Many Requests", "TooManyRequests"),
        ]  # fmt: skip
        method, applied = environ["REQUEST_METHOD"], self._random.random() < 0.5
        kinds = [
            Fault(method, *self._random.choice(answers), applied=applied),
            Fault(method, "", "", applied=applied, reset=True),
        ]
        if method == "GET":  # also of a listing
            kinds += [Fault(method, "", "", cut=True), Fault(method, "", "", cut=True, reset=True)]
        if "HTTP_IF_NONE_MATCH" in environ:
            kinds.append(Fault(method, "409 Conflict", "ConditionalRequestConflict", applied=applied))
        if "HTTP_IF_NONE_MATCH" in environ or "ifGenerationMatch=0" in environ["QUERY_STRING"]:
            # Something between sent the request twice: the second one met what the first one had put.
            kinds.append(Fault(method, "412 Precondition Failed", "PreconditionFailed", applied=True))
        return self._random.choice(kinds)


@dataclass
class FaultyS3:
    """The server; requests of objects alone fail, and those of buckets where a fault is said to be of them too."""

    url: str
    faults: list[Fault] = field(default_factory=list)
    weather: Weather | None = None
    calls: int = 0
    """Of objects, when some may fail at random, and those that did."""
    failed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, method: str, status: str, code: str, times: float = 1, applied: bool = False) -> Fault:
        """Fail the next requests of a method; gives what counts them."""
        fault = Fault(method, status, code, times, applied)
        self.faults.append(fault)
        return fault

    def refuse_everything(self, status: str, code: str) -> None:
        """Refuse each request from now on."""
        self.faults.append(Fault("*", status, code, math.inf, buckets=True))

    def due(self, environ: dict[str, Any]) -> Fault | None:
        """The fault of a request, which is counted."""
        bucket = environ["PATH_INFO"].strip("/").count("/") == 0 and "list-type" not in environ["QUERY_STRING"]
        with self._lock:
            fault: Fault | None
            for fault in self.faults:
                if bucket and not fault.buckets:
                    continue
                if fault.method in (environ["REQUEST_METHOD"], "*") and fault.seen < fault.times:
                    fault.seen += 1
                    return fault
            if bucket:
                return None
            fault = self.weather.fault(environ) if self.weather else None
            self.calls += self.weather is not None
            self.failed += fault is not None
        return fault


def half(body: bytes, connection: socket.socket) -> Iterator[bytes]:
    """The first half of an answer, after which the connection ends."""
    yield body[: len(body) // 2]
    connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def faulty_server(app: Any = None) -> Iterator[FaultyS3]:
    """Start one, on a free port.

    Args:
        app: the WSGI application whose answers it gives; None for moto's S3.
    """
    app = app or DomainDispatcherApplication(create_backend_app)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        fault = controller.due(environ)
        if fault is None:
            return cast(Iterable[bytes], app(environ, start_response))
        begun: list[Any] = []
        if fault.applied or fault.cut:
            own = b"".join(app(environ, lambda *begin: begun.extend(begin)))
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if fault.reset:  # when the connection is closed, its rest is not sent
            environ["werkzeug.socket"].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if fault.cut:
            status, headers, *_ = begun
            length = [("Content-Length", str(max(len(own), 1)))]
            start_response(status, [h for h in headers if h[0].lower() != "content-length"] + length)
            return half(own, environ["werkzeug.socket"])
        if fault.reset:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError
        body = f"<Error><Code>{fault.code}</Code><Message>a test</Message></Error>".encode()
        start_response(fault.status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    controller = FaultyS3(f"http://127.0.0.1:{server.port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield controller
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Clock:
    """Stands for the module ``time`` where a retry waits: nobody does."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Seconds that were waited."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Wait, as it were."""
        self.now += seconds


def without_waiting(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock by which calls to S3 are made again from now on."""
    clock = Clock()
    for module in ("retry_unary", "retry_base"):
        monkeypatch.setattr(f"google.api_core.retry.{module}.time", clock)
    return clock
