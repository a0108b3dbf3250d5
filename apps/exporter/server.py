"""The exporter's pages: ``/metrics``, ``/healthz`` and ``/readyz``."""

import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app

from schemas.errors import ServiceUnavailable

from .collector import Metrics

_SILENT_SECONDS: Final = 10.0
"""A client that sends nothing for so long is cut off."""
_TEXT: Final = [("Content-Type", "text/plain; charset=utf-8")]


def application(registry: CollectorRegistry, metrics: Metrics) -> WSGIApplication:
    """The pages."""
    scrape: WSGIApplication = make_wsgi_app(registry)

    def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            return scrape(environ, start_response)
        status, lines = "200 OK", ["ok"]
        if path == "/readyz":
            lines = [_old(part.name, part.age) for part in metrics.parts if not part.is_fresh] or lines
            status = status if lines == ["ok"] else "503 Service Unavailable"
        elif path != "/healthz":
            status, lines = "404 Not Found", ["/metrics, /healthz and /readyz are here"]
        start_response(status, _TEXT)
        return [line.encode() + b"\n" for line in lines]

    return app


def _old(name: str, age: float | None) -> str:
    return f"no look at {name} has succeeded yet" if age is None else f"the last look at {name} is {age:.0f} s old"


@contextmanager
def serving(app: WSGIApplication, host: str, port: int) -> Iterator[int]:
    """Serve while the body runs; gives the port. Raises ServiceUnavailable where it cannot be had."""
    try:
        server = (_Server6 if ":" in host else _Server)((host, port), _Handler)
    except OSError as error:
        where = f"{host}:{port}"
        raise ServiceUnavailable(f"cannot listen at {where}: {error.strerror or error}; name another --port") from error
    server.set_app(app)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False

    def server_bind(self) -> None:
        """As WSGIServer does it, without its request for a name of this machine, which may take seconds."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _SILENT_SECONDS

    def log_message(self, format: str, *args: Any) -> None:
        """Log no request: there is one every few seconds."""
