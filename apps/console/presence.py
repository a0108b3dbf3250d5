"""Presence of the browser that holds a lease: its page keeps an event stream open."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Final

GRACE_SECONDS: Final = 8.0
"""Grace period: a browser that lost its connection reconnects within 3 s."""


class Presence:
    """Connected pages by lease."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lock = Lock()
        self._listening: dict[str, int] = {}
        self._left: dict[str, float] = {}

    @contextmanager
    def listening(self, lease: str) -> Iterator[None]:
        """Register a page while its stream is open."""
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
        """Leases whose last page disconnected and did not return; each is reported once."""
        with self._lock:
            found = [lease for lease, at in self._left.items() if at <= self._clock() - GRACE_SECONDS]
            for lease in found:
                del self._left[lease]
        return found
