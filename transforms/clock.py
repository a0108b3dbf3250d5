"""New York's clock: local dates and minutes to UTC, and UTC to hours of the day."""

from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lake.layout import NEW_YORK
from schemas.lake import MICROSECONDS

EPOCH = date(1970, 1, 1)
NEVER = 24 * 60

PARTS_OF_DAY = ("morning", "afternoon", "other")
"""Morning is 6:00 to 12:59, afternoon 13:00 to 19:59 (New York), as the first analysis of FY2015 had them."""
PART_OF_HOUR = np.array([0 if 6 <= h < 13 else 1 if 13 <= h < 20 else 2 for h in range(24)], np.int8)

Ints = npt.NDArray[np.int64]


class Day(NamedTuple):
    """A local date as the clock needs it."""

    start: int
    """Seconds since the epoch of its midnight, as if New York were at UTC."""
    offset_before: int
    """UTC offset in seconds before ``switch``."""
    offset_after: int
    switch: int
    """The local minute from which ``offset_after`` holds; NEVER on most days."""
    gap: bool
    """Whether the hour before ``switch`` is left out (spring); else it happens twice (autumn)."""


@lru_cache(maxsize=1 << 16)
def day(value: date) -> Day:
    """What the clock does on a local date."""
    start = (value - EPOCH).days * 86_400
    before = _offset(datetime.combine(value, time(0), NEW_YORK))
    after = _offset(datetime.combine(value, time(23, 59), NEW_YORK))
    if before == after:
        return Day(start, before, after, NEVER, False)
    midnight = datetime.combine(value, time(0))
    # With fold=0 a time that is left out, and the first of two, still have the offset of before.
    switch = next(
        minute
        for minute in range(NEVER)
        if _offset((midnight + timedelta(minutes=minute)).replace(tzinfo=NEW_YORK)) == after
    )
    return Day(start, before, after, switch, after > before)


def to_utc(days: Ints, minutes: Ints, table: list[Day]) -> tuple[Ints, Ints, Ints]:
    """Local times to UTC.

    Args:
        days: for each row, the index of its date in ``table``.
        minutes: for each row, the minutes since midnight.
        table: the distinct dates.

    Returns:
        Microseconds since the epoch; the rows whose local time the clock change leaves out (moved on by an
        hour); the rows whose local time happens twice (the first is taken).
    """
    columns = np.array([d[:4] for d in table], np.int64).reshape(-1, 4)
    start, before = columns[days, 0], columns[days, 1]
    seconds = start + minutes * 60 - before
    gap_rows = twice_rows = np.empty(0, np.int64)
    changing = np.flatnonzero(columns[:, 3] < NEVER)
    if len(changing):
        rows = np.flatnonzero(np.isin(days, changing))
        switch, local = columns[days[rows], 3], minutes[rows]
        later = rows[local >= switch]
        seconds[later] = start[later] + minutes[later] * 60 - columns[days[later], 2]
        gap = np.array([d.gap for d in table])[days[rows]]
        hour_before = (local >= switch - 60) & (local < switch)
        gap_rows, twice_rows = rows[hour_before & gap], rows[hour_before & ~gap]
    return seconds * MICROSECONDS, gap_rows, twice_rows


def part_of_day(event_time: Ints) -> npt.NDArray[np.int8]:
    """The index in PARTS_OF_DAY of UTC times (microseconds)."""
    # Arrow's own clock knows no daylight time after 2037.
    hours, index = np.unique(event_time // (3600 * MICROSECONDS), return_inverse=True)
    local = [datetime.fromtimestamp(hour * 3600, NEW_YORK).hour for hour in hours.tolist()]
    return PART_OF_HOUR[np.array(local, np.int64)][index]


def _offset(local: datetime) -> int:
    offset = local.utcoffset()
    assert offset is not None, "NEW_YORK is a time zone"
    return int(offset.total_seconds())
