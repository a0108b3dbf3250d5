"""``--metrics-port`` of ``prestacop run``: what the exporter shows of its lake and topics, and what this process alone
knows."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from prometheus_client.registry import Collector

from lake.retries import requests
from metrics.lake.collector import Metrics, metrics_of
from metrics.lake.names import METRICS as OF_THE_LAKE
from metrics.metric import Kind, Metric
from metrics.server import Family, Pages, family, serving
from sources.progress import progress
from terminal.every import every

_EVERY_SECONDS: Final = 15.0
"""Between two looks at the lake and the topics; less where a run is stuck sooner."""

MESSAGES: Final = Metric(
    "prestacop_run_read_messages", Kind.COUNTER, "Messages that workers of this process have read", ("source",)
)
MESSAGE_BYTES: Final = Metric("prestacop_run_read_message_bytes", Kind.COUNTER, "Bytes of these messages")
PLANNED_BYTES: Final = Metric(
    "prestacop_run_planned_bytes", Kind.COUNTER, "Bytes of input that a bounded run has planned to read"
)
READ_BYTES: Final = Metric("prestacop_run_read_bytes", Kind.COUNTER, "Bytes of these that were read")
UNITS: Final = Metric(
    "prestacop_run_units_under_way",
    Kind.GAUGE,
    "Units of an unbounded run that are planned and not committed yet",
    ("source",),
)
UNPLANNED: Final = Metric(
    "prestacop_run_unplanned_messages",
    Kind.GAUGE,
    "Messages of the topic that no unit of an unbounded run has yet",
    ("source",),
)
REQUESTS: Final = Metric(
    "prestacop_s3_requests",
    Kind.COUNTER,
    "Requests of this process to S3 by operation: `PutObject`, `GetObject`, `DeleteObject` and so on; not listings and "
    "reads of large files, which pyarrow makes, and not those of the library of the Delta tables",
    ("operation",),
)
RETRIES: Final = Metric(
    "prestacop_s3_retries",
    Kind.COUNTER,
    "Calls to S3, listings included, that failed with a retryable error: each was retried, until PRESTACOP_S3_PATIENCE",
)
OF_THE_PROCESS: Final = (
    MESSAGES, MESSAGE_BYTES, PLANNED_BYTES, READ_BYTES, UNITS, UNPLANNED, REQUESTS, RETRIES,
)  # fmt: skip
"""Those that the exporter does not have."""
METRICS: Final = (*OF_THE_LAKE, *OF_THE_PROCESS)
"""All of them."""


class RunMetrics(Collector):
    """The metrics of a run."""

    def __init__(self, lake: Metrics) -> None:
        self._lake = lake

    def collect(self) -> Iterator[Family]:
        """Called for a scrape."""
        yield from self._lake.collect()
        lags = dict(progress.lag).items()
        yield family(MESSAGES, [((source,), n) for source, n in dict(progress.read).items()])
        yield family(MESSAGE_BYTES, [((), progress.message_bytes)])
        yield family(PLANNED_BYTES, [((), progress.bytes_planned)])
        yield family(READ_BYTES, [((), progress.bytes_done)])
        yield family(UNITS, [((source,), lag.units) for source, lag in lags])
        yield family(UNPLANNED, [((source,), lag.messages) for source, lag in lags])
        yield family(REQUESTS, [((operation,), n) for operation, n in dict(requests.made).items()])
        yield family(RETRIES, [((), requests.failed)])


@contextmanager
def serving_run(given: argparse.Namespace) -> Iterator[None]:
    """Serve the metrics and the health of a run while the body runs it.

    Args:
        given: its flags.

    Raises OptionsRefused; ServiceUnavailable where the port cannot be had.
    """
    seconds = min(_EVERY_SECONDS, max(given.stuck_after / 4, 1.0))
    metrics = metrics_of(given, seconds)
    pages = Pages(RunMetrics(metrics), metrics.stuck, metrics.old_looks)
    address = (given.metrics_host, given.metrics_port, "--metrics-port")
    # A look may wait for a broker, for which the end of the run does not.
    with serving(pages, *address), every(seconds, metrics.look, is_awaited=False):
        yield
