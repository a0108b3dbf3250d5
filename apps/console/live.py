"""The live page's figures, from the file of panes that the graph appends to: aggregates only, at any message rate."""

import logging
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Literal, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from schemas.history import TIME_ZONE
from schemas.messages import EVENT_SECONDS
from schemas.panes import AHEAD_SECONDS, FLEET_LINE, Pane
from schemas.places import area_of

from .areas import Areas
from .drone_events import Fleet

QUALIFIED: Final = "qualified"
UNQUALIFIED: Final = "unqualified"
_VIOLATIONS: Final = (QUALIFIED, UNQUALIFIED)
KEPT_MINUTES: Final = 24 * 60
MOST_BYTES: Final = 64 * 1024**2
"""Of a longer file only this much of its end is read at the start: some 50 minutes at 10,000 messages/s."""
_PARTS: Final = (("morning", range(6, 13)), ("afternoon", range(13, 20)))
"""Parts of the day of the four questions: 6:00 to 12:59 and 13:00 to 19:59 in New York."""
PARTS_OF_DAY: Final = ("morning", "afternoon", "other")
_ZONE: Final = ZoneInfo(TIME_ZONE)
SILENT_SECONDS: Final = (15, 30)
"""So long after the last pane, and the length of a window, the state is amber, and red."""
LAG_SECONDS: Final = (30, 60)
"""The same for the lag, which has the length of a window twice: one that is complete was filled before."""
Level = Literal["green", "amber", "red"]

_log: Final = logging.getLogger(__name__)


class State(NamedTuple):
    """How well the figures are."""

    level: Level
    text: str


