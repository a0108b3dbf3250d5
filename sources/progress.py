"""How far a run in this process is, for a progress bar or a line of live figures to show."""

import threading
from typing import NamedTuple


class Lag(NamedTuple):
    """How far a stream's reader is behind."""

    messages: int
    """Published and not planned yet."""
    seconds: float
    """Between the clock and the publish time up to which everything is planned."""


class Progress:
    """Counters that many threads may move."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.bytes_planned = 0
        self.bytes_done = 0
        self.messages = 0
        self.message_bytes = 0
        self.lag: dict[str, Lag] = {}
        """By source."""

    def planned(self, size: int) -> None:
        """``size`` bytes more will be read."""
        with self._lock:
            self.bytes_planned += size

    def advance(self, size: int) -> None:
        """``size`` bytes went through the graph."""
        with self._lock:
            self.bytes_done += size

    def came(self, messages: int, size: int) -> None:
        """So many messages of a stream were read, of ``size`` bytes together."""
        with self._lock:
            self.messages += messages
            self.message_bytes += size

    def lags(self, source: str, messages: int, seconds: float) -> None:
        """How far the reader of a stream is behind."""
        with self._lock:
            self.lag[source] = Lag(messages, seconds)


progress = Progress()
"""Of this process; workers elsewhere report through Beam's metrics."""
