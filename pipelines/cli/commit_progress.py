"""What a run has committed so far: the new rows of the lake's ledger, each read once."""

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow.compute as pc

from lake import Lake
from lake.news import committed_since, mark
from schemas.errors import PrestaCopError, ServiceUnavailable
from schemas.lake import ROWS_IN, ROWS_OUT

COUNTS = (ROWS_IN, *ROWS_OUT)
"""The columns that are added up."""
EVERY_SECONDS = 2.0
SHARE = 0.1
"""The share of the time that may be spent on listing: a ledger of many units takes long."""
LONGEST_SECONDS = 10.0
"""Between two refreshes, however long one took: it may have waited for a service that was away."""


class Committed:
    """Sums over the units that were committed since this object was made.

    Raises:
        ServiceUnavailable, OutputUnusable: the lake cannot be read.
    """

    def __init__(self, root: str) -> None:
        self.units = 0
        self.files = 0
        self.rows: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """By source, and by column of the ledger."""
        self._root = root
        lk = Lake(root)
        self._mark, self._last_change = mark(lk), lk.number
        self._lock = threading.Lock()

    def refresh(self) -> None:
        """Add what is new. Raises ServiceUnavailable."""
        with self._lock:
            try:
                self._add_new()
            except OSError as error:
                raise ServiceUnavailable(f"the ledger of {self._root} cannot be read: {error}") from error

    def of(self, column: str) -> int:
        """The sum of a column over all sources."""
        return sum(rows[column] for rows in list(self.rows.values()))

    def _add_new(self) -> None:
        lk = Lake(self._root)
        table = committed_since(lk, self._mark).select(["source", "files", *COUNTS])
        moves = lk.changes_since(self._last_change)["moves"].to_pylist()
        self._mark, self._last_change = mark(lk), lk.number
        self.units += table.num_rows
        self.files += pc.sum(pc.list_value_length(table["files"])).as_py() or 0
        for row in table.drop_columns("files").to_pylist():
            self.rows[row.pop("source")].update(row)
        for move in (move for moved in moves for move in moved or ()):  # copies that a publication has found
            rows = self.rows[move["unit"].partition("-")[0]]
            rows.update({move["out_of"]: -move["rows"], move["into"]: move["rows"]})


def pause(took: float) -> float:
    """How many seconds after a refresh that took so long the next one follows.

    >>> [pause(took) for took in (0.05, 0.5, 60)]
    [2.0, 5.0, 10.0]
    """
    return min(max(EVERY_SECONDS, took / SHARE), LONGEST_SECONDS)


@contextmanager
def kept_up_to_date(committed: Committed) -> Iterator[None]:
    """Refresh it every few seconds, in a thread, while the body runs."""
    done = threading.Event()

    def refresh_again() -> None:
        wait = EVERY_SECONDS
        while not done.wait(wait):
            began = time.monotonic()
            try:
                committed.refresh()
            except PrestaCopError:
                continue  # the graph needs the same service, and reports the outage
            wait = pause(time.monotonic() - began)

    threading.Thread(target=refresh_again, daemon=True).start()
    try:
        yield
    finally:
        done.set()
