"""What is measured of a run, all of it in one place."""

import time
from pathlib import Path
from typing import NamedTuple

from pipelines.cli.commit_progress import Committed
from runners.live.figures import Figures, Rates, told
from runners.live.panes import Tail, Window, Windows
from schemas.lake import Dataset
from sources.units import ROWS_IN


class Seen(NamedTuple):
    """The figures of one moment."""

    seconds: float
    """Since the run began."""
    started: bool
    """Whether the graph has said something."""
    messages_per_second: float
    bytes_per_second: float
    behind: int | None
    """Messages that are published and not planned; None where the service does not tell."""
    lag_seconds: float
    """Between now and the publish time up to which everything is planned."""
    under_way: int
    """Units that are planned and not committed."""
    read: int
    units: int
    files: int
    rows: int
    """Committed, as are the three before and the next one."""
    dead_letters: int
    late: int
    too_late: int
    complete: Window | None
    filling: Window | None


class Measured:
    """Looks at the graph's figures, at the panes that it writes, and at what is committed.

    Args:
        stream: the service; Pub/Sub does not tell how many messages wait.
    """

    def __init__(self, figures: Path, panes: Path, committed: Committed, stream: str) -> None:
        self.committed = committed
        self.windows = Windows()
        self.figures: Figures | None = None
        self._path = figures
        self._panes = Tail(panes)
        self._rates = Rates()
        self._tells_behind = stream != "pubsub"
        self._began = time.monotonic()

    def look(self) -> Seen:
        """Take the latest of everything but the ledger."""
        self.figures = told(self._path)
        if self.figures:
            self._rates.add(self.figures)
        for pane in self._panes.new():
            self.windows.add(pane)
        return self._seen()

    def _seen(self) -> Seen:
        lags = self.figures.lag.values() if self.figures else ()
        return Seen(
            seconds=time.monotonic() - self._began,
            started=bool(lags),
            messages_per_second=self._rates.messages,
            bytes_per_second=self._rates.bytes,
            behind=sum(lag.messages for lag in lags) if self._tells_behind else None,
            lag_seconds=max((lag.seconds for lag in lags), default=0.0),
            under_way=sum(lag.units for lag in lags),
            read=sum(self.figures.read.values()) if self.figures else 0,
            units=self.committed.units,
            files=self.committed.files,
            rows=self.committed.of(ROWS_IN),
            dead_letters=self.committed.of(Dataset.DEAD_LETTERS),
            late=self.windows.late,
            too_late=self.windows.too_late,
            complete=self.windows.complete,
            filling=self.windows.filling,
        )
