"""Counts of the live statistics: of a batch by window, their sums, and their panes."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC as UTC_ZONE
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.lake import MICROSECONDS, UTC, Dataset
from transforms.qualify import COUNTED, counted_as

Count = tuple[str, int | str | None, int]
"""Dataset (one of COUNTED, or dead_letters), violation code or area, number."""
Slice = tuple[list[Count], list[Count]]
"""Counts of a batch in one window, by code and by area."""
Slices = dict[int, Slice]
"""By start of the window, in seconds since the epoch."""
SliceBatch = Callable[[pa.RecordBatch, int], Slices]
PaneRows = Callable[[Iterable[Count]], Iterator[dict[str, Any]]]
Ints = npt.NDArray[np.int64]
AHEAD_SECONDS: Final = 3600
"""An event that is further ahead of its publication comes from a wrong clock. Its window would stay open until then,
perhaps to the year 2199, and each open window takes state and two timers."""
NOTHING: Final[dict[str, Any]] = {"dataset": None, "violation_code": None, "n": 0}
"""The counts of the pane that marks a window as complete."""


def slice_rows(rows: pa.RecordBatch, window_seconds: int) -> Slices:
    """Count a batch of rows by windows of event time. An area is the lake's, a square of 0.01 degrees:
    :func:`transforms.messages.rows.city_cells`."""
    starts, counted = _starts(rows["event_time"].cast(pa.int64()), window_seconds), counted_as(rows)
    by_code = _count(starts, counted, rows["violation_code"].dictionary_encode())
    by_area = _count(starts, counted, rows["area"])
    return {start: (counts, by_area[start]) for start, counts in by_code.items()}


def slice_letters(letters: pa.RecordBatch, window_seconds: int) -> Slices:
    """Count dead letters, which have no event time, by windows of publication time; those of a recording, which has
    none, by the time of this call."""
    published = letters["published_at"].cast(pa.int64()).fill_null(time.time_ns() // 1000)
    starts, numbers = np.unique(_starts(published, window_seconds), return_counts=True)
    counts = zip(starts.tolist(), numbers.tolist(), strict=True)
    return {start: ([(str(Dataset.DEAD_LETTERS), None, n)], []) for start, n in counts}


def split_ahead(rows: pa.RecordBatch, column: str) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """Split off rows whose time is more than :data:`AHEAD_SECONDS` after now or after their publication. They open no
    window: their time is replaced by that of publication, or now.

    Args:
        column: the time, of the event or of publication.

    Returns:
        The other rows, and those that were split off.
    """
    now = time.time_ns() // 1000
    times = rows[column].cast(pa.int64()).fill_null(now).to_numpy()
    since: Ints = np.full(len(times), now)
    if "published_at" in rows.schema.names:
        since = np.minimum(since, rows["published_at"].cast(pa.int64()).fill_null(now).to_numpy())
    ahead = times - since > AHEAD_SECONDS * MICROSECONDS
    if not ahead.any():
        return rows, rows.slice(0, 0)
    at = rows.schema.get_field_index(column)
    others = rows.set_column(at, rows.schema.field(at), pa.array(since).cast(UTC)).filter(pa.array(ahead))
    return rows.filter(pa.array(~ahead)), others


def _starts(micros: pa.Int64Array, window_seconds: int) -> Ints:
    seconds: Ints = micros.to_numpy() // MICROSECONDS
    return seconds - seconds % window_seconds


def _count(starts: Ints, counted: npt.NDArray[np.int8], which: pa.DictionaryArray) -> dict[int, list[Count]]:
    names = [*which.dictionary.to_pylist(), None]
    places = which.indices.fill_null(len(names) - 1).to_numpy()
    keys, numbers = np.unique((starts * len(COUNTED) + counted) * len(names) + places, return_counts=True)
    found: dict[int, list[Count]] = {}
    for key, n in zip(keys.tolist(), numbers.tolist(), strict=True):
        rest, place = divmod(key, len(names))
        start, what = divmod(rest, len(COUNTED))
        found.setdefault(start, []).append((COUNTED[what], names[place], n))
    return found


def add_counts(some: Iterable[list[Count]]) -> list[Count]:
    """The sums by dataset and code or area."""
    sums: Counter[tuple[str, int | str | None]] = Counter()
    for counts in some:
        for dataset, which, n in counts:
            sums[dataset, which] += n
    return [(dataset, which, n) for (dataset, which), n in sums.items()]


def panes_by_code(counts: Iterable[Count]) -> Iterator[dict[str, Any]]:
    """A row of a pane for each count by code."""
    for dataset, code, n in counts:
        yield {"dataset": dataset, "violation_code": code, "n": n}


def panes_by_area(counts: Iterable[Count]) -> Iterator[dict[str, Any]]:
    """A row of a pane for each dataset, with its counts by area; ``n`` is their sum."""
    found: dict[str, dict[Any, int]] = {}
    for dataset, area, n in counts:
        found.setdefault(dataset, {})[area] = n
    for dataset, areas in found.items():
        yield {"dataset": dataset, "violation_code": None, "n": sum(areas.values()), "areas": areas}


def pane_of(start: int, seconds: int, counts: dict[str, Any], timing: str) -> dict[str, Any]:
    """A pane of the window with this start (seconds since the epoch) and length (seconds)."""
    window = {"window_start": datetime.fromtimestamp(start, UTC_ZONE).isoformat(), "window_seconds": seconds}
    return {**window, **counts, "timing": timing}
