"""RFC 3339 as it is written, and one bound for every time that enters."""

import numpy as np
import pytest

from schemas.lake import UTC, timestamps
from schemas.messages import EVENT_SECONDS
from schemas.times import event_time_of

NOON = 1_768_478_400
LEAP = 1_483_228_800
"""2017-01-01, before which there was a leap second."""

ACCEPTED = {
    "2026-01-15T12:00:00Z": NOON,
    "2026-01-15t12:00:00z": NOON,
    "2026-01-15 12:00:00Z": NOON,
    "2026-01-15T12:00:00+00:00": NOON,
    "2026-01-15T12:00:00-00:00": NOON,
    "2026-01-15T17:45:00+05:45": NOON,
    "2026-01-15T04:00:00-08:00": NOON,
    "2026-01-16T11:59:00+23:59": NOON,
    "2026-01-14T12:01:00-23:59": NOON,
    "2024-02-29T00:00:00Z": 1_709_164_800,
    "1970-01-01T00:00:00Z": 0,
    "2199-12-31T23:59:59Z": EVENT_SECONDS[1] - 1,
    "2016-12-31T23:59:60Z": LEAP,
    "2016-12-31T15:59:60-08:00": LEAP,
    "2017-01-01T05:29:60+05:30": LEAP,
    "2015-06-30T23:59:60Z": 1_435_708_800,
}
REFUSED = [
    "2026-01-15T12:00:00",  # no zone
    "2026-01-15T12:00Z",  # no seconds
    "2026-01-15T12Z",
    "2026-01-15",
    "20260115T120000Z",
    "2026-01-15T12:00:00+05:75",
    "2026-01-15T12:00:00-00:99",
    "2026-01-15T12:00:00+0575",
    "2026-01-15T12:00:00+0530",
    "2026-01-15T12:00:00+05",
    "2026-01-15T12:00:00+5:30",
    "2026-01-15T12:00:00+24:00",
    "2026-01-15T12:00:00+99:00",
    "2026-01-15T12:00:00+05:30:00",
    "2026-01-15T12:00:00\u221205:00",  # the minus sign of typographers
    "2026-01-15T12:00:00 +05:00",
    "2026-01-15T12:00:00UTC",
    "2026-01-15T12:00:00Z ",
    " 2026-01-15T12:00:00Z",
    "2026-01-15T12:00:00Z\n",
    "2026-01-15T12:00:00.Z",
    "2026-01-15T12:00:00,5Z",
    "2026-01-15_12:00:00Z",
    "2026-01-15  12:00:00Z",
    "2026-1-15T12:00:00Z",
    "26-01-15T12:00:00Z",
    "+2026-01-15T12:00:00Z",
    "2026-13-01T00:00:00Z",
    "2026-00-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "2025-02-29T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "2026-01-15T24:00:00Z",
    "2026-01-15T12:60:00Z",
    "2026-01-15T12:00:61Z",
    "2026-01-15T12:00:60Z",  # no leap second is at noon
    "2026-01-15T23:59:60Z",  # nor in the middle of January
    "2016-12-31T23:59:60-08:00",  # nor at midnight elsewhere
    "2199-12-31T23:59:60Z",  # beyond the bound
    "1969-12-31T23:59:59.999999Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2200-01-01T00:00:00Z",
    "\u0662\u0660\u0662\u0666-01-15T12:00:00Z",
    "",
]


@pytest.mark.parametrize(("text", "seconds"), ACCEPTED.items(), ids=ACCEPTED)
@pytest.mark.parametrize(("fraction", "micros"), [("", 0), (".5", 500_000), (".000001", 1), (".0000019", 1)])
def test_each_form_that_rfc_3339_has_is_read(text: str, seconds: int, fraction: str, micros: int) -> None:
    assert event_time_of(text[:19] + fraction + text[19:]) == seconds * 1_000_000 + micros


@pytest.mark.parametrize("text", REFUSED)
def test_each_form_that_it_does_not_have_is_refused(text: str) -> None:
    assert event_time_of(text) is None


def test_a_time_beyond_the_bound_is_null_before_anything_is_computed() -> None:
    end = EVENT_SECONDS[1] * 1000
    now = NOON * 1000
    values = [0, now, end - 1, -1, end, now * 1000, now * 1_000_000, -(2**63), 2**63 - 1]
    found = timestamps(np.array(values, np.int64), 1000)
    assert found.type == UTC
    assert found.to_pylist()[3:] == [None] * 6
    assert [t.timestamp() * 1000 for t in found[:3].to_pylist()] == pytest.approx([0, now, end - 1])
    assert timestamps(np.array([], np.int64), 1000).to_pylist() == []
