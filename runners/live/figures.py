"""How far the graph is, told by its process to the one that shows it: a small file, written anew each second."""

import os
import time
from collections import deque
from pathlib import Path

import msgspec

from sources.progress import Lag, progress

OVER_SECONDS = 5
"""What is new a second is measured over so long."""


class Figures(msgspec.Struct, frozen=True):
    """What the graph's process says; counts are since it began."""

    at: float
    """When, in seconds since the epoch."""
    read: dict[str, int]
    """Messages by source."""
    read_bytes: int
    lag: dict[str, Lag]
    """By source."""

    def is_drained(self, since: float) -> bool:
        """Whether all that was published before ``since`` is in the lake."""
        return bool(self.lag) and all(lag.until >= since and not lag.units for lag in self.lag.values())


def tell(path: Path) -> None:
    """Write this process's figures."""
    figures = Figures(time.time(), dict(progress.read), progress.message_bytes, dict(progress.lag))
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(figures))
    os.replace(new, path)


def told(path: Path) -> Figures | None:
    """What was written last, if anything was."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Figures)
    except FileNotFoundError:
        return None


class Rates:
    """From counts to counts a second."""

    def __init__(self) -> None:
        self._seen: deque[Figures] = deque()

    def add(self, figures: Figures) -> None:
        """Take the latest."""
        if self._seen and figures.at <= self._seen[-1].at:
            return
        self._seen.append(figures)
        while len(self._seen) > 2 and self._seen[1].at <= figures.at - OVER_SECONDS:
            self._seen.popleft()

    @property
    def messages(self) -> float:
        """Messages of all streams a second."""
        return self._per_second([sum(figures.read.values()) for figures in self._seen])

    @property
    def bytes(self) -> float:
        """Bytes a second."""
        return self._per_second([figures.read_bytes for figures in self._seen])

    def _per_second(self, counts: list[int]) -> float:
        if len(counts) < 2:
            return 0.0
        return (counts[-1] - counts[0]) / (self._seen[-1].at - self._seen[0].at)
