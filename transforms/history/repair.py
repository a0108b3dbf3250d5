"""Repair of one value: pure functions from the text of a cell to what it means, and the rule that was used.

They are called once for each distinct text of a block, never once a row.
"""

import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache, wraps
from typing import Any, Final, NamedTuple, TypeVar

from schemas.history import COUNTY_ALIASES, PLACEHOLDERS, Reason, Repair
from schemas.messages import MAX_CODE

_CACHE: Final = 1 << 16

_TIME: Final = re.compile(r"(\d{2})(\d{2})([AP])", re.ASCII)
_TIME_BLANK_HOUR: Final = re.compile(r"(?:(\d) | (\d))(\d{2})([AP])", re.ASCII)
_TIME_LOST_ZERO: Final = re.compile(r"(\d)(\d{2})([AP])", re.ASCII)
_TIME_NO_SUFFIX: Final = re.compile(r"(\d{2})(\d{2})", re.ASCII)
_TIME_SPELLING: Final = re.compile(r"(\d{1,2}):?(\d{2})(?::00)? ?([AP])M?", re.ASCII)
_DATE: Final = re.compile(
    r"(\d{1,2})/(\d{1,2})/(\d{4}|\d{2})( (?:0?0:00(?::00)?|12:00(?::00)? ?AM))?", re.ASCII | re.IGNORECASE
)
_DATE_ISO: Final = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:[T ]00:00:00(?:\.0+)?Z?)?", re.ASCII)
_POINT_ZERO: Final = re.compile(r"(-?\d+)\.0+", re.ASCII)
_COUNTIES: Final = {code: code for code in COUNTY_ALIASES} | {
    alias: code for code, aliases in COUNTY_ALIASES.items() for alias in aliases
}
PLATE_LETTERS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 -")


T = TypeVar("T")
MAX_CACHED_CHARS: Final = 100
"""Longer texts are no dates or codes; a cache of them would be as large as the file."""


def _cached(rule: Callable[[Any], T]) -> Callable[[Any], T]:
    """The rule, with a cache of its results for short texts."""
    known = lru_cache(_CACHE)(rule)

    @wraps(rule)
    def look(text: str | None) -> T:
        return known(text) if text is None or len(text) <= MAX_CACHED_CHARS else rule(text)

    return look


class Text(NamedTuple):
    """A text as it is before any rule of its column, and what it took."""

    value: str | None
    repairs: tuple[str, ...] = ()


class Time(NamedTuple):
    """Minutes since midnight, or the reason why there are none."""

    minutes: int
    repair: str | None = None
    reason: str | None = None


class Date(NamedTuple):
    """A local date, or the reason why there is none."""

    value: date | None
    repair: str | None = None
    reason: str | None = None


class Number(NamedTuple):
    """A whole number, or the reason why there is none."""

    value: int | None
    reason: str | None = None
    repair: str | None = None


@_cached
def clean_text(text: str | None) -> Text:
    """Take off what no column means: blanks around it, a placeholder for no value, the ``.0`` of a whole number.

    >>> clean_text(" 33.0")
    Text(value='33', repairs=('text_trimmed', 'number_point_zero'))
    >>> clean_text("NULL")
    Text(value=None, repairs=('placeholder',))
    """
    if text is None:
        return Text(None)
    value = text.strip()
    repairs = (Repair.TRIMMED,) if value != text else ()
    if value.upper() in PLACEHOLDERS:
        return Text(None, (*repairs, Repair.PLACEHOLDER))
    if found := _POINT_ZERO.fullmatch(value):
        return Text(found[1], (*repairs, Repair.POINT_ZERO))
    return Text(value or None, repairs)


@_cached
def clean_time(text: str) -> Text:
    """The same for ``Violation Time``, where a blank may replace a digit: blanks are left to its own rules."""
    clean = clean_text(text)
    return clean if set(clean.repairs) - {Repair.TRIMMED} else Text(text)


