"""Times of messages: RFC 3339."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

from schemas.messages import EVENT_SECONDS

_RFC3339: Final = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d|60)(?:\.(\d+))?"
    r"(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))",
    re.ASCII,
)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LEAP_DAYS: Final = {(6, 30), (12, 31)}
"""Month and day at the end of which UTC may have a leap second."""


def event_time_of(text: str) -> int | None:
    """An RFC 3339 time in microseconds since the epoch, further digits truncated; None where it is invalid, or not
    within :data:`schemas.messages.EVENT_SECONDS`.

    A leap second, 23:59:60 UTC at the end of June or December, is the second after it: the lake's clock has no leap
    seconds.

    >>> event_time_of("1970-01-01T00:00:01.5Z")
    1500000
    """
    found = _RFC3339.fullmatch(text)
    if not found:
        return None
    year, month, day, hour, minute, second, fraction, sign, offset_hours, offset_minutes = found.groups()
    offset = timedelta(hours=int(offset_hours or 0), minutes=int(offset_minutes or 0))
    zone = timezone(-offset if sign == "-" else offset)
    leap = second == "60"
    try:
        local = datetime(int(year), int(month), int(day), int(hour), int(minute), 59 if leap else int(second))
    except ValueError:  # the 30th of February
        return None
    since = local.replace(tzinfo=zone) - _EPOCH
    seconds = since.days * 86_400 + since.seconds + leap
    if not EVENT_SECONDS[0] <= seconds < EVENT_SECONDS[1] or (leap and not _may_be_leap(seconds)):
        return None
    return seconds * 1_000_000 + int(((fraction or "") + "000000")[:6])


def rfc3339(when: datetime) -> str:
    """A time, with its zone, as messages of this project have it: in UTC, with microseconds.

    >>> rfc3339(datetime(1970, 1, 1, tzinfo=UTC))
    '1970-01-01T00:00:00.000000Z'
    """
    return when.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _may_be_leap(after: int) -> bool:
    """Whether the second before ``after`` (seconds since the epoch) may be followed by a leap second."""
    last = _EPOCH + timedelta(seconds=after - 1)
    return (last.month, last.day) in _LEAP_DAYS and after % 86_400 == 0
