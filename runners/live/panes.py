"""The live statistics: the panes that the graph appends to a file, added up by window."""

import logging
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

import msgspec

from schemas.lake import Dataset

AHEAD_SECONDS = 3600
"""A window that begins later than that belongs to a drone whose clock is wrong: it would be the newest for ever."""


_log = logging.getLogger(__name__)


class Pane(msgspec.Struct, frozen=True):
    """A line of the file; see :mod:`transforms.live.windows`."""

    window_start: Annotated[datetime, msgspec.Meta(tz=True)]
    window_seconds: int
    dataset: str | None
    violation_code: int | None
    n: int
    timing: str
    areas: dict[str, int] | None = None
    """The same rows counted again, by area."""


@dataclass
class Window:
    """What is known of one window."""

    start: datetime
    seconds: int
    complete: bool = False
    """Whether the watermark has passed its end."""
    rows: Counter[str] = field(default_factory=Counter)
    """By dataset."""
    codes: Counter[int] = field(default_factory=Counter)
    """Qualified violations."""


class Windows:
    """The windows that are still of interest, and how many rows came late."""

    def __init__(self) -> None:
        self.late = 0
        """Rows that came when their window was complete, and were counted in it."""
        self.too_late = 0
        """Rows that came when their window was closed for good."""
        self._windows: dict[datetime, Window] = {}

    def add(self, pane: Pane) -> None:
        """Add a pane to its window; one by area counts what others have counted."""
        if pane.areas is not None:
            return
        if pane.timing == "late":
            self.late += pane.n
        elif pane.timing == "too_late":
            self.too_late += pane.n
            return
        elif pane.timing == "ahead":  # a wrong clock: of no window that is of interest
            return
        complete = self.complete
        passed = complete is not None and pane.window_start < complete.start
        if passed or pane.window_start.timestamp() > time.time() + AHEAD_SECONDS:
            return
        window = self._windows.setdefault(pane.window_start, Window(pane.window_start, pane.window_seconds))
        if pane.dataset is not None:
            window.rows[pane.dataset] += pane.n
            if pane.dataset == Dataset.QUALIFIED and pane.violation_code is not None:
                window.codes[pane.violation_code] += pane.n
        if pane.timing == "on_time":
            window.complete = True
            self._windows = {start: kept for start, kept in self._windows.items() if start >= window.start}

    @property
    def complete(self) -> Window | None:
        """The last one that is complete."""
        return self._newest(complete=True)

    @property
    def filling(self) -> Window | None:
        """The newest one that is not."""
        return self._newest(complete=False)

    def _newest(self, complete: bool) -> Window | None:
        found = [start for start, window in self._windows.items() if window.complete is complete]
        return self._windows[max(found)] if found else None


class Tail:
    """The panes of a file that grows, each once and when its line is whole. A line that is no pane, as one that was cut
    by a full disk and went on with the next, is counted and logged."""

    def __init__(self, path: Path) -> None:
        self.unreadable = 0
        """Lines that are no panes."""
        self._path = path
        self._at = 0
        self._decoder = msgspec.json.Decoder(Pane)

    def new(self) -> list[Pane]:
        """Those that were appended since the last time."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:  # nothing was counted yet
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        return list(self._panes(whole))

    def _panes(self, lines: bytes) -> Iterator[Pane]:
        for line in lines.split(b"\n")[:-1]:
            try:
                yield self._decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                self.unreadable += 1
                _log.warning("a line of %s is no pane and is left out: %a", self._path, str(error)[:200])
