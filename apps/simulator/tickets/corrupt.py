"""Corrupt one row: change its text in the file, and record the expected output of the graph."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final

from apps.simulator.city import tickets as city
from apps.simulator.tickets.rows import time_text
from schemas.history import BLANK_PLATES, COLUMNS_51, COUNTY_ALIASES, Reason, Repair

SUMMONS, PLATE, DATE, CODE, PRECINCT, TIME, COUNTY, STREET, YEAR = (
    COLUMNS_51.index(name)
    for name in (
        "Summons Number",
        "Plate ID",
        "Issue Date",
        "Violation Code",
        "Violation Precinct",
        "Violation Time",
        "Violation County",
        "Street Name",
        "Vehicle Year",
    )
)

_FAR_DATES: Final = (date(2000, 7, 6), date(2031, 7, 1), date(2006, 3, 13), date(2027, 11, 20))
_JUNK_TIMES: Final = ("0  :P", "+..A", "0  :A", "NOON", "12B0A", "O930A", "--:--", "?", ".240P")
_JUNK_DATES: Final = ("UNKNOWN", "==", "2015/JAN/07", "O1/12/2015", "01/1Z/2015", "?")
_IMPOSSIBLE_DATES: Final = ("02/30/2015", "13/01/2015", "06/31/2015", "00/10/2015", "02/29/2015", "04/00/2015")
_JUNK_NUMBERS: Final = ((YEAR, ("20I5", "2O14", "?", "199-")), (PRECINCT, ("1O9", "7S", "?", "#")))
_SINGLE_DIGIT_HOURS: Final = (*range(1, 10), *range(13, 22))
_ODD_MARKS: Final = "%?*&#"
_CODES_TOO_LARGE: Final = ("117", "100", "409", "999")


@dataclass(kw_only=True)
class Row:
    """The texts of a row's fields, and its true values. The functions below change both.

    ``minute`` is the local minute of ``day``; ``previous`` is the summons number of the record before. A row with a
    ``reason`` is a dead letter.
    """

    fields: list[str]
    previous: int
    summons: int | None
    plate: str | None
    day: date
    minute: int
    code: int
    county: str | None
    street: str
    repairs: list[str] = field(default_factory=list)
    reason: str | None = None
    encoding: str = "utf-8"


def corrupt(kind: str, row: Row, rng: random.Random) -> None:
    """Give ``row`` the dirt ``kind``, one of the names in ``dirt.RATES``."""
    _CORRUPTERS[kind](row, rng)


def _repaired_time(repair: str, hours: Sequence[int], text: Callable[[int, int, random.Random], str]) -> "_Corrupter":
    """Dirt of a time: an hour of ``hours`` written by ``text(hour, minute, rng)``."""

    def corrupter(row: Row, rng: random.Random) -> None:
        minute = row.minute % 60
        hour = row.minute // 60 if row.minute // 60 in hours else rng.choice(hours)
        row.minute = 60 * hour + minute
        row.fields[TIME] = text(hour, minute, rng)
        row.repairs.append(repair)

    return corrupter


def _trimmed(hour: int, minute: int, rng: random.Random) -> str:
    text = time_text(60 * hour + minute)
    return rng.choice((f" {text.lower()}", text.lower(), f"{text} ", f" {text}"))


def _blank_hour(hour: int, minute: int, rng: random.Random) -> str:
    text = f"{hour % 12}{minute:02d}{'AP'[hour // 12]}"
    return rng.choice((f" {text}", f"{text[0]} {text[1:]}"))


def _lost_zero(hour: int, minute: int, _: random.Random) -> str:
    return f"{hour % 12}{minute:02d}{'AP'[hour // 12]}"


def _refused(reason: str, column: int, texts: Callable[[Row, random.Random], str]) -> "_Corrupter":
    """Dirt that makes a dead letter: ``column`` has what ``texts`` gives."""

    def corrupter(row: Row, rng: random.Random) -> None:
        row.fields[column] = texts(row, rng)
        row.reason = reason

    return corrupter


def _out_of_range(_: Row, rng: random.Random) -> str:
    minute, hour, half = rng.randint(60, 99), rng.randint(1, 12), rng.choice("AP")
    return rng.choice((f"{hour:02d}{minute}{half}", f"{rng.randint(25, 99)}{rng.randint(0, 59):02d}{half}"))


def _contradictory(row: Row, rng: random.Random) -> str:
    return f"{rng.randint(13, 23)}{row.minute % 60:02d}A"


def _unpadded(row: Row, rng: random.Random) -> None:
    while len(text := f"{row.day.month}/{row.day.day}/{row.day.year}") == len("MM/DD/YYYY"):
        row.day = rng.choice(city.FISCAL_DAYS)
    row.fields[DATE] = text
    row.repairs.append(Repair.DATE_UNPADDED)


def _two_digit_year(row: Row, rng: random.Random) -> None:
    padded = row.day.strftime("%m/%d/%y")
    row.fields[DATE] = rng.choice((padded, f"{row.day.month}/{row.day.day}/{padded[-2:]}"))
    row.repairs.append(Repair.DATE_TWO_DIGIT_YEAR)


def _iso(row: Row, _: random.Random) -> None:
    row.fields[DATE] = row.day.isoformat()
    row.repairs.append(Repair.DATE_ISO)


def _iso_midnight(row: Row, rng: random.Random) -> None:
    _iso(row, rng)
    row.fields[DATE] += "T00:00:00.000"


def _far_date(row: Row, rng: random.Random) -> None:
    row.day = rng.choice(_FAR_DATES)
    row.fields[DATE] = row.day.strftime("%m/%d/%Y")


def _moment(day: date, hour: int) -> "_Corrupter":
    """No dirt of the text: an hour of the clock change. The repair follows from the moment, like for any row."""

    def corrupter(row: Row, _: random.Random) -> None:
        row.day = day
        row.minute = 60 * hour + row.minute % 60
        row.fields[DATE] = day.strftime("%m/%d/%Y")
        row.fields[TIME] = time_text(row.minute)

    return corrupter


def _county_alias(row: Row, rng: random.Random) -> None:
    row.county = rng.choice(list(COUNTY_ALIASES))
    alias = rng.choice(COUNTY_ALIASES[row.county])
    row.fields[COUNTY] = rng.choice((alias, alias.title(), alias.lower(), f"{alias} "))
    row.repairs += [Repair.TRIMMED] * row.fields[COUNTY].endswith(" ") + [Repair.COUNTY_ALIAS]


def _county_unknown(row: Row, rng: random.Random) -> None:
    row.county = row.fields[COUNTY] = rng.choice(("ZZ", "NASSAU", "XX", "99"))
    row.repairs.append(Repair.COUNTY_UNKNOWN)


def _plate_blank(row: Row, rng: random.Random) -> None:
    row.fields[PLATE] = rng.choice(BLANK_PLATES)
    row.plate = None
    row.repairs.append(Repair.PLATE_BLANK)


def _plate_odd(row: Row, rng: random.Random) -> None:
    plate = row.fields[PLATE]
    at = rng.randrange(len(plate))
    row.plate = row.fields[PLATE] = plate[:at] + rng.choice(_ODD_MARKS) + plate[at + 1 :]
    row.repairs.append(Repair.PLATE_ODD)


def _plate_missing(row: Row, _: random.Random) -> None:
    row.fields[PLATE] = ""
    row.plate = None


def _number_unreadable(row: Row, rng: random.Random) -> None:
    column, junk = rng.choice([at_and_junk for at_and_junk in _JUNK_NUMBERS if at_and_junk[0] < len(row.fields)])
    row.fields[column] = rng.choice(junk)
    row.repairs.append(Repair.NUMBER_UNREADABLE)


def _code_zero(row: Row, _: random.Random) -> None:
    row.fields[CODE] = "0"
    row.code = 0


def _no_summons(reason: str, text: Callable[[str], str]) -> "_Corrupter":
    def corrupter(row: Row, _: random.Random) -> None:
        row.fields[SUMMONS] = text(row.fields[SUMMONS])
        row.summons = None
        row.reason = reason

    return corrupter


def _summons_twice(row: Row, _: random.Random) -> None:
    row.summons = row.previous
    row.fields[SUMMONS] = str(row.previous)


def _quoted(value: Callable[[str], str]) -> "_Corrupter":
    """A street name that needs quotes, and has them as in RFC 4180."""

    def corrupter(row: Row, _: random.Random) -> None:
        row.street = value(row.street)
        row.fields[STREET] = '"' + row.street.replace('"', '""') + '"'

    return corrupter


def _stray(value: Callable[[str], str]) -> "_Corrupter":
    """A street name with a literal quote."""

    def corrupter(row: Row, _: random.Random) -> None:
        row.street = row.fields[STREET] = value(row.street)
        row.repairs.append(Repair.STRAY_QUOTE)

    return corrupter


def _cut_short(row: Row, rng: random.Random) -> None:
    line = ",".join(row.fields)
    earliest = len(",".join(row.fields[:3]))
    latest = len(",".join(row.fields[: 2 * len(row.fields) // 3]))
    row.fields = line[: rng.randint(earliest, latest)].split(",")
    row.reason = Reason.CUT_SHORT


def _too_long(row: Row, rng: random.Random) -> None:
    row.fields += rng.choice((["EXTRA"], ["", ""], ["N", "408", "D1"]))
    row.reason = Reason.TOO_LONG


def _latin1(row: Row, rng: random.Random) -> None:
    row.street = row.fields[STREET] = rng.choice(("CAF\u00c9 ST", "PE\u00d1A AVE", "Montr\u00e9al Pl"))
    row.encoding = "latin-1"
    row.repairs.append(Repair.ENCODING)


_Corrupter = Callable[[Row, random.Random], None]
_CORRUPTERS: Final[dict[str, _Corrupter]] = {
    "time_trimmed": _repaired_time(Repair.TIME_TRIMMED, range(24), _trimmed),
    "time_blank_hour": _repaired_time(Repair.TIME_BLANK_HOUR, _SINGLE_DIGIT_HOURS, _blank_hour),
    "time_lost_zero": _repaired_time(Repair.TIME_LOST_ZERO, _SINGLE_DIGIT_HOURS, _lost_zero),
    "time_zero_hour_pm": _repaired_time(Repair.TIME_ZERO_HOUR_PM, range(12, 13), lambda _, m, __: f"00{m:02d}P"),
    "time_24h_with_suffix": _repaired_time(Repair.TIME_24H, range(13, 24), lambda h, m, _: f"{h}{m:02d}P"),
    "time_no_suffix": _repaired_time(Repair.TIME_NO_SUFFIX, range(24), lambda h, m, _: f"{h:02d}{m:02d}"),
    "time_unreadable": _refused(Reason.TIME_UNREADABLE, TIME, lambda _, rng: rng.choice(_JUNK_TIMES)),
    "time_missing": _refused(Reason.TIME_MISSING, TIME, lambda *_: ""),
    "time_out_of_range": _refused(Reason.TIME_OUT_OF_RANGE, TIME, _out_of_range),
    "time_contradictory": _refused(Reason.TIME_CONTRADICTORY, TIME, _contradictory),
    "date_unpadded": _unpadded,
    "date_two_digit_year": _two_digit_year,
    "date_iso": _iso,
    "date_iso_midnight": _iso_midnight,
    "date_far": _far_date,
    "date_out_of_range": _refused(Reason.DATE_OUT_OF_RANGE, DATE, lambda _, rng: rng.choice(_IMPOSSIBLE_DATES)),
    "date_missing": _refused(Reason.DATE_MISSING, DATE, lambda *_: ""),
    "date_unreadable": _refused(Reason.DATE_UNREADABLE, DATE, lambda _, rng: rng.choice(_JUNK_DATES)),
    "dst_gap": _moment(date(2015, 3, 8), 2),
    "dst_twice": _moment(date(2014, 11, 2), 1),
    "county_alias": _county_alias,
    "county_unknown": _county_unknown,
    "plate_blank": _plate_blank,
    "plate_odd": _plate_odd,
    "plate_missing": _plate_missing,
    "number_unreadable": _number_unreadable,
    "code_zero": _code_zero,
    "code_missing": _refused(Reason.CODE_MISSING, CODE, lambda *_: ""),
    "code_unreadable": _refused(Reason.CODE_UNREADABLE, CODE, lambda _, rng: rng.choice(("2I", "E4", "?", "3B"))),
    "code_out_of_range": _refused(Reason.CODE_OUT_OF_RANGE, CODE, lambda _, rng: rng.choice(_CODES_TOO_LARGE)),
    "summons_missing": _no_summons(Reason.SUMMONS_MISSING, lambda _: ""),
    "summons_unreadable": _no_summons(Reason.SUMMONS_UNREADABLE, lambda text: f"{text[:2]}O{text[3:]}"),
    "summons_twice": _summons_twice,
    "quoted_comma": _quoted(lambda street: f"{street}, NORTH SIDE"),
    "quoted_newline": _quoted(lambda street: f"{street}\nNORTH SIDE"),
    "quoted_quote": _quoted(lambda street: f'BOB"S {street}'),
    "stray_quote_inside": _stray(lambda street: f'5" {street}'),
    "stray_quote_open": _stray(lambda street: f'"{street}'),
    "row_cut_short": _cut_short,
    "row_too_long": _too_long,
    "encoding_latin1": _latin1,
}
