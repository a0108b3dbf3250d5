"""Whether parts of a live run work: a process that runs may hang."""

import time
from collections.abc import Callable
from contextlib import closing
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from runners.live.metrics import read_progress
from runners.services.ports import HOST

ANSWER_SECONDS = 2.0
"""So long a part has to answer a request for its health page."""
SILENT_SECONDS = 10.0
"""The graph writes its progress every half second; one that does not for so long is stopped."""
STUCK_SECONDS = 120.0
"""The graph is stuck where messages wait, and nothing is committed for so long."""


class GraphHealth:
    """Called every few seconds: whether the graph writes its progress, and commits while messages wait. The time in
    which it was not called, since the servers did not run, does not count."""

    def __init__(
        self, progress_file: Path, committed_units: Callable[[], int], clock: Callable[[], float] = time.time
    ) -> None:
        self._path = progress_file
        self._committed_units = committed_units
        self._clock = clock
        self._units = -1
        self._committed_at = self._called_at = clock()

    def __call__(self) -> bool:
        now, units = self._clock(), self._committed_units()
        progress = read_progress(self._path)
        if progress is None or now - progress.at > SILENT_SECONDS:
            return False
        is_waiting = any(lag.units or lag.messages for lag in progress.lag.values())
        if units != self._units or not is_waiting or now - self._called_at > SILENT_SECONDS:
            self._units, self._committed_at = units, now
        self._called_at = now
        return now - self._committed_at <= STUCK_SECONDS


def is_healthy(port: int) -> bool:
    """Whether the health page at this port says that its process is well."""
    with closing(HTTPConnection(HOST, port, timeout=ANSWER_SECONDS)) as connection:
        try:
            connection.request("GET", "/healthz")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False
