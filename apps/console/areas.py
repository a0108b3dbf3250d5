"""Messages and violations by area, from the panes of complete windows."""

from collections import Counter
from collections.abc import Mapping
from typing import Final

from schemas.places import Area, area_of

_VIOLATIONS: Final = ("qualified", "unqualified")
_MESSAGES: Final = ("positions", *_VIOLATIONS)
_KEPT_MINUTES: Final = 60
MOST_AREAS: Final = 10_000
"""Areas kept per window, per minute and per hour; the city has some 2,600."""


class Areas:
    """Messages of the newest window, and violations of the hour before its end.

    Pages read them while the console adds: a counter that was given out does not change any more.
    """

    def __init__(self) -> None:
        self.window: tuple[float, float] | None = None
        """Start and end of the newest window, in seconds since the epoch."""
        self.messages: Counter[Area] = Counter()
        """Messages of the newest window by area: where the drones are."""
        self.violations: Counter[Area] = Counter()
        """Violations of the last hour by area."""
        self._minutes: dict[int, Counter[Area]] = {}

    def add(self, start: float, seconds: int, dataset: str, areas: Mapping[str, int]) -> None:
        """Add counts of a window by area name."""
        counts = _most(Counter({area_of(name): n for name, n in areas.items()}))
        if self.window is None or start > self.window[0]:
            self.window, self.messages = (start, start + seconds), Counter()
            self._forget(start // 60 - _KEPT_MINUTES)
        if dataset in _MESSAGES and start == self.window[0]:
            self.messages = _most(self.messages + counts)
        if dataset in _VIOLATIONS and start // 60 > self.window[0] // 60 - _KEPT_MINUTES:
            self.violations = _most(self.violations + counts)
            minute = int(start // 60)
            self._minutes[minute] = _most(self._minutes.get(minute, Counter()) + counts)

    def _forget(self, minute: float) -> None:
        for gone in [kept for kept in self._minutes if kept <= minute]:
            self.violations = self.violations - self._minutes.pop(gone)


def _most(counts: Counter[Area]) -> Counter[Area]:
    """The areas with the highest counts; bounds the memory against drones that report positions all over the world."""
    return counts if len(counts) <= MOST_AREAS else Counter(dict(counts.most_common(MOST_AREAS)))
