"""Where messages come from and violations are: the panes' counts by area, of windows that are complete."""

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, NamedTuple

DEGREES: Final = 0.01
"""An area's width: about 1.1 km from south to north and 0.85 km from west to east."""
_VIOLATIONS: Final = ("qualified", "unqualified")
_MESSAGES: Final = ("positions", *_VIOLATIONS)
_KEPT_MINUTES: Final = 60
MOST_AREAS: Final = 10_000
"""Of a window, of a minute and of the hour; the city has some 2,600."""


class Area(NamedTuple):
    """A square of the city, by its south-west corner."""

    south: float
    west: float

    @property
    def middle(self) -> tuple[float, float]:
        """Its latitude and longitude."""
        return self.south + DEGREES / 2, self.west + DEGREES / 2


class Areas:
    """The newest window's messages, and the violations of the hour before its end.

    Pages read them while the console adds: a counter that was given out does not change any more.
    """

    def __init__(self) -> None:
        self.window: tuple[float, float] | None = None
        """Start and end of the newest window, in seconds since the epoch."""
        self.messages: Counter[Area] = Counter()
        """Of its drones: where they are."""
        self.violations: Counter[Area] = Counter()
        """Of the last hour: where it is hot."""
        self._minutes: dict[int, Counter[Area]] = {}

    def add(self, start: float, seconds: int, dataset: str, areas: Mapping[str, int]) -> None:
        """Count rows of a window by the name of their area."""
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
    """Those in which most is: drones that say to be all over the world fill no memory."""
    return counts if len(counts) <= MOST_AREAS else Counter(dict(counts.most_common(MOST_AREAS)))


@lru_cache(MOST_AREAS)
def area_of(name: str) -> Area:
    """From its name in the lake. Raises ValueError: it is none.

    >>> area_of("40.71,-74.01")
    Area(south=40.71, west=-74.01)
    """
    south, _, west = name.partition(",")
    area = Area(float(south), float(west))
    if not (-90 <= area.south <= 90 and -180 <= area.west <= 180):
        raise ValueError(f"{name} is no area: its corner is not on the earth")
    return area
