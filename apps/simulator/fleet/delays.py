"""Messages that wait to be published."""

import heapq
from collections.abc import Iterable
from operator import attrgetter
from typing import Final

import msgspec

_SLOT_US: Final = 100_000


class Published(msgspec.Struct, gc=False):
    """A payload, when it is published, who says it, its identity (None if it cannot be read) and its branch.

    ``at_us`` is in microseconds since 1970.
    """

    at_us: int
    payload: bytes
    drone: str
    message_id: str | None
    branch: str


class Delays:
    """Holds messages until their time comes; as many at once as the longest delay lasts."""

    def __init__(self) -> None:
        self._slots: dict[int, list[Published]] = {}
        self._starts: list[int] = []

    def put(self, messages: Iterable[Published]) -> None:
        """Keep ``messages``; those of the same microsecond keep their order."""
        for message in messages:
            start = message.at_us // _SLOT_US
            if start not in self._slots:
                self._slots[start] = []
                heapq.heappush(self._starts, start)
            self._slots[start].append(message)

    def due(self, until_us: int) -> list[Published]:
        """What is published before ``until_us``, in order, but for the last tenth of a second."""
        messages: list[Published] = []
        while self._starts and self._starts[0] < until_us // _SLOT_US:
            messages += self._pop()
        return messages

    def rest(self) -> list[Published]:
        """Everything that still waits, in order."""
        messages: list[Published] = []
        while self._starts:
            messages += self._pop()
        return messages

    def _pop(self) -> list[Published]:
        return sorted(self._slots.pop(heapq.heappop(self._starts)), key=attrgetter("at_us"))
