"""Whether the browser of whoever holds an alert is there: its page listens to the console as long as it is open."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

GRACE_SECONDS: Final = 8.0
"""A browser that lost its connection comes back within 3 s; one that does not is gone."""


class Presence:
    """The pages that listen, by lease."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = Lock()
        self._listening: dict[str, int] = {}
        self._left: dict[str, float] = {}

    @contextmanager
    def listening(self, lease: str) -> Iterator[None]:
        """As long as a page listens."""
        with self._lock:
            self._listening[lease] = self._listening.get(lease, 0) + 1
            self._left.pop(lease, None)
        try:
            yield
        finally:
            with self._lock:
                self._listening[lease] -= 1
                if not self._listening[lease]:
                    del self._listening[lease]
                    self._left[lease] = self._clock()

    def gone(self) -> list[str]:
        """The leases whose last page has left and has not come back; each is said once."""
        with self._lock:
            found = [lease for lease, at in self._left.items() if at <= self._clock() - GRACE_SECONDS]
            for lease in found:
                del self._left[lease]
        return found
