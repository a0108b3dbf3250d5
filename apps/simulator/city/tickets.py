"""The simulated city: the weights of its tickets, and the names of its streets.

Weights marked "published" are the totals published for the first 11.8 M rows of fiscal year 2015; those marked
"sample" are counts of a few thousand rows of NYC Open Data, "Parking Violations Issued - Fiscal Year 2015".
"""

from datetime import date, timedelta
from functools import cache
from itertools import product
from typing import Final

import numpy as np

from apps.simulator.city.weighted import zipf

FISCAL_DAYS: Final = tuple(date(2014, 7, 1) + timedelta(days=day) for day in range(365))
STREETS: Final = 110_543
"""Distinct street names of fiscal year 2015."""

# Published, by quarter of the calendar year.
_QUARTERS: Final = {1: 3_087_406, 2: 3_265_818, 3: 2_909_000, 4: 2_537_776}
# Sample, by month: how a quarter divides.
_MONTHS: Final = {1: 251, 2: 127, 3: 179, 4: 181, 5: 180, 6: 190, 7: 171, 8: 154, 9: 183, 10: 213, 11: 157, 12: 142}
# Published, a day.
_WORKDAY: Final = 2_007_736.6
_WEEKEND_DAY: Final = 880_658.5

_WEEKEND: Final = (5, 6)

# Published, by part of the day; the hours inside a part from the sample.
_PARTS: Final = (
    (5_468_700, {6: 49, 7: 110, 8: 223, 9: 258, 10: 158, 11: 222, 12: 175}),
    (5_301_276, {13: 212, 14: 185, 15: 117, 16: 123, 17: 88, 18: 56, 19: 18}),
    (1_030_024, {20: 25, 21: 30, 22: 26, 23: 18, 0: 20, 1: 27, 2: 14, 3: 14, 4: 9, 5: 22}),
)

# Published for the first five, in 10,000 rows; the next ones from the sample; the others share what is left.
_CODES: Final = {
    21: 1380, 38: 1200, 14: 836, 36: 711, 37: 673, 20: 582, 7: 560, 46: 500, 40: 470, 71: 440, 19: 250, 16: 240,
    70: 225, 69: 220, 5: 200, 31: 145, 47: 110, 50: 95, 42: 90, 74: 82, 78: 73, 51: 73, 17: 70, 48: 60, 13: 55,
    82: 50, 84: 48, 10: 45, 66: 38, 98: 36, 53: 32, 64: 30, 67: 24, 45: 22, 9: 20, 24: 18, 73: 16, 68: 15,
}  # fmt: skip
_CODES_OF_ALL: Final = 10_000

COUNTIES: Final = ("NY", "K", "Q", "BX", "R", "")
"""The codes in the column, "" for a missing one."""
# Sample; the last is the share of missing counties of the whole year, 3 in 100.
COUNTY_WEIGHTS: Final = (761, 446, 390, 211, 28, 57)
PRECINCTS: Final = {
    "NY": (1, 5, 6, 7, 9, 10, 13, 14, 17, 18, 19, 20, 22, 23, 24, 25, 26, 28, 30, 32, 33, 34),
    "K": (60, 61, 62, 63, 66, 67, 68, 69, 70, 71, 72, 73, 75, 76, 77, 78, 79, 81, 83, 84, 88, 90, 94),
    "Q": (100, 101, 102, 103, 104, 105, 106, 107, 108, 109, 110, 111, 112, 113, 114, 115),
    "BX": (40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 52),
    "R": (120, 121, 122, 123),
    "": (0,),
}
"""Police precincts by county; 0 where a camera wrote the ticket."""

_LONGEST_NAME: Final = 20
_STARTS: Final = (
    "AL", "BAR", "BEL", "BOR", "BRAN", "CAL", "CAR", "CHES", "COL", "COR", "DAL", "DEN", "DOR", "EL", "FAR", "FEN",
    "GAR", "GLEN", "HAL", "HAR", "HOL", "KEN", "KIL", "LAN", "LIN", "MAR", "MEL", "MON", "NOR", "OAK", "PEM", "PER",
    "QUIN", "RAN", "ROS", "SAL", "SHER", "STAN", "TAL", "TOR", "VAL", "VER", "WAL", "WES", "WIL", "WIN", "YAR", "ZEL",
)  # fmt: skip
_MIDDLES: Final = ("", "A", "BER", "DE", "ING", "IS", "LE", "MAN", "O", "RI", "SEN", "TER", "VE", "WIN")
_ENDS: Final = (
    "BROOK", "BURY", "BY", "COTT", "DALE", "DEN", "FIELD", "FORD", "GATE", "HAM", "HURST", "LEY", "LOW", "MERE", "MONT",
    "MORE", "PORT", "RIDGE", "SIDE", "STON", "STONE", "TON", "VALE", "VIEW", "VILLE", "WELL", "WICK", "WOOD", "WORTH",
)  # fmt: skip
_KINDS: Final = ("ST", "AVE", "RD", "PL", "BLVD", "DR", "LN", "CT", "TER", "PKWY", "WAY")
_NUMBERED: Final = tuple(
    f"{side}{number} {kind}"
    for number in range(1, 221)
    for side in ("", "E ", "W ", "N ", "S ", "BEACH ", "BAY ")
    for kind in ("ST", "AVE", "RD")
)


def day_weights() -> list[float]:
    """The weight of each of :data:`FISCAL_DAYS`: uneven by month, low at weekends."""
    plain = [_WEEKEND_DAY if day.weekday() in _WEEKEND else _WORKDAY for day in FISCAL_DAYS]
    of_month = dict.fromkeys(range(1, 13), 0.0)
    for day, weight in zip(FISCAL_DAYS, plain, strict=True):
        of_month[day.month] += weight
    return [
        weight / of_month[day.month] * _month_share(day.month) for day, weight in zip(FISCAL_DAYS, plain, strict=True)
    ]


def _month_share(month: int) -> float:
    quarter = (month + 2) // 3
    months = range(3 * quarter - 2, 3 * quarter + 1)
    return _QUARTERS[quarter] * _MONTHS[month] / sum(_MONTHS[other] for other in months)


def hour_weights() -> list[float]:
    """The weight of each hour of the day, 0 to 23."""
    weights = [0.0] * 24
    for total, hours in _PARTS:
        for hour, weight in hours.items():
            weights[hour] = total * weight / sum(hours.values())
    return weights


def code_weights() -> dict[int, float]:
    """The weight of each of the city's codes, 1 to 99: a few common ones and a long tail."""
    rest = (_CODES_OF_ALL - sum(_CODES.values())) / (99 - len(_CODES))
    return {code: _CODES.get(code, rest) for code in range(1, 100)}


@cache
def street_names() -> tuple[str, ...]:
    """:data:`STREETS` made-up names, all different, the most common first; no longer than in the city's file."""
    words = ["".join(parts) for parts in product(_STARTS, _MIDDLES, _ENDS)]
    made = len(words) * len(_KINDS)
    names = []
    for at in np.random.default_rng(STREETS).permutation(made + len(_NUMBERED)).tolist():
        name = f"{words[at % len(words)]} {_KINDS[at // len(words)]}" if at < made else _NUMBERED[at - made]
        if len(name) <= _LONGEST_NAME:
            # The city's file mixes both spellings, depending on who typed the ticket.
            names.append(name.title() if at % 2 else name)
    return tuple(names[:STREETS])


def street_weights() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The weight of each of :func:`street_names`: the first has 2 % of all tickets, as Broadway has (sample)."""
    return zipf(STREETS, 0.8)
