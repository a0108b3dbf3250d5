"""How far a run in this process is, for a progress bar or a line of live figures to show."""

import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

_DONE: Final = "bytes"
_MESSAGE_BYTES: Final = "message bytes"
_READ: Final = "read "
"""The names of counters in a report; that of messages has the source behind it."""


class Lag(NamedTuple):
    """How far a stream's reader is behind."""

    messages: int
    """Published and not planned yet."""
    until: float
    """The publish time, in seconds since the epoch, up to which everything is planned."""
    units: int
    """Planned and not committed yet."""

    @property
    def seconds(self) -> float:
        """Between that time and now."""
        return time.time() - self.until


class Progress:
    """Counters of this process, safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.bytes_planned = 0
        self.bytes_done = 0
        self.read: Counter[str] = Counter()
        """Messages by source."""
        self.message_bytes = 0
        self.lag: dict[str, Lag] = {}
        """By source."""
        self.lag_at: dict[str, float] = {}
        """When each was reported, in seconds since the epoch."""

    @property
    def messages(self) -> int:
        """Read from all streams."""
        return self.read.total()

    def planned(self, size: int) -> None:
        """``size`` bytes more will be read."""
        with self._lock:
            self.bytes_planned += size

    def advance(self, size: int) -> None:
        """``size`` bytes were read."""
        with self._lock:
            self.bytes_done += size

    def came(self, source: str, messages: int, size: int) -> None:
        """``messages`` messages of a stream were read, ``size`` bytes in all."""
        with self._lock:
            self.read[source] += messages
            self.message_bytes += size

    def counts(self) -> Counter[str]:
        """What was read, by name, to be added in another process."""
        with self._lock:
            by_source = {f"{_READ}{source}": n for source, n in self.read.items()}
            return Counter({_DONE: self.bytes_done, _MESSAGE_BYTES: self.message_bytes, **by_source})

    def add(self, counts: Mapping[str, int]) -> None:
        """Add what another process has counted."""
        with self._lock:
            self.bytes_done += counts.get(_DONE, 0)
            self.message_bytes += counts.get(_MESSAGE_BYTES, 0)
            self.read.update({name.removeprefix(_READ): n for name, n in counts.items() if name.startswith(_READ)})

    def lags(self, source: str, lag: Lag) -> None:
        """How far the reader of a stream is behind."""
        with self._lock:
            self.lag_at[source], self.lag[source] = time.time(), lag


progress = Progress()
"""Of this process and its worker processes; workers on a cluster report through Beam's metrics."""
