"""The metrics of a live run: how far the graph is, its live windows, what is committed, and how well it runs."""

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import msgspec

from pipelines.cli.commit_progress import Committed
from schemas.lake import ROWS_IN, Dataset, Source
from schemas.panes import AHEAD_SECONDS, FLEET_LINE, Pane
from sources.progress import Lag, progress

RATE_SECONDS = 5
"""Rates are averages of so many seconds."""
STREAMS = frozenset({Source.DRONES, Source.IMAGES})
"""What the graph reads."""
SILENT_SECONDS = (10, 30)
"""So long after the last report of the graph, which comes every second, the state is amber, and red."""
LAG_SECONDS = (30, 60)
"""The same for the lag."""

_log = logging.getLogger(__name__)


class GraphProgress(msgspec.Struct, frozen=True):
    """How far the graph is. Its process writes it to a small file every half second; counts are since it began."""

    at: float
    """When it was written, in seconds since the epoch."""
    read: dict[str, int]
    """Messages by source."""
    read_bytes: int
    lag: dict[str, Lag]
    """By source."""
    lag_at: dict[str, float]
    """When each was reported; a service that does not answer stops the reports, and not this file."""

    def is_drained(self, since: float) -> bool:
        """Whether everything that was published before ``since`` is in the lake; not before each stream reports."""
        is_reported = self.lag.keys() >= STREAMS
        return is_reported and all(lag.until >= since and not lag.units for lag in self.lag.values())


def write_progress(path: Path) -> None:
    """Write the progress of this process."""
    now = GraphProgress(
        time.time(), dict(progress.read), progress.message_bytes, dict(progress.lag), dict(progress.lag_at)
    )
    new = path.with_suffix(".new")
    new.write_bytes(msgspec.json.encode(now))
    os.replace(new, path)


def read_progress(path: Path) -> GraphProgress | None:
    """The progress that was written last; None before the first time."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=GraphProgress)
    except FileNotFoundError:
        return None


class Rates:
    """Counts -> counts a second."""

    def __init__(self) -> None:
        self._samples: deque[GraphProgress] = deque()

    def add(self, sample: GraphProgress) -> None:
        """Add the latest sample."""
        if self._samples and sample.at <= self._samples[-1].at:
            return
        self._samples.append(sample)
        while len(self._samples) > 2 and self._samples[1].at <= sample.at - RATE_SECONDS:
            self._samples.popleft()

    @property
    def messages(self) -> float:
        """Messages of all streams a second."""
        return self._per_second([sum(sample.read.values()) for sample in self._samples])

    @property
    def bytes(self) -> float:
        """Bytes a second."""
        return self._per_second([sample.read_bytes for sample in self._samples])

    def _per_second(self, counts: list[int]) -> float:
        if len(counts) < 2:
            return 0.0
        return (counts[-1] - counts[0]) / (self._samples[-1].at - self._samples[0].at)


@dataclass
class Window:
    """The counts of one window so far."""

    start: datetime
    seconds: int
    complete: bool = False
    """Whether the watermark has passed its end."""
    rows: Counter[str] = field(default_factory=Counter)
    """By dataset."""
    codes: Counter[int] = field(default_factory=Counter)
    """Qualified violations."""


class Windows:
    """The last complete window and the newer ones, and the count of late data."""

    def __init__(self) -> None:
        self.late = 0
        """Rows that came after the watermark and were added to their window."""
        self.too_late = 0
        """Rows that came after the allowed lateness and are in no window."""
        self._windows: dict[datetime, Window] = {}

    def add(self, pane: Pane) -> None:
        """Add a pane to its window. A pane by area has the rows of other panes and is skipped."""
        if pane.areas is not None:
            return
        if pane.timing == "late":
            self.late += pane.n
        elif pane.timing == "too_late":
            self.too_late += pane.n
            return
        elif pane.timing == "ahead":  # from a drone with a wrong clock
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
        """The newest complete window."""
        return self._newest(complete=True)

    @property
    def filling(self) -> Window | None:
        """The newest window that is not complete."""
        return self._newest(complete=False)

    def _newest(self, complete: bool) -> Window | None:
        found = [start for start, window in self._windows.items() if window.complete is complete]
        return self._windows[max(found)] if found else None


class PaneFile:
    """Reads the panes that are appended to a file, each once and when its line is complete. A line that is not a pane,
    such as one that a full disk cut, is counted and logged."""

    def __init__(self, path: Path) -> None:
        self.unreadable = 0
        """Lines that are not panes."""
        self._path = path
        self._at = 0
        self._decoder = msgspec.json.Decoder(Pane)

    def read_new(self) -> list[Pane]:
        """The panes that were appended since the last call."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                data = file.read()
        except FileNotFoundError:  # there was no pane yet
            return []
        complete = data[: data.rfind(b"\n") + 1]
        self._at += len(complete)
        return list(self._panes(complete))

    def _panes(self, lines: bytes) -> Iterator[Pane]:
        for line in lines.split(b"\n")[:-1]:
            if line.startswith(FLEET_LINE):  # for the console
                continue
            try:
                yield self._decoder.decode(line)
            except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
                self.unreadable += 1
                _log.warning("skipped a line of %s that is not a pane: %a", self._path, str(error)[:200])