@_cached
def repair_time(text: str | None) -> Time:
    """``Violation Time``: ``HHMM`` and A or P, with the dirt that :class:`schemas.history.Repair` names.

    >>> repair_time("0143P")
    Time(minutes=823, repair=None, reason=None)
    >>> repair_time("1649P")
    Time(minutes=1009, repair='time_24h_with_suffix', reason=None)
    >>> repair_time("+..A").reason
    'time_unreadable'
    """
    if text is None or not text.strip():
        return Time(-1, reason=Reason.TIME_MISSING)
    if found := _TIME.fullmatch(text):
        return _suffixed(int(found[1]), int(found[2]), found[3], None)
    if found := _TIME_BLANK_HOUR.fullmatch(text):
        return _suffixed(int(found[1] or found[2]), int(found[3]), found[4], Repair.TIME_BLANK_HOUR)
    if found := _TIME_LOST_ZERO.fullmatch(text):
        return _suffixed(int(found[1]), int(found[2]), found[3], Repair.TIME_LOST_ZERO)
    if found := _TIME_NO_SUFFIX.fullmatch(text):
        return _checked(int(found[1]), int(found[2]), Repair.TIME_NO_SUFFIX)
    trimmed = text.strip().upper()
    if trimmed != text and (found := _TIME.fullmatch(trimmed)):
        return _suffixed(int(found[1]), int(found[2]), found[3], Repair.TIME_TRIMMED)
    if found := _TIME_SPELLING.fullmatch(trimmed):
        return _suffixed(int(found[1]), int(found[2]), found[3], Repair.TIME_SPELLING)
    return Time(-1, reason=Reason.TIME_UNREADABLE)


def _suffixed(hour: int, minute: int, suffix: str, repair: str | None) -> Time:
    if suffix == "A":
        if hour > 12 and hour < 24:
            return Time(-1, reason=Reason.TIME_CONTRADICTORY)
        return _checked(0 if hour == 12 else hour, minute, repair)
    if hour == 0:
        return _checked(12, minute, repair or Repair.TIME_ZERO_HOUR_PM)
    if hour > 12:
        return _checked(hour, minute, repair or Repair.TIME_24H)
    return _checked(12 if hour == 12 else hour + 12, minute, repair)


def _checked(hour: int, minute: int, repair: str | None) -> Time:
    if hour > 23 or minute > 59:
        return Time(-1, reason=Reason.TIME_OUT_OF_RANGE)
    return Time(hour * 60 + minute, repair)


@_cached
def repair_date(text: str | None) -> Date:
    """``Issue Date``: ``MM/DD/YYYY``; of two digits, 69 to 99 are of the last century (as POSIX reads ``%y``).

    >>> repair_date("7/6/23")
    Date(value=datetime.date(2023, 7, 6), repair='date_two_digit_year', reason=None)
    """
    if text is None or not text.strip():
        return Date(None, reason=Reason.DATE_MISSING)
    repair: str | None = None
    if found := _DATE.fullmatch(text.strip()):
        month, day, year = int(found[1]), int(found[2]), int(found[3])
        if len(found[3]) == 2:
            year, repair = year + (2000 if year < 69 else 1900), Repair.DATE_TWO_DIGIT_YEAR
        elif found[4]:
            repair = Repair.DATE_MIDNIGHT
        elif len(found[1]) == 1 or len(found[2]) == 1:
            repair = Repair.DATE_UNPADDED
    elif found := _DATE_ISO.fullmatch(text.strip()):
        year, month, day, repair = int(found[1]), int(found[2]), int(found[3]), Repair.DATE_ISO
    else:
        return Date(None, reason=Reason.DATE_UNREADABLE)
    try:
        value = date(year, month, day)
    except ValueError:
        return Date(None, reason=Reason.DATE_OUT_OF_RANGE)
    if not 1900 <= year <= 2199:
        return Date(None, reason=Reason.DATE_OUT_OF_RANGE)
    return Date(value, repair)


@_cached
def repair_code(text: str | None) -> Number:
    """``Violation Code``: 0 (not qualified) to 99."""
    if text is None or not text.strip():
        return Number(None, Reason.CODE_MISSING)
    code = whole_number(text)
    if code is None:
        return Number(None, Reason.CODE_UNREADABLE)
    if not 0 <= code <= MAX_CODE:
        return Number(None, Reason.CODE_OUT_OF_RANGE)
    return Number(code, repair=number_spelling(text, code))


def number_spelling(text: str, number: int) -> str | None:
    """The repair's name where a whole number is not spelled as usual."""
    return None if text.strip() == str(number) else Repair.NUMBER_SPELLING


@_cached
def repair_county(text: str) -> tuple[str, str | None]:
    """``Violation County``: its code, or the text as it is where the city has no such county.

    >>> repair_county("Kings")
    ('K', 'county_alias')
    """
    code = _COUNTIES.get(text.strip().upper())
    if code is None:
        return text, Repair.COUNTY_UNKNOWN
    return code, None if code == text else Repair.COUNTY_ALIAS


def whole_number(text: str) -> int | None:
    """An integer of up to 18 digits, or None."""
    stripped = text.strip()
    digits = stripped.removeprefix("-")
    return int(stripped) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else None
