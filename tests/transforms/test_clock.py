"""New York's clock against zoneinfo, minute by minute."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transforms.clock import PARTS_OF_DAY, Ints, day, part_of_day, to_utc

NEW_YORK = ZoneInfo("America/New_York")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SPRING, AUTUMN = date(2015, 3, 8), date(2014, 11, 2)


def microseconds(moment: datetime) -> int:
    """Since the epoch."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def every_minute(value: date) -> tuple[Ints, Ints, Ints]:
    """What the clock makes of a whole day."""
    return to_utc(np.zeros(1440, np.int64), np.arange(1440), [day(value)])


def expected(value: date) -> list[int]:
    """The same by zoneinfo, with the first of two and the offset of before."""
    midnight = datetime.combine(value, time(0))
    return [microseconds((midnight + timedelta(minutes=m)).replace(tzinfo=NEW_YORK)) for m in range(1440)]


@given(st.dates(date(1900, 1, 1), date(2199, 12, 31)))
@example(SPRING)
@example(AUTUMN)
@example(date(1918, 3, 31))  # the first daylight time
@example(date(1942, 2, 9))  # war time begins
@example(date(1945, 9, 30))  # and ends
@example(date(1974, 1, 6))  # in winter
def test_every_minute_of_a_day_is_that_of_zoneinfo(value: date) -> None:
    assert every_minute(value)[0].tolist() == expected(value)


def test_the_hour_left_out_is_moved_on_by_an_hour_and_reported() -> None:
    event_time, gap, twice = every_minute(SPRING)
    assert gap.tolist() == list(range(120, 180))
    assert twice.tolist() == []
    assert event_time[150] == microseconds(datetime(2015, 3, 8, 3, 30, tzinfo=NEW_YORK))


def test_of_an_hour_that_happens_twice_the_first_is_taken_and_reported() -> None:
    event_time, gap, twice = every_minute(AUTUMN)
    assert twice.tolist() == list(range(60, 120))
    assert gap.tolist() == []
    assert event_time[90] == microseconds(datetime(2014, 11, 2, 5, 30, tzinfo=UTC))
    assert event_time[120] - event_time[119] == 61 * 60_000_000


@given(st.lists(st.tuples(st.sampled_from([SPRING, AUTUMN, date(2015, 1, 1), date(2015, 7, 1)]), st.integers(0, 1439))))
def test_days_mixed_in_one_block_do_not_disturb_each_other(rows: list[tuple[date, int]]) -> None:
    dates = sorted({value for value, _ in rows}) or [SPRING]
    days = np.array([dates.index(value) for value, _ in rows], np.int64)
    minutes = np.array([minute for _, minute in rows], np.int64)
    event_time, gap, twice = to_utc(days, minutes, [day(value) for value in dates])
    assert event_time.tolist() == [int(every_minute(value)[0][minute]) for value, minute in rows]
    assert gap.tolist() == [i for i, (value, minute) in enumerate(rows) if value == SPRING and minute // 60 == 2]
    assert twice.tolist() == [i for i, (value, minute) in enumerate(rows) if value == AUTUMN and minute // 60 == 1]


@given(st.lists(st.datetimes(datetime(1900, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC)), max_size=20))
@example([datetime(2061, 9, 6, 10, tzinfo=UTC)])  # six in the morning of a summer after 2037
def test_the_part_of_day_is_that_of_zoneinfo_in_every_year(moments: list[datetime]) -> None:
    hours = [moment.astimezone(NEW_YORK).hour for moment in moments]
    expected = ["morning" if 6 <= h < 13 else "afternoon" if 13 <= h < 20 else "other" for h in hours]
    found = part_of_day(np.array([microseconds(moment) for moment in moments], np.int64))
    assert [PARTS_OF_DAY[part] for part in found] == expected


@pytest.mark.parametrize("month", [1, 7])
@pytest.mark.parametrize(
    ("hour", "minute", "part"),
    [
        (0, 0, "other"),
        (5, 59, "other"),
        (6, 0, "morning"),
        (12, 59, "morning"),
        (13, 0, "afternoon"),
        (19, 59, "afternoon"),
        (20, 0, "other"),
        (23, 59, "other"),
    ],
)
def test_the_part_of_day_is_that_of_new_york_in_winter_and_summer(
    hour: int, minute: int, part: str, month: int
) -> None:
    moment = microseconds(datetime(2015, month, 15, hour, minute, 59, tzinfo=NEW_YORK))
    assert PARTS_OF_DAY[part_of_day(np.array([moment]))[0]] == part
