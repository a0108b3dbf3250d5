"""Messages that wait to be published."""

import heapq
from typing import NamedTuple


class Published(NamedTuple):
    """A payload, its identity (None if it cannot be read) and the branch it belongs in."""

    payload: bytes
    message_id: str | None
    branch: str


class Delays:
    """Holds messages until their time comes; as many at once as the longest delay lasts."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, Published]] = []
        self._count = 0

    def put(self, at: int, message: Published) -> None:
        """Publish ``message`` at ``at``; those of the same time keep their order."""
        heapq.heappush(self._waiting, (at, self._count, message))
        self._count += 1

    def due(self, until: int) -> list[Published]:
        """What is to be published before ``until``, in order."""
        messages = []
        while self._waiting and self._waiting[0][0] < until:
            messages.append(heapq.heappop(self._waiting)[2])
        return messages

    def rest(self) -> list[Published]:
        """Everything that still waits, in order."""
        messages = [message for _, _, message in sorted(self._waiting)]
        self._waiting.clear()
        return messages
