"""Every rule of schemas.history for one value: what a text becomes, and why it is refused."""

import gc
import weakref
from datetime import date
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.history import PLACEHOLDERS, Reason, Repair
from transforms.history.columns import clean_dictionary, clean_strings, optional_numbers, plates
from transforms.history.repair import (
    MAX_CACHED_CHARS,
    Date,
    Number,
    Text,
    Time,
    clean_text,
    clean_time,
    repair_code,
    repair_county,
    repair_date,
    repair_time,
    whole_number,
)


@pytest.mark.parametrize(
    ("text", "minutes", "repair"),
    [
        ("0143A", 103, None),
        ("0143P", 823, None),
        ("1210A", 10, None),
        ("1210P", 730, None),
        ("0010A", 10, None),
        ("0000A", 0, None),
        ("1159P", 1439, None),
        ("1 25P", 805, Repair.TIME_BLANK_HOUR),
        (" 125P", 805, Repair.TIME_BLANK_HOUR),
        ("1 25A", 85, Repair.TIME_BLANK_HOUR),
        ("143A", 103, Repair.TIME_LOST_ZERO),
        ("143P", 823, Repair.TIME_LOST_ZERO),
        ("0010P", 730, Repair.TIME_ZERO_HOUR_PM),
        ("1649P", 1009, Repair.TIME_24H),
        ("2359P", 1439, Repair.TIME_24H),
        ("1225", 745, Repair.TIME_NO_SUFFIX),
        ("0000", 0, Repair.TIME_NO_SUFFIX),
        ("2359", 1439, Repair.TIME_NO_SUFFIX),
        (" 0143a", 103, Repair.TIME_TRIMMED),
        ("0143P ", 823, Repair.TIME_TRIMMED),
        ("0143p", 823, Repair.TIME_TRIMMED),
        ("06:56P", 1136, Repair.TIME_SPELLING),
        ("12:25 PM", 745, Repair.TIME_SPELLING),
        ("0825AM", 505, Repair.TIME_SPELLING),
        ("6:56:00 pm", 1136, Repair.TIME_SPELLING),
    ],
)
def test_a_time_is_read_by_one_rule(text: str, minutes: int, repair: str | None) -> None:
    assert repair_time(text) == Time(minutes, repair)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, Reason.TIME_MISSING),
        ("", Reason.TIME_MISSING),
        ("   ", Reason.TIME_MISSING),
        ("1649A", Reason.TIME_CONTRADICTORY),
        ("1300A", Reason.TIME_CONTRADICTORY),
        ("1299A", Reason.TIME_OUT_OF_RANGE),
        ("9925P", Reason.TIME_OUT_OF_RANGE),
        ("2400A", Reason.TIME_OUT_OF_RANGE),
        ("2400", Reason.TIME_OUT_OF_RANGE),
        ("1260", Reason.TIME_OUT_OF_RANGE),
        ("160A", Reason.TIME_OUT_OF_RANGE),
        ("0  :P", Reason.TIME_UNREADABLE),
        ("+..A", Reason.TIME_UNREADABLE),
        ("0143X", Reason.TIME_UNREADABLE),
        ("٠١٤٣A", Reason.TIME_UNREADABLE),
    ],
)
def test_a_time_is_refused_with_a_reason(text: str | None, reason: str) -> None:
    assert repair_time(text).reason == reason


