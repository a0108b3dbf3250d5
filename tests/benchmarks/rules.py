"""The product's rules of repair, asked once for each distinct text: what every native job looks its values up in.

Needs no data frame library, so that no job pays for the start of another's.
"""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from schemas.history import BLANK_PLATES, TIME_ZONE, Reason, Repair, column_key
from transforms.history.repair import repair_code, repair_county, repair_date, repair_time, whole_number

TEXTS: Final = {
    "issue_date_text": "Issue Date",
    "violation_time_text": "Violation Time",
    "street": "Street Name",
    "agency": "Issuing Agency",
    "registration_state": "Registration State",
    "plate_type": "Plate Type",
    "vehicle_body": "Vehicle Body Type",
    "vehicle_make": "Vehicle Make",
    "vehicle_color": "Vehicle Color",
    "plate_id": "Plate ID",
    "house_number": "House Number",
}
"""Columns that are written as they stand in the file (a blank plate aside)."""
INPUTS: Final = {
    "summons": "Summons Number",
    "code": "Violation Code",
    "county_text": "Violation County",
    "precinct_text": "Violation Precinct",
    "year_text": "Vehicle Year",
}
"""Columns that are read for what they mean."""
NAMES: Final = {column_key(theirs): ours for ours, theirs in (TEXTS | INPUTS).items()}
OUTPUT: Final = (
    "record", "event_time", "violation_code", "area", "plate_id", "repairs", "summons_number", "issue_date_text",
    "violation_time_text", "county", "precinct", "street", "house_number", "agency", "registration_state",
    "plate_type", "vehicle_body", "vehicle_make", "vehicle_color", "vehicle_year",
)  # fmt: skip
"""The columns of ``schemas.lake.VIOLATION`` that the history fills, less ``unit``."""

REPAIRS: Final = tuple(value for name, value in vars(Repair).items() if name.isupper())
REASONS: Final = tuple(value for name, value in vars(Reason).items() if name.isupper())
BLANKS: Final = sorted({spelling for blank in BLANK_PLATES for spelling in (blank, blank.lower(), blank.title())})
ODD_PLATE: Final = "[^A-Za-z0-9 -]"
_HOURS: Final = {"morning": range(6, 13), "afternoon": range(13, 20)}
NEVER: Final = 1 << 20
"""Later than any minute of a day."""

_CACHE: Final = 1 << 16
_EPOCH: Final = date(1970, 1, 1)
_NEW_YORK: Final = ZoneInfo(TIME_ZONE)


class Time(NamedTuple):
    """What a text of a time means; ``reason`` is 0 or one more than its place in REASONS."""

    minutes: int
    part: str
    """The part of the day; of a time in the hour that the clock leaves out, too, since it stays in its part."""
    bits: int
    reason: int


class Date(NamedTuple):
    """What a text of a date means; the seconds are those of its midnight, as if New York were at UTC."""

    start: int
    before: int
    after: int
    switch: int
    """The minute from which the offset ``after`` holds."""
    moved: int
    """The bit of the repair for a time in the hour before ``switch``."""
    month: int
    """Years times 12, plus the month from 0."""
    bits: int
    reason: int


class Code(NamedTuple):
    """What a text of a violation code means."""

    code: int
    reason: int


class Number(NamedTuple):
    """What a text of an optional number means."""

    number: int | None
    bits: int


class County(NamedTuple):
    """What a text of a county means."""

    county: str | None
    bits: int


def columns_of(path: str) -> list[str]:
    """The header of a file, with our names for the columns that a job reads."""
    with open(path, encoding="utf-8-sig") as file:
        header = file.readline().rstrip("\r\n").split(",")
    return [NAMES.get(column_key(name), name) for name in header]


def bit(repair: str | None) -> int:
    """The repair as a bit of a mask."""
    return 1 << REPAIRS.index(repair) if repair else 0


def repairs_of(mask: int) -> list[str]:
    """The names of the repairs in a mask, in the order of the rules."""
    return [name for place, name in enumerate(REPAIRS) if mask >> place & 1]


def reason_number(reason: str | None) -> int:
    """0 for no reason."""
    return REASONS.index(reason) + 1 if reason else 0


@lru_cache(_CACHE)
def time_of(text: str | None) -> Time:
    """What the rules make of ``Violation Time``."""
    value = repair_time(text)
    hour = value.minutes // 60
    part = next((name for name, hours in _HOURS.items() if hour in hours), "other")
    return Time(value.minutes, part, bit(value.repair), reason_number(value.reason))


@lru_cache(_CACHE)
def date_of(text: str | None) -> Date:
    """What the rules make of ``Issue Date``, and what New York's clock does on that day."""
    value = repair_date(text)
    if value.value is None:
        return Date(0, 0, 0, NEVER, 0, 0, 0, reason_number(value.reason))
    start = (value.value - _EPOCH).days * 86_400
    month = value.value.year * 12 + value.value.month - 1
    return Date(start, *_clock(value.value), month, bit(value.repair), 0)


@lru_cache(_CACHE)
def _clock(day: date) -> tuple[int, int, int, int]:
    midnight = datetime.combine(day, time(0))
    before, after = _offset(midnight), _offset(midnight + timedelta(hours=23, minutes=59))
    if before == after:
        return before, after, NEVER, 0
    switch = next(minute for minute in range(1440) if _offset(midnight + timedelta(minutes=minute)) == after)
    return before, after, switch, bit(Repair.DST_GAP if after > before else Repair.DST_TWICE)


def _offset(local: datetime) -> int:
    offset = local.replace(tzinfo=_NEW_YORK).utcoffset()
    assert offset is not None, "New York has a time zone"
    return int(offset.total_seconds())


@lru_cache(_CACHE)
def code_of(text: str | None) -> Code:
    """What the rules make of ``Violation Code``."""
    value = repair_code(text)
    return Code(value.value or 0, reason_number(value.reason))


@lru_cache(_CACHE)
def number_of(text: str | None) -> Number:
    """What the rules make of an optional number of 16 bits."""
    if text is None:
        return Number(None, 0)
    number = whole_number(text)
    if number is None or not -(1 << 15) <= number < 1 << 15:
        return Number(None, bit(Repair.NUMBER_UNREADABLE))
    return Number(number, 0)


@lru_cache(_CACHE)
def county_of(text: str | None) -> County:
    """What the rules make of ``Violation County``."""
    if text is None:
        return County(None, 0)
    county, repair = repair_county(text)
    return County(county, bit(repair) | (bit(Repair.TRIMMED) if text != text.strip() else 0))


def month_runs(lengths: list[int], months: list[int]) -> Iterator[tuple[str, int, int]]:
    """The months of sorted rows, from their run lengths: ``("2015-01", first row, rows)``."""
    first = 0
    for length, month in zip(lengths, months, strict=True):
        yield f"{month // 12}-{month % 12 + 1:02d}", first, length
        first += length
