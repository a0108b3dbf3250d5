"""The loader's metrics and its health."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.registry import Collector

from metrics.metric import Kind, Metric
from metrics.server import Family, Pages, family

from .progress import Progress

PENDING: Final = Metric(
    "prestacop_loader_files_pending",
    Kind.GAUGE,
    "Files of the command that are not loaded yet, with the current one",
)
DONE: Final = Metric("prestacop_loader_files_done", Kind.COUNTER, "Files that are loaded")
SENT: Final = Metric(
    "prestacop_loader_sent_bytes",
    Kind.COUNTER,
    "Bytes that were handed to the target; after an error some of them again",
)
SHARE: Final = Metric(
    "prestacop_loader_file_progress_ratio", Kind.GAUGE, "Share of the current file that was read, from 0 to 1"
)
SILENCE: Final = Metric(
    "prestacop_loader_progress_age_seconds", Kind.GAUGE, "Seconds since the target acknowledged something new"
)
UP: Final = Metric(
    "prestacop_loader_target_up", Kind.GAUGE, "0 while the target does not answer and the loader tries again, else 1"
)
METRICS: Final = (PENDING, DONE, SENT, SHARE, SILENCE, UP)
"""All of them."""


class LoaderMetrics(Collector):
    """The metrics of a progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def collect(self) -> Iterator[Family]:
        """Called for a scrape."""
        now = self._progress
        values = (now.pending, now.done, now.sent, now.share, now.silence, not now.trouble)
        for metric, value in zip(METRICS, values, strict=True):
            yield family(metric, [((), value)])


def pages(progress: Progress) -> Pages:
    """What the loader serves: it is not ready while the target does not answer, and always healthy, since it waits."""
    return Pages(LoaderMetrics(progress), missing=lambda: [progress.trouble] if progress.trouble else [])