class Snapshot(NamedTuple):
    """All metrics at one moment."""

    seconds: float
    """Since the run began."""
    started: bool
    """Whether the graph, this one or one that ended, has reported any progress."""
    messages_per_second: float
    bytes_per_second: float
    behind: int | None
    """Messages that are published and not planned; None where the service does not report them."""
    lag_seconds: float
    """Between now and the publish time up to which everything is planned: it grows while nothing is reported."""
    silent_seconds: float
    """Since the graph's last report of its lag; 0 before the first one."""
    uncommitted: int
    """Units that are planned and not committed."""
    read: int
    units: int
    """Committed, as are the files, the rows and the dead letters."""
    files: int
    rows: int
    dead_letters: int
    late: int
    too_late: int
    complete: Window | None
    filling: Window | None


class Level(StrEnum):
    """How well the run is."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


class State(NamedTuple):
    """How well the run is, and why."""

    level: Level
    text: str


def state_of(now: Snapshot, problems: Sequence[str], warnings: Sequence[str] = ()) -> State:
    """The state of the run: a problem, which names a part that does not run, makes it red, a warning amber."""
    if not now.started:
        return State(Level.RED, "; ".join(problems)) if problems else State(Level.AMBER, "the graph is starting")
    measured = (
        (now.silent_seconds, SILENT_SECONDS, f"no data for {now.silent_seconds:.0f} s"),
        (now.lag_seconds, LAG_SECONDS, f"lag {now.lag_seconds:.0f} s"),
    )
    reasons = [*problems, *warnings, *(text for seconds, (amber, _), text in measured if seconds > amber)]
    if problems or any(seconds > red for seconds, (_, red), _ in measured):
        return State(Level.RED, "; ".join(reasons))
    return State(Level.AMBER, "; ".join(reasons)) if reasons else State(Level.GREEN, "messages are stored as they come")


class Metrics:
    """Reads the graph's progress and panes; ``committed`` reads the ledger.

    Args:
        stream: the service; Pub/Sub does not report how many messages wait.
    """

    def __init__(self, progress_file: Path, panes: Path, committed: Committed, stream: str) -> None:
        self.committed = committed
        self.windows = Windows()
        self.progress: GraphProgress | None = None
        self._path = progress_file
        self._panes = PaneFile(panes)
        self._rates = Rates()
        self._read_before: Counter[str] = Counter()
        self._lags: list[Lag] = []
        self._lag_at: float | None = None
        self._has_backlog = stream != "pubsub"
        self._began = time.monotonic()

    def update(self) -> Snapshot:
        """Read everything that is new but the ledger."""
        before, self.progress = self.progress, read_progress(self._path)
        if before and self.progress and any(self.progress.read.get(key, 0) < n for key, n in before.read.items()):
            self._read_before.update(before.read)  # the graph was started again, and counts from 0
            self._rates = Rates()
        if self.progress:
            self._rates.add(self.progress)
            if self.progress.lag:
                self._lags, self._lag_at = list(self.progress.lag.values()), min(self.progress.lag_at.values())
        for pane in self._panes.read_new():
            self.windows.add(pane)
        return self._snapshot()

    @property
    def read(self) -> Counter[str]:
        """Messages by source, of every graph of the run; what was not committed before a restart is read again."""
        return self._read_before + Counter(self.progress.read if self.progress else {})

    def _snapshot(self) -> Snapshot:
        lags, now = self._lags, time.time()
        is_writing = self.progress is not None and now - self.progress.at < RATE_SECONDS
        return Snapshot(
            seconds=time.monotonic() - self._began,
            started=bool(lags),
            messages_per_second=self._rates.messages if is_writing else 0.0,
            bytes_per_second=self._rates.bytes if is_writing else 0.0,
            behind=sum(lag.messages for lag in lags) if self._has_backlog else None,
            lag_seconds=max((lag.seconds for lag in lags), default=0.0),
            silent_seconds=0.0 if self._lag_at is None else max(now - self._lag_at, 0.0),
            uncommitted=sum(lag.units for lag in lags),
            read=self.read.total(),
            units=self.committed.units,
            files=self.committed.files,
            rows=self.committed.of(ROWS_IN),
            dead_letters=self.committed.of(Dataset.DEAD_LETTERS),
            late=self.windows.late,
            too_late=self.windows.too_late,
            complete=self.windows.complete,
            filling=self.windows.filling,
        )
