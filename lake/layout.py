"""The paths of the lake's files, and the New York months that partition them."""

import re
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from schemas.history import TIME_ZONE
from schemas.lake import CHANGES, LEDGER, Dataset, Source

NEW_YORK = ZoneInfo(TIME_ZONE)
CHANGE: Final = "change-"
"""Prefix of the names of changes and of their files."""
_PART = re.compile(r"\.part-\d{5}(?=$|\.found-)")
_FOUND = re.compile(r"\.found-[0-9a-f]{16}$")


def partitions(dataset: Dataset) -> tuple[str, ...]:
    """The hive partitions of a dataset: dead letters have no event, a unit's statistics are one small file."""
    return ("source",) if dataset in (Dataset.DEAD_LETTERS, Dataset.STATS) else ("source", "month")


def data_path(dataset: Dataset, source: Source, unit: str, month: str | None) -> str:
    """The path below the lake's root of a unit's file: ``qualified/source=history/month=2015-01/UNIT.parquet``.

    The month is that of a dataset that is partitioned by it.
    """
    partition = f"/month={month}" if month else ""
    return f"{dataset}/source={source}{partition}/{unit}.parquet"


def part_name(unit: str, part: int) -> str:
    """The file name of a unit's part; that of the first part, often the only one, is the unit's name.

    >>> part_name("drones-00000-ab", 0), part_name("drones-00000-ab", 2)
    ('drones-00000-ab', 'drones-00000-ab.part-00002')
    """
    return f"{unit}.part-{part:05d}" if part else unit


def found_name(name: str, found: str) -> str:
    """The file name of a unit's part whose rows depend on which uploaded pictures an attempt has found: attempts that
    have found others write other files, of which the ledger names one.

    Args:
        found: 16 hexadecimal digits of a hash of the rows.
    """
    return f"{name}.found-{found}"


def depends_on_pictures(path: str) -> bool:
    """Whether the file has a name of :func:`found_name`."""
    return _FOUND.search(path.removesuffix(".parquet")) is not None


def unit_of(path: str) -> str:
    """The unit that wrote the file of this path, or the name of a file of a change.

    >>> unit_of("dead_letters/source=drones/drones-00000-ab.part-00002.parquet")
    'drones-00000-ab'
    >>> unit_of("images/source=images/month=2026-01/images-00000-ab.part-00002.found-0123456789abcdef.parquet")
    'images-00000-ab'
    """
    return _PART.sub("", _FOUND.sub("", PurePosixPath(path).name.removesuffix(".parquet")))


def is_part(path: str) -> bool:
    """Whether the file is one of several parts of what would be one file."""
    return _PART.search(path.removesuffix(".parquet")) is not None


def is_history(path: str) -> bool:
    """Whether a file of a dataset has rows of the history, none of which arrives twice."""
    return f"/source={Source.HISTORY}/" in path


def is_object(path: str) -> bool:
    """Whether a path is that of a picture or of a large payload, which rows name.

    >>> is_object("pictures/0a/0abc.jpg"), is_object("stats/source=drones/a.parquet")
    (True, False)
    """
    return path.startswith(("pictures/", "payloads/"))


def ledger_path(source: Source, unit: str) -> str:
    """The path of the file that commits the unit."""
    return f"{LEDGER}/source={source}/{unit}.parquet"


def change_path(number: int) -> str:
    """The path of the file that commits the change of this number; the first is 1."""
    return f"{LEDGER}/source={CHANGES}/{CHANGE}{number:06d}.parquet"


def months(event_time: npt.NDArray[np.int64]) -> list[tuple[str, int, int]]:
    """The New York months of sorted event times (microseconds, UTC): ``("2015-01", start row, end row)``."""
    if not len(event_time):
        return []
    first, last = (datetime.fromtimestamp(int(t) / 1e6, NEW_YORK) for t in (event_time[0], event_time[-1]))
    starts = [date(y, m, 1) for y in range(first.year, last.year + 1) for m in range(1, 13)]
    starts = [d for d in starts if (first.year, first.month) <= (d.year, d.month) <= (last.year, last.month)]
    instants = [round(datetime(d.year, d.month, 1, tzinfo=NEW_YORK).timestamp() * 1e6) for d in starts]
    bounds = [*np.searchsorted(event_time, instants[1:]), len(event_time)]
    begins = [0, *bounds[:-1]]
    return [(f"{d:%Y-%m}", int(a), int(b)) for d, a, b in zip(starts, begins, bounds, strict=True) if b > a]
