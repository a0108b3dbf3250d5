"""How long it takes from an event to the commit of its unit, and to the publication of the unit: of a sample."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

BOUNDS: Final = (1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
"""Of the buckets, in seconds."""
MOST_WAITING: Final = 64
"""Sampled units that are remembered until they are published; beyond, the oldest one is forgotten."""

Times = np.ndarray[Any, np.dtype[np.float64]]
"""In seconds."""


@dataclass
class Histogram:
    """Counts by bucket, the last one beyond all bounds; and the sum of what was counted."""

    counts: np.ndarray[Any, np.dtype[np.int64]] = field(default_factory=lambda: np.zeros(len(BOUNDS) + 1, np.int64))
    sum: float = 0.0

    def add(self, seconds: Times) -> None:
        """Add these. A time before 0, which a clock that is ahead makes, counts as 0."""
        above = np.maximum(seconds, 0.0)
        self.counts += np.bincount(np.searchsorted(BOUNDS, above), minlength=len(self.counts))
        self.sum += float(above.sum())


@dataclass
class Latencies:
    """By source."""

    to_commit: dict[str, Histogram] = field(default_factory=dict)
    to_publication: dict[str, Histogram] = field(default_factory=dict)
    _waiting: dict[str, tuple[str, Times]] = field(default_factory=dict)
    """By unit its source and the times of its events, until it is published."""

    def add_committed(self, source: str, unit: str, at: float, events: Times) -> None:
        """Add the events of a unit that was committed then."""
        self.to_commit.setdefault(source, Histogram()).add(at - events)
        self._waiting[unit] = (source, events)
        if len(self._waiting) > MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]

    def add_published(self, publications: Mapping[float, Iterable[str]]) -> None:
        """Add the units that were published then, as far as they were sampled."""
        for at, units in publications.items():
            for source, events in (self._waiting.pop(unit) for unit in units if unit in self._waiting):
                self.to_publication.setdefault(source, Histogram()).add(at - events)
