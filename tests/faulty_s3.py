"""An S3 server on this machine that fails when a test says so, and a clock that does not wait."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

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


@dataclass
class FaultyS3:
    """The server; requests of objects alone fail, never those of buckets."""

    url: str
    faults: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, method: str, status: str, code: str, times: float = 1, applied: bool = False) -> Fault:
        """Fail the next requests of a method; gives what counts them."""
        fault = Fault(method, status, code, times, applied)
        self.faults.append(fault)
        return fault

    def due(self, environ: dict[str, Any]) -> Fault | None:
        """The fault of a request, which is counted."""
        if environ["PATH_INFO"].strip("/").count("/") == 0 and "list-type" not in environ["QUERY_STRING"]:
            return None
        with self._lock:
            for fault in self.faults:
                if fault.method in (environ["REQUEST_METHOD"], "*") and fault.seen < fault.times:
                    fault.seen += 1
                    return fault
        return None


@contextmanager
def faulty_server() -> Iterator[FaultyS3]:
    """Start one, on a free port."""
    app = DomainDispatcherApplication(create_backend_app)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        fault = told.due(environ)
        if fault is None:
            return app(environ, start_response)  # type: ignore[no-any-return]
        if fault.applied:
            list(app(environ, lambda *_: None))
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        body = f"<Error><Code>{fault.code}</Code><Message>a test</Message></Error>".encode()
        start_response(fault.status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    server = make_server("127.0.0.1", 0, answer, threaded=True)
    told = FaultyS3(f"http://127.0.0.1:{server.port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        thread.join()


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