@pytest.mark.parametrize(
    ("text", "value", "repair"),
    [
        ("07/06/2000", date(2000, 7, 6), None),
        ("07/01/2031", date(2031, 7, 1), None),
        (" 07/06/2015 ", date(2015, 7, 6), None),
        ("02/29/2016", date(2016, 2, 29), None),
        ("7/6/23", date(2023, 7, 6), Repair.DATE_TWO_DIGIT_YEAR),
        ("07/06/23", date(2023, 7, 6), Repair.DATE_TWO_DIGIT_YEAR),
        ("8/24/68", date(2068, 8, 24), Repair.DATE_TWO_DIGIT_YEAR),
        ("8/24/69", date(1969, 8, 24), Repair.DATE_TWO_DIGIT_YEAR),
        ("8/24/99", date(1999, 8, 24), Repair.DATE_TWO_DIGIT_YEAR),
        ("7/6/2015", date(2015, 7, 6), Repair.DATE_UNPADDED),
        ("7/16/2015", date(2015, 7, 16), Repair.DATE_UNPADDED),
        ("11/6/2015", date(2015, 11, 6), Repair.DATE_UNPADDED),
        ("1/7/2015 0:00", date(2015, 1, 7), Repair.DATE_MIDNIGHT),
        ("01/07/2015 12:00:00 AM", date(2015, 1, 7), Repair.DATE_MIDNIGHT),
        ("2015-01-07T00:00:00.000", date(2015, 1, 7), Repair.DATE_ISO),
        ("2023-07-06", date(2023, 7, 6), Repair.DATE_ISO),
        ("2023-07-06T00:00:00", date(2023, 7, 6), Repair.DATE_ISO),
        ("2023-07-06 00:00:00.000Z", date(2023, 7, 6), Repair.DATE_ISO),
    ],
)
def test_a_date_is_read_month_first(text: str, value: date, repair: str | None) -> None:
    assert repair_date(text) == Date(value, repair)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, Reason.DATE_MISSING),
        ("", Reason.DATE_MISSING),
        ("  ", Reason.DATE_MISSING),
        ("02/30/2015", Reason.DATE_OUT_OF_RANGE),
        ("13/01/2015", Reason.DATE_OUT_OF_RANGE),
        ("00/01/2015", Reason.DATE_OUT_OF_RANGE),
        ("07/06/0000", Reason.DATE_OUT_OF_RANGE),
        ("07/06/1899", Reason.DATE_OUT_OF_RANGE),
        ("07/06/2200", Reason.DATE_OUT_OF_RANGE),
        ("2015-02-30", Reason.DATE_OUT_OF_RANGE),
        ("July 6, 2015", Reason.DATE_UNREADABLE),
        ("01/07/2015 12:00:00 PM", Reason.DATE_UNREADABLE),
        ("1/7/2015 0:01", Reason.DATE_UNREADABLE),
        ("07-06-2015", Reason.DATE_UNREADABLE),
        ("07/06/201", Reason.DATE_UNREADABLE),
        ("2023-07-06T13:00:00", Reason.DATE_UNREADABLE),
    ],
)
def test_a_date_is_refused_with_a_reason(text: str | None, reason: str) -> None:
    assert repair_date(text) == Date(None, reason=reason)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", Number(0)),
        ("21", Number(21)),
        ("07", Number(7, repair=Repair.NUMBER_SPELLING)),
        ("-0", Number(0, repair=Repair.NUMBER_SPELLING)),
        ("99", Number(99)),
        ("100", Number(None, Reason.CODE_OUT_OF_RANGE)),
        ("-1", Number(None, Reason.CODE_OUT_OF_RANGE)),
        ("21A", Number(None, Reason.CODE_UNREADABLE)),
        ("2.0", Number(None, Reason.CODE_UNREADABLE)),
        ("²", Number(None, Reason.CODE_UNREADABLE)),
        ("9" * 19, Number(None, Reason.CODE_UNREADABLE)),
        ("", Number(None, Reason.CODE_MISSING)),
        (" ", Number(None, Reason.CODE_MISSING)),
        (None, Number(None, Reason.CODE_MISSING)),
    ],
)
def test_a_code_is_0_to_99_or_refused(text: str | None, number: Number) -> None:
    assert repair_code(text) == number


