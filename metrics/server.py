"""The pages of every command that serves metrics: ``/metrics``, ``/healthz`` and ``/readyz``."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from metrics.metric import Kind, Metric
from schemas.errors import ServiceUnavailable

_SILENT_SECONDS: Final = 10.0
"""A client that sends nothing for so long is cut off."""
_TEXT: Final = ("Content-Type", "text/plain; charset=utf-8")

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily
Samples = Iterable[tuple[tuple[str, ...], float]]
"""Values of labels, and a value."""


def family(metric: Metric, samples: Samples) -> Family:
    """A metric with its samples, as a collector yields it."""
    made = (CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily)(
        metric.name, metric.help, labels=metric.labels
    )
    for labels, value in sorted(samples):
        made.add_metric(list(labels), value)
    return made


def histograms(
    metric: Metric, bounds: Sequence[float], samples: Iterable[tuple[tuple[str, ...], Sequence[int], float]]
) -> Family:
    """A metric of histograms.

    Args:
        bounds: the buckets' upper bounds but the last, which is infinity.
        samples: values of labels, the count in each bucket, and the sum.
    """
    made = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    for labels, counts, total in sorted(samples):
        upto = zip((*map(str, bounds), "+Inf"), accumulate(counts), strict=True)
        made.add_metric(list(labels), buckets=list(upto), sum_value=total)
    return made


class Pages:
    """What a command shows.

    Args:
        collector: of its metrics; those of the process (CPU, memory, files) are added.
        faults: why the process is not well, one line each: ``/healthz`` is 503 then, and a restart is due.
        missing: why it is not ready, one line each: ``/readyz`` is 503 then.
    """

    def __init__(
        self,
        collector: Collector,
        faults: Callable[[], Sequence[str]] = tuple,
        missing: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        registry = CollectorRegistry()
        registry.register(collector)
        ProcessCollector(registry=registry)
        self._scrape: WSGIApplication = make_wsgi_app(registry)
        self._reasons = {"/healthz": faults, "/readyz": missing}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request (WSGI)."""
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return self._scrape(environ, start_response)
        if path not in self._reasons:
            status, lines = "404 Not Found", ["/metrics, /healthz and /readyz are here"]
        elif reasons := self._reasons[path]():
            status, lines = "503 Service Unavailable", list(reasons)
        else:
            status, lines = "200 OK", ["ok"]
        start_response(status, [_TEXT])  # a list of its own: the server adds the length
        return [line.replace("\n", " ").encode() + b"\n" for line in lines]


@contextmanager
def serving(app: WSGIApplication, host: str, port: int, flag: str) -> Iterator[int]:
    """Serve while the body runs; gives the port.

    Args:
        flag: that gave the port, for the error.

    Raises ServiceUnavailable where the port cannot be had.
    """
    try:
        server = (_Server6 if ":" in host else _Server)((host, port), _Handler)
    except OSError as error:
        where = f"{host}:{port}"
        raise ServiceUnavailable(
            f"cannot listen at {where}: {error.strerror or error}; name another port with {flag}"
        ) from error
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
