"""Ready-made neighbouring fields of a ticket, joined once and then drawn: what makes the simulator fast.

A row of 51 columns is joined from some 16 fragments. Each pool has :data:`SIZE` of them, so that a uniform 16-bit
number draws one; inside a pool every value of a column is as frequent as its weight asks for. The weights are those
of a few thousand rows of NYC Open Data, "Parking Violations Issued - Fiscal Year 2015", rounded.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from apps.simulator.city import tickets as city
from apps.simulator.city.weighted import Indices, draw, quantile_table, zipf

SIZE: Final = 65_536
NO_DATE: Final = "01/05/0001 12:00:00 PM"

_STATES: Final = {
    "NY": 7750, "NJ": 880, "PA": 250, "CT": 146, "FL": 132, "MA": 109, "VA": 82, "MD": 68, "IN": 68, "GA": 45, "99": 36,
    "AZ": 36, "TX": 36, "ME": 32, "NC": 32, "CA": 32, "OK": 32, "OH": 23, "MI": 23, "MN": 18, "TN": 18, "IL": 18,
    "RI": 16, "SC": 14, "DE": 12, "VT": 10, "NH": 9, "WA": 8, "DP": 7, "ON": 7, "QB": 6, "CO": 5, "DC": 5, "GV": 4,
}  # fmt: skip
_PLATE_TYPES: Final = {
    "PAS": 7285, "COM": 1850, "OMT": 350, "SRF": 95, "OMS": 95, "999": 55, "IRP": 45, "OMR": 32, "TRC": 27, "PSD": 27,
    "ORG": 23, "MED": 18, "CMB": 18, "APP": 14, "OML": 14, "MOT": 14, "SCL": 5, "CHC": 5, "SPO": 5, "DLR": 5, "AGR": 4,
}  # fmt: skip
_BODIES: Final = {
    "SUBN": 3197, "4DSD": 2833, "VAN": 1414, "DELV": 709, "SDN": 373, "2DSD": 305, "PICK": 273, "TAXI": 82, "UTIL": 68,
    "4 DR": 64, "BUS": 64, "TRAC": 64, "REFG": 64, "CONV": 59, "TRLR": 55, "WAGO": 36, "4D": 32, "": 27, "MCY": 27,
    "SW": 23, "TRAI": 18, "P-U": 18, "2 DR": 14, "FLAT": 12, "DUMP": 9, "TOW": 9, "4S": 7, "SEDN": 5, "HRSE": 2,
}  # fmt: skip
_MAKES: Final = {
    "FORD": 1355, "TOYOT": 1028, "HONDA": 946, "CHEVR": 755, "NISSA": 750, "DODGE": 359, "ME/BE": 332, "INTER": 323,
    "FRUEH": 314, "BMW": 282, "GMC": 282, "CHRYS": 246, "JEEP": 236, "HYUND": 223, "LEXUS": 205, "ACURA": 159,
    "VOLKS": 146, "MITSU": 136, "LINCO": 136, "CADIL": 132, "SUBAR": 127, "INFIN": 123, "ISUZU": 120, "AUDI": 110,
    "HIN": 95, "MAZDA": 90, "KIA": 85, "BUICK": 70, "MERCU": 60, "VOLVO": 55, "ROVER": 50, "WORKH": 45, "PONTI": 40,
    "": 40, "MINI": 35, "PORSC": 30, "SATUR": 28, "KENWO": 25, "PETER": 22, "MACK": 20, "SUZUK": 15, "SAAB": 12,
}  # fmt: skip
_COLOURS: Final = {
    "GY": 1483, "WHITE": 1464, "WH": 1305, "BK": 1228, "BLACK": 655, "BL": 505, "GREY": 359, "RD": 337, "SILVE": 268,
    "BROWN": 236, "BLUE": 236, "RED": 232, "GR": 214, "TN": 164, "GREEN": 136, "YW": 123, "": 118, "TAN": 100, "BR": 95,
    "OTHER": 86, "BLK": 64, "GL": 59, "SIL": 50, "WHT": 45, "MR": 40, "GOLD": 36, "BLU": 30, "OR": 25, "YELLO": 22,
}  # fmt: skip
_YEARS: Final = {
    "0": 2500, "2013": 940, "2014": 815, "2012": 650, "2007": 580, "2011": 456, "2004": 450, "2010": 428, "2006": 396,
    "2008": 391, "2005": 345, "2009": 336, "2015": 318, "2002": 286, "2003": 286, "2001": 276, "1997": 184, "1999": 152,
    "1998": 138, "2000": 130, "1995": 69, "1996": 60, "1994": 28, "1993": 20, "1990": 15, "1988": 10, "1985": 5,
}  # fmt: skip
_AGENCIES: Final = {"T": 7317, "V": 1601, "P": 782, "S": 164, "X": 127, "K": 9}
_LEGAL: Final = {"408": 8400, "1111": 870, "1180": 730}
_SUBDIVISIONS: Final = {
    "h1": 2133, "d1": 1255, "c": 773, "B": 732, "D": 714, "d": 546, "e2": 437, "j6": 409, "C": 300, "F1": 277,
    "k2": 227, "j3": 209, "D1": 191, "c3": 168, "f1": 155, "l3": 146, "l2": 109, "E2": 105, "C3": 77, "J6": 68,
    "j2": 68, "e5": 68,
}  # fmt: skip
_DAYS: Final = {
    "Y": 2774, "": 2365, "YYYYYYY": 2119, "YYYYY": 1069, "BBBBBBB": 887, "Y  Y": 487, "YBBYBBB": 50, "YYYYYYB": 41,
    "Y Y Y": 32, "BBBBYBB": 27, "BYBBBBB": 23, "BYBBYBB": 23, "YYYYYBB": 18, "YY YY": 14, "BBBBBYB": 9, "Y   Y": 9,
}  # fmt: skip
_FROM: Final = {
    "": 4307, "0800A": 1237, "0900A": 846, "ALL": 828, "0700A": 800, "0830A": 609, "1130A": 323, "0930A": 209,
    "1100A": 127, "0730A": 123, "1000A": 123, "0400P": 73, "1200A": 68, "0600A": 68, "0900P": 55, "0  :": 23,
    "0  :P": 9,
}  # fmt: skip
_TO: Final = {
    "": 4307, "0700P": 2146, "ALL": 828, "0600P": 537, "0100P": 341, "1100A": 223, "1000P": 218, "1000A": 214,
    "0400P": 164, "1030A": 109, "1200A": 105, "1230A": 105, "0930A": 100, "0800A": 91, "0830A": 86, "0  :": 23,
}  # fmt: skip
_DESCRIPTIONS: Final = {
    7: "FAILURE TO STOP AT RED LIGHT", 14: "14-No Standing", 16: "16-No Std (Com Veh) Com Plate",
    19: "19-No Stand (bus stop)", 20: "20A-No Parking (Non-COM)", 21: "21-No Parking (street clean)",
    31: "31-No Stand (Com. Mtr. Zone)", 36: "PHTO SCHOOL ZN SPEED VIOLATION", 37: "37-Expired Muni Meter",
    38: "38-Failure to Display Muni Rec", 40: "40-Fire Hydrant", 46: "46A-Double Parking (Non-COM)",
    69: "69-Failure to Disp Muni Recpt", 70: "70A-Reg. Sticker Expired (NYS)", 71: "71A-Insp Sticker Expired (NYS)",
}  # fmt: skip
_NO_DESCRIPTION_EACH: Final = 9
"""Every ninth ticket has no description (11 %)."""
_CLOCK_TEXTS: Final = tuple(
    f"{hour:02d}{minute:02d}{half}" for half in "AP" for hour in range(1, 13) for minute in range(60)
)


class Fragments:
    """The pools of a simulator, the same for every seed: another seed draws other tickets of the same city.

    Each attribute is a string array of :data:`SIZE` fragments, except where it says otherwise. Fragments that belong
    to one thing (``vehicle_*``, ``beat_*``) are drawn with one index.
    """

    def __init__(self) -> None:
        self._rng = np.random.default_rng(2015)
        number, text, each = self._number, self._text, self._each

        self.vehicle_plate: Final = _join(text(_STATES), text(_PLATE_TYPES))
        """State and plate type."""
        self.vehicle_make: Final = _join(text(_BODIES), text(_MAKES))
        """Body type and make."""
        self.vehicle_colour: Final = text(_COLOURS)
        self.vehicle_year: Final = _join(text({"": 89, "0": 11}), text(_YEARS))
        """Unregistered or not, and the year of the vehicle."""

        county = draw(self._rng, quantile_table(city.COUNTY_WEIGHTS, SIZE), SIZE)
        self.beat_county: Final = county
        """Indices into ``city.COUNTIES``; the only pool that is no text."""
        precinct = self._precincts(county)
        self.beat: Final = _join(
            text(_AGENCIES),
            *(self._sometimes(number(lambda at: 10 * at + 10, 9_900, 0.6), "0", share) for share in (0.2, 0.28, 0.28)),
            text(_expiry_dates()),
            pc.if_else(pc.equal(precinct, "0"), "", precinct),
            precinct,
            precinct,
            self._sometimes(number(lambda at: 331_000 + at, 7_000, 0.4), "0", 0.16),
            self._sometimes(each(lambda at: f"T{at % 9}{at % 13:02d}", 117, 1.0), "", 0.16),
            self._sometimes(each(lambda at: "0000" if at == 0 else chr(64 + at), 27, 0.3), "", 0.16),
        )
        """Agency, three street codes, expiry date, location, two precincts, the issuer's code, command and squad."""
        self.first_observed: Final = self._sometimes(each(_CLOCK_TEXTS.__getitem__, len(_CLOCK_TEXTS), 0.0), "", 0.9)
        self.house: Final = _join(text({"F": 503, "O": 214, "": 170, "I": 112, "X": 1}), self._house_numbers())
        """Side of the street and house number."""
        self.sign: Final = _join(
            self._sometimes(each(city.street_names().__getitem__, 400, 0.3), "", 0.72),
            self._sometimes(each(lambda at: _expiry(2015, at % 12 + 1, at % 28 + 1), 84, 0.0), NO_DATE, 0.977),
            text(_LEGAL),
            text(_SUBDIVISIONS),
            text({"": 84, "T": 16}),
            text(_DAYS),
            text(_FROM),
            text(_TO),
        )
        """Intersecting street, date first observed, law, subdivision, legal code, days and hours in effect."""
        self.meter: Final = _join(
            self._sometimes(number(lambda at: 1_003_000 + 7 * at, 9_000, 0.0), "", 0.93),
            text({"0": 971, "5": 8, "6": 4, "3": 4, "8": 3, "4": 3, "1": 3, "9": 1, "7": 1, "10": 1, "2": 1}),
            self._sometimes(each(lambda at: f"{at % 31:02d} {at % 9 + 1}", 279, 0.8), "", 0.27),
        )
        """Meter, feet from the curb, post code."""

    def _text(self, weights: Mapping[str, float]) -> pa.StringArray:
        table = quantile_table(list(weights.values()), SIZE)
        return pa.array(list(weights)).take(pa.array(self._rng.permutation(table)))

    def _each(self, text: Callable[[int], str], count: int, exponent: float) -> pa.StringArray:
        values: Iterable[str] = (text(at) for at in range(count))
        return self._text(dict(zip(values, zipf(count, exponent).tolist(), strict=True)))

    def _number(self, number: Callable[[int], int], count: int, exponent: float) -> pa.StringArray:
        return self._each(lambda at: str(number(at)), count, exponent)

    def _sometimes(self, values: pa.StringArray, other: pa.StringArray | str, share: float) -> pa.StringArray:
        """``other`` in a ``share`` of the fragments, ``values`` in the rest."""
        return pc.if_else(pa.array(self._rng.random(SIZE) < share), other, values)

    def _precincts(self, county: Indices) -> pa.StringArray:
        drawn = [self._rng.choice(city.PRECINCTS[name], SIZE) for name in city.COUNTIES]
        return pa.array(np.choose(county, drawn)).cast(pa.string())

    def _house_numbers(self) -> pa.StringArray:
        numbers = self._number(lambda at: at + 1, 3_000, 0.4)
        queens = self._each(lambda at: f"{at // 60 + 11}-{at % 60 + 1:02d}", 6_000, 0.0)
        numbers = self._sometimes(numbers, queens, 0.2)
        numbers = self._sometimes(numbers, self._text({"N": 77, "S": 59, "E": 54, "W": 53}), 0.16)
        return self._sometimes(numbers, "", 0.3)


def description(code: int, ticket: int) -> str:
    """The text of a code; ``ticket`` is any number, one in nine of which has none."""
    if ticket % _NO_DESCRIPTION_EACH == 0:
        return ""
    return _DESCRIPTIONS.get(code, f"{code}-Other parking violation")


def _join(*columns: pa.StringArray) -> pa.StringArray:
    return pc.binary_join_element_wise(*columns, ",")


def _expiry(year: int, month: int, day: int) -> str:
    return f"01/01/{year}{month:02d}{day:02d} 12:00:00 PM"


def _expiry_dates() -> dict[str, float]:
    """Mostly an end of a month; 88 stands for a day, 8888 for a year that the plate does not show."""
    weights = {NO_DATE: 1900.0, "01/01/88888888 12:00:00 PM": 1060.0, "01/01/88880088 12:00:00 PM": 300.0}
    for year, weight in ((2014, 90.0), (2015, 200.0), (2016, 110.0)):
        weights[f"01/01/{year}0088 12:00:00 PM"] = weight
        for month in range(1, 13):
            weights[_expiry(year, month, (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month])] = weight / 2
            for day in range(1, 28):
                weights[_expiry(year, month, day)] = weight / 36
    return weights