@pytest.mark.parametrize(
    ("text", "county", "repair"),
    [
        ("NY", "NY", None),
        ("K", "K", None),
        ("R", "R", None),
        ("Kings", "K", Repair.COUNTY_ALIAS),
        ("BK", "K", Repair.COUNTY_ALIAS),
        ("MN", "NY", Repair.COUNTY_ALIAS),
        ("Qns", "Q", Repair.COUNTY_ALIAS),
        ("Bronx", "BX", Repair.COUNTY_ALIAS),
        ("ST", "R", Repair.COUNTY_ALIAS),
        ("k ", "K", Repair.COUNTY_ALIAS),
        ("ABX", "ABX", Repair.COUNTY_UNKNOWN),
        ("103", "103", Repair.COUNTY_UNKNOWN),
    ],
)
def test_a_county_has_one_code_and_an_unknown_one_stays_as_it_is(text: str, county: str, repair: str | None) -> None:
    assert repair_county(text) == (county, repair)


@pytest.mark.parametrize(
    ("text", "kept", "repair"),
    [
        ("GBB9093", "GBB9093", None),
        ("AB 12-3", "AB 12-3", None),
        ("abc123", "abc123", None),
        ("3%68954N", "3%68954N", Repair.PLATE_ODD),
        ("É12", "É12", Repair.PLATE_ODD),
        ("BLANKPLATE", None, Repair.PLATE_BLANK),
        ("Blankplate", None, Repair.PLATE_BLANK),
        ("n/a", None, Repair.PLATE_BLANK),
        ("N/A", None, Repair.PLATE_BLANK),
        (None, None, None),
    ],
)
def test_a_blank_plate_is_none_and_an_odd_one_stays(text: str | None, kept: str | None, repair: str | None) -> None:
    column, blank, odd = plates(pa.array(["FIRST", text, "LAST"]))
    assert column.to_pylist() == ["FIRST", kept, "LAST"]
    assert blank.tolist() == [1] * (repair == Repair.PLATE_BLANK)
    assert odd.tolist() == [1] * (repair == Repair.PLATE_ODD)


def test_an_optional_number_that_is_none_is_left_empty_and_reported() -> None:
    column = pa.array(["14", None, "4O", "99999", "-3", ""]).dictionary_encode()
    numbers, notes = optional_numbers(column)
    assert numbers.to_pylist() == [14, None, None, None, -3, None]
    assert [(name, rows.tolist()) for name, rows in notes] == [(Repair.NUMBER_UNREADABLE, [2, 3, 5])]


TRIMMED, PLACEHOLDER, POINT_ZERO = (Repair.TRIMMED,), (Repair.PLACEHOLDER,), (Repair.POINT_ZERO,)
CLEANED = [
    (" AB1 ", "AB1", TRIMMED),
    ("\u00a0AB1", "AB1", TRIMMED),
    ("AB1\t", "AB1", TRIMMED),
    ("   ", None, TRIMMED),
    ("NA", None, PLACEHOLDER),
    ("nan", None, PLACEHOLDER),
    ("n/a", None, PLACEHOLDER),
    ("NULL", None, PLACEHOLDER),
    ("None", None, PLACEHOLDER),
    ("\\N", None, PLACEHOLDER),
    ("-", None, PLACEHOLDER),
    (" NULL ", None, TRIMMED + PLACEHOLDER),
    ("33.0", "33", POINT_ZERO),
    ("7000000001.0", "7000000001", POINT_ZERO),
    ("-3.00", "-3", POINT_ZERO),
    ("5.000 ", "5", TRIMMED + POINT_ZERO),
    ("33.5", "33.5", ()),
    (".0", ".0", ()),
    ("1.0.0", "1.0.0", ()),
    ("100", "100", ()),
    ("NASSAU ST", "NASSAU ST", ()),
    ("é", "é", ()),
    ("", None, ()),
]


@pytest.mark.parametrize(("text", "value", "repairs"), CLEANED)
def test_a_text_is_cleaned_before_every_rule(text: str, value: str | None, repairs: tuple[str, ...]) -> None:
    assert clean_text(text) == Text(value, repairs)


