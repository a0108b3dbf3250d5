"""New York local time to UTC: one time at a time, or a table of whole days."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from schemas.history import TIME_ZONE, Repair

DAY_MINUTES: Final = 24 * 60
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
REPAIRS: Final = (None, Repair.DST_GAP, Repair.DST_TWICE)
"""The repairs by the numbers of :func:`utc_table`."""

_ZONE: Final = ZoneInfo(TIME_ZONE)


def to_utc(day: date, minute: int) -> tuple[int, str | None]:
    """``minute`` of a New York ``day`` as minutes since 1970 in UTC, and the repair that it took.

    A time in the gap is an hour later, and of an ambiguous time the first is taken: both are what ``fold=0`` means.
    """
    local = datetime(day.year, day.month, day.day) + timedelta(minutes=minute)
    first = local.replace(tzinfo=_ZONE).astimezone(UTC)
    second = local.replace(tzinfo=_ZONE, fold=1).astimezone(UTC)
    repair = None
    if first.astimezone(_ZONE).replace(tzinfo=None) != local:
        repair = Repair.DST_GAP
    elif first != second:
        repair = Repair.DST_TWICE
    return (first - EPOCH) // timedelta(minutes=1), repair


def utc_table(days: Sequence[date]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Each minute of each day as minutes since 1970 in UTC, and its repair as an index into :data:`REPAIRS`.

    Both have the shape ``(len(days) * 1440,)``.
    """
    utc = np.empty((len(days), DAY_MINUTES), dtype=np.int64)
    repairs = np.zeros((len(days), DAY_MINUTES), dtype=np.uint8)
    for row, day in enumerate(days):
        start, _ = to_utc(day, 0)
        end, _ = to_utc(day + timedelta(days=1), 0)
        if end - start == DAY_MINUTES:
            utc[row] = start + np.arange(DAY_MINUTES)
            continue
        for minute in range(DAY_MINUTES):
            utc[row, minute], repair = to_utc(day, minute)
            repairs[row, minute] = REPAIRS.index(repair)
    return utc.ravel(), repairs.ravel()