@dataclass
class Figures:
    """Counts by minute of event time.

    The rows of a window shorter than a minute are its minute's, those of a longer one are its first minute's.
    """

    rows: dict[int, Counter[str]] = field(default_factory=dict)
    """Minute since the epoch -> dataset -> rows."""
    codes: Counter[int] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)
    totals: Counter[str] = field(default_factory=Counter)
    late: int = 0
    """Late rows that were still counted in their window."""
    too_late: int = 0
    """Late rows beyond the allowed lateness."""
    complete_until: float | None = None
    """End of the newest complete window, in seconds since the epoch."""
    window_seconds: int = 0
    """Length of the windows."""
    came_at: float = 0.0
    """When the last pane was read, in seconds since the epoch; at the start of the console the time of the file."""
    panes: int = 0
    areas: Areas = field(default_factory=Areas)

    def add(self, panes: Iterable[Pane], now: float) -> None:
        """Add panes."""
        for pane in panes:
            self.panes += 1
            self.window_seconds = pane.window_seconds
            start = pane.window_start.timestamp()
            ahead = start > now + AHEAD_SECONDS
            if pane.areas is not None:
                if pane.dataset is not None and not ahead:
                    self.areas.add(start, pane.window_seconds, pane.dataset, pane.areas)
                continue
            if pane.timing == "too_late":
                self.too_late += pane.n
            elif pane.timing == "late":
                self.late += pane.n
            if ahead or pane.timing == "ahead":
                continue
            if pane.timing == "on_time":
                self.complete_until = max(self.complete_until or 0.0, start + pane.window_seconds)
            if pane.dataset is not None and pane.timing != "too_late":
                self._count(pane, pane.dataset, int(start) // 60)
        for minute in [minute for minute in self.rows if minute < now // 60 - KEPT_MINUTES]:
            del self.rows[minute]

    def _count(self, pane: Pane, dataset: str, minute: int) -> None:
        self.rows.setdefault(minute, Counter())[dataset] += pane.n
        self.totals[dataset] += pane.n
        if dataset not in _VIOLATIONS:
            return
        self.parts[part_of_day(pane.window_start)] += pane.n
        if dataset == QUALIFIED and pane.violation_code is not None:
            self.codes[pane.violation_code] += pane.n

    def violations_by_minute(self, minutes: int, now: float) -> list[tuple[int, int, int]]:
        """(minute since the epoch, qualified, unqualified) for each of the last minutes, in ascending order."""
        last = int(now // 60)
        counted = ((minute, self.rows.get(minute, Counter())) for minute in range(last - minutes + 1, last + 1))
        return [(minute, rows[QUALIFIED], rows[UNQUALIFIED]) for minute, rows in counted]

    @property
    def whole_minute(self) -> int | None:
        """The newest minute, since the epoch, whose windows are complete."""
        return None if self.complete_until is None else int(self.complete_until // 60) - 1

    def state(self, now: float) -> State:
        """How well the figures are at this moment."""
        if not self.panes:
            return State("amber", "Nothing was counted yet: the graph has written no pane")
        silent, lag = now - self.came_at, self.lag_seconds(now) or 0.0
        window = self.window_seconds
        levels = [sum(silent > most + window for most in SILENT_SECONDS)]
        levels += [sum(lag > most + 2 * window for most in LAG_SECONDS)]
        reasons = [f"no data for {silent:.0f} s"] if levels[0] else []
        reasons += [f"the figures are {lag:.0f} s behind"] if levels[1] else []
        text = "; ".join(reasons) or "figures are up to date"
        return State(("green", "amber", "red")[max(levels)], text[:1].upper() + text[1:])

    @property
    def unqualified_share(self) -> float:
        """Share of violations without a code, which need an officer."""
        return self.totals[UNQUALIFIED] / max(sum(self.totals[dataset] for dataset in _VIOLATIONS), 1)

    def lag_seconds(self, now: float) -> float | None:
        """Lag: seconds since the end of the newest complete window."""
        return None if self.complete_until is None else max(now - self.complete_until, 0.0)


def part_of_day(moment: datetime) -> str:
    """The part of the day in New York.

    >>> part_of_day(datetime.fromisoformat("2026-01-15T17:59:00Z"))
    'morning'
    """
    hour = moment.astimezone(_ZONE).hour
    return next((name for name, hours in _PARTS if hour in hours), "other")


class Panes:
    """A growing file of panes, read up to its last complete line."""

    def __init__(self, path: Path) -> None:
        self.figures = Figures()
        self.fleet = Fleet()
        """The last message of each drone, which is in lines of its own."""
        self.unreadable = 0
        """Number of invalid lines."""
        self.why_unreadable = ""
        """Why the last invalid line was refused."""
        self._path = path
        self._at = 0
        self._inode = 0
        self._decode = msgspec.json.Decoder(Pane).decode

    def poll(self, now: float) -> bool:
        """Read new lines; gives whether there were any. A truncated file is read again from its start."""
        is_new = True
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())  # of what is read: the file may be replaced at any moment
                if status.st_size < self._at or status.st_ino != self._inode:
                    self.figures, self._inode = Figures(came_at=status.st_mtime), status.st_ino
                    is_new = False
                    self._at = max(status.st_size - MOST_BYTES, 0)
                    file.seek(self._at)
                    self._at += len(file.readline()) if self._at else 0  # it begins within a line
                file.seek(self._at)
                data = file.read(MOST_BYTES)
        except FileNotFoundError:  # nothing was counted yet
            return False
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        if not whole and len(data) == MOST_BYTES:
            self._at += len(data)
            self._note(f"a line of more than {MOST_BYTES} bytes")
        self.figures.add(self._panes(whole), now)
        if whole and is_new:
            self.figures.came_at = now
        return bool(whole)

    def _panes(self, lines: bytes) -> list[Pane]:
        panes = []
        for line in lines.splitlines():
            try:
                if line.startswith(FLEET_LINE):
                    self.fleet.add(line)
                    continue
                panes.append(self._read(line))
            except Exception as error:  # noqa: BLE001  # no line may end the thread that reads
                self._note(f"{error or type(error).__name__}"[:200])
        return panes

    def _read(self, line: bytes) -> Pane:
        pane = self._decode(line)
        if not EVENT_SECONDS[0] <= pane.window_start.timestamp() < EVENT_SECONDS[1]:
            raise ValueError(f"{pane.window_start} is not between 1970 and 2200")
        for name in pane.areas or ():
            area_of(name)
        return pane

    def _note(self, why: str) -> None:
        self.unreadable += 1
        self.why_unreadable = why
        _log.warning("a line of %s is no pane and is left out: %s", self._path, why)
