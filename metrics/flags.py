"""``--metrics-port`` and ``--metrics-host`` of commands that serve metrics beside their work; imports nothing heavy."""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from terminal.arguments import duration, port

if TYPE_CHECKING:
    from metrics.server import Pages


def add_metrics(parser: argparse._ActionsContainer) -> None:
    """Add them."""
    parser.add_argument(
        "--metrics-port",
        type=port,
        metavar="N",
        help="serve /metrics for Prometheus, /healthz and /readyz at this port while the command runs (default: none)",
    )
    parser.add_argument(
        "--metrics-host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address that --metrics-port listens on (default: 127.0.0.1)",
    )


def add_stuck_after(parser: argparse._ActionsContainer) -> None:
    """Add ``--stuck-after``, in seconds."""
    parser.add_argument(
        "--stuck-after",
        type=duration,
        default=300,
        metavar="TIME",
        help="report a pipeline as stuck if messages of a Kafka topic wait and nothing is committed for this time: "
        "30s, 5m (default)",
    )


def serving_metrics(given: argparse.Namespace, pages: "Callable[[], Pages]") -> AbstractContextManager[object]:
    """Serve these pages while the body runs, if a port is given; only then they are made, and the client library of
    Prometheus is imported. Raises ServiceUnavailable where the port cannot be had."""
    if given.metrics_port is None:
        return nullcontext()
    from metrics.server import serving  # noqa: PLC0415

    return serving(pages(), given.metrics_host, given.metrics_port, "--metrics-port")