EDGES = st.sampled_from(["", " ", "\t", "\u00a0", "\u3000", "\x1f"])
NEAR_TEXTS = st.sampled_from([*PLACEHOLDERS, *(p.lower() for p in PLACEHOLDERS), "33", "-0", "A", "NAN1", "700"])
DIRTY = st.builds(
    lambda a, b, c, d: a + b + c + d, EDGES, NEAR_TEXTS, st.sampled_from(["", ".0", ".00", ".000", "0"]), EDGES
)


@given(st.lists(st.none() | DIRTY | st.text(min_size=1, max_size=5), min_size=1, max_size=30), st.integers(0, 3))
def test_a_column_is_cleaned_as_its_texts_are_one_by_one(texts: list[str | None], cut: int) -> None:
    texts = [text if text is None or text.isprintable() or text.strip() else None for text in texts]
    expected = [clean_text(text) for text in texts][cut:]
    plain, notes = clean_strings(pa.array(texts, pa.string()).slice(cut))
    coded, coded_notes = clean_dictionary(pa.array(texts, pa.string()).dictionary_encode().slice(cut))
    assert plain.to_pylist() == coded.to_pylist() == [text.value for text in expected]
    for found in (notes, coded_notes):
        made = {(name, row) for name, rows in found for row in rows.tolist()}
        assert made == {(name, row) for row, text in enumerate(expected) for name in text.repairs}


NEAR_TIMES = st.from_regex(r"[ 0-9]{1,2}[ :0-9]{2}[APap ]?", fullmatch=True)
NEAR_DATES = st.from_regex(r"[0-9]{1,4}[-/][0-9]{1,2}[-/][0-9]{1,4}", fullmatch=True)


@given(st.none() | st.text(max_size=12) | NEAR_TIMES)
def test_any_time_is_a_minute_of_the_day_or_has_a_reason(text: str | None) -> None:
    minutes, repair, reason = repair_time(text)
    assert (0 <= minutes < 1440) == (reason is None)
    assert reason is None or repair is None


@given(st.none() | st.text(max_size=12) | NEAR_DATES)
@example("1/1/00")
def test_any_date_is_a_day_or_has_a_reason(text: str | None) -> None:
    value, repair, reason = repair_date(text)
    assert (value is not None and 1900 <= value.year <= 2199) == (reason is None)
    assert reason is None or repair is None


@given(st.dates(date(1900, 1, 1), date(2199, 12, 31)))
def test_every_day_as_the_city_writes_it_is_read_back(value: date) -> None:
    assert repair_date(f"{value:%m/%d}/{value.year}") == Date(value)
    assert repair_date(value.isoformat()) == Date(value, Repair.DATE_ISO)


@given(st.text(max_size=20) | st.integers().map(str))
def test_any_code_or_county_is_a_value_or_has_a_reason(text: str) -> None:
    value, reason, _ = repair_code(text)
    assert (value is not None and 0 <= value <= 99) == (reason is None)
    county, repair = repair_county(text)
    assert county in {"NY", "K", "Q", "BX", "R"} or (county, repair) == (text, Repair.COUNTY_UNKNOWN)
    number = whole_number(text)
    assert number is None or abs(number) < 10**18


class Referred(str):
    """A text of which can be said whether somebody holds it."""


@pytest.mark.parametrize("rule", [clean_text, clean_time, repair_time, repair_date, repair_code, repair_county])
def test_long_texts_are_not_remembered(rule: Any) -> None:
    """65,536 texts of 64 KiB would be 4 GiB."""
    short, long = Referred("21"), Referred("x" * (MAX_CACHED_CHARS + 1))
    held = weakref.ref(short), weakref.ref(long)
    rule(short)
    rule(long)
    del short, long
    gc.collect()
    assert [one() is not None for one in held] == [True, False]
