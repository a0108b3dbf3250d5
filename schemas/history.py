"""The city's ticket CSV: its columns in each year's layout, its time zone, and the names of repairs and refusals.

Every repair that the graph makes is named on the row (``repairs``), every refusal is a dead letter
with one ``reason``. Both vocabularies are closed: they are the two classes of constants below.

Sources: NYC Open Data, "Parking Violations Issued - Fiscal Year 2014 .. 2024" (column names by year);
NYC Department of Finance, "DOF Parking Violation Codes" (codes 1 to 99).
"""

from typing import Final

TIME_ZONE: Final = "America/New_York"

COLUMNS_43: Final = (
    "Summons Number", "Plate ID", "Registration State", "Plate Type", "Issue Date", "Violation Code",
    "Vehicle Body Type", "Vehicle Make", "Issuing Agency", "Street Code1", "Street Code2", "Street Code3",
    "Vehicle Expiration Date", "Violation Location", "Violation Precinct", "Issuer Precinct", "Issuer Code",
    "Issuer Command", "Issuer Squad", "Violation Time", "Time First Observed", "Violation County",
    "Violation In Front Of Or Opposite", "House Number", "Street Name", "Intersecting Street",
    "Date First Observed", "Law Section", "Sub Division", "Violation Legal Code",
    "Days Parking In Effect    ", "From Hours In Effect", "To Hours In Effect", "Vehicle Color",
    "Unregistered Vehicle?", "Vehicle Year", "Meter Number", "Feet From Curb", "Violation Post Code",
    "Violation Description", "No Standing or Stopping Violation", "Hydrant Violation",
    "Double Parking Violation",
)  # fmt: skip
"""The layout of fiscal years 2016 and later."""

COLUMNS_51: Final = (
    *COLUMNS_43,
    "Latitude", "Longitude", "Community Board", "Community Council ", "Census Tract", "BIN", "BBL", "NTA",
)  # fmt: skip
"""The layout of fiscal years 2014 and 2015."""

COLUMNS_34: Final = COLUMNS_43[:34]
"""A shortened layout that ends with the vehicle's colour."""

MANDATORY: Final = ("Summons Number", "Issue Date", "Violation Time", "Violation Code")
"""Without one of these a row cannot be placed in the lake."""

TEXT_COLUMNS: Final = {
    "plate_id": "Plate ID",
    "registration_state": "Registration State",
    "plate_type": "Plate Type",
    "vehicle_body": "Vehicle Body Type",
    "vehicle_make": "Vehicle Make",
    "vehicle_color": "Vehicle Color",
    "agency": "Issuing Agency",
    "street": "Street Name",
    "house_number": "House Number",
}
"""Columns of the lake that keep the text of a column of the file."""
NUMBER_COLUMNS: Final = {"precinct": "Violation Precinct", "vehicle_year": "Vehicle Year"}
READ_COLUMNS: Final = (
    "Summons Number", "Issue Date", "Violation Time", "Violation Code", "Violation County",
    *TEXT_COLUMNS.values(), *NUMBER_COLUMNS.values(),
)  # fmt: skip
"""The columns that are read: in a header each of them has at most one place."""

COUNTY_ALIASES: Final = {
    "NY": ("MAN", "MH", "MN", "M", "NEW Y", "NEWY", "NEW YORK", "MANHATTAN"),
    "K": ("KINGS", "KING", "BK", "BKLYN", "BROOKLYN"),
    "Q": ("QN", "QNS", "QU", "QUEEN", "QUEENS"),
    "BX": ("BRONX", "B"),
    "R": ("ST", "RICH", "RICHMOND", "STATEN", "STATEN ISLAND"),
}
"""The code of each county, as most rows of FY2015 have it, and the other spellings seen."""

BLANK_PLATES: Final = ("BLANKPLATE", "BLANK PLATE", "BLANK", "N/A", "NA", "NONE", "NOPLATE", "NO PLATE")
"""Values of ``Plate ID`` for a vehicle without a plate: in capitals, small letters or ``Title`` case."""

PLACEHOLDERS: Final = frozenset(
    ("NA", "N/A", "#N/A", "<NA>", "N.A.", "NAN", "NAT", "NULL", "(NULL)", "NONE", "NIL", "\\N", "-", "--")
)
"""What programs write where they have no value, in capitals; small letters are the same."""


class Repair:
    """Names of the repairs, in the order in which they are tried."""

    ENCODING: Final = "encoding_latin1"
    """The row was not UTF-8 and was read as Latin-1."""
    STRAY_QUOTE: Final = "stray_quote"
    """An unpaired quote was taken as an ordinary character."""
    TRIMMED: Final = "text_trimmed"
    """Blanks around a text were taken off; of a time see the next ones."""
    PLACEHOLDER: Final = "placeholder"
    """One of PLACEHOLDERS, such as ``NULL`` or ``\\N``: there was no value."""
    POINT_ZERO: Final = "number_point_zero"
    """A number that passed through floating point: ``33.0`` is 33."""
    NUMBER_SPELLING: Final = "number_spelling"
    """A whole number spelled another way: ``021`` is 21, ``-0`` is 0."""
    TIME_TRIMMED: Final = "time_trimmed"
    """Blanks around the time, or a lower-case suffix: `` 0143a`` is 01:43."""
    TIME_BLANK_HOUR: Final = "time_blank_hour"
    """One hour digit and a blank: ``1 25P`` and `` 125P`` are 13:25."""
    TIME_LOST_ZERO: Final = "time_lost_zero"
    """The leading zero was lost on the way: ``143A`` is 01:43."""
    TIME_ZERO_HOUR_PM: Final = "time_zero_hour_pm"
    """``0010P`` is ten past noon, 12:10."""
    TIME_24H: Final = "time_24h_with_suffix"
    """``1649P`` is 16:49."""
    TIME_NO_SUFFIX: Final = "time_no_suffix"
    """Four digits alone are a 24-hour clock: ``1225`` is 12:25."""
    TIME_SPELLING: Final = "time_spelling"
    """The clock as the city's portal writes it: ``06:56P``, ``12:25 PM``, ``0825AM``."""
    DATE_MIDNIGHT: Final = "date_with_midnight"
    """A date of the city's portal with a midnight behind it: ``1/7/2015 0:00``, ``01/07/2015 12:00:00 AM``."""
    DATE_UNPADDED: Final = "date_unpadded"
    """``7/6/2023`` is 07/06/2023 (month first)."""
    DATE_TWO_DIGIT_YEAR: Final = "date_two_digit_year"
    """``7/6/23`` is 07/06/2023."""
    DATE_ISO: Final = "date_iso"
    """``2023-07-06``, also with a time of midnight after it."""
    DST_GAP: Final = "dst_gap"
    """A local time that the clock change leaves out, moved on by an hour."""
    DST_TWICE: Final = "dst_twice"
    """A local time that happens twice: the first one (daylight time) is taken."""
    COUNTY_ALIAS: Final = "county_alias"
    """Another spelling of a county: ``Kings`` and ``BK`` are ``K``."""
    COUNTY_UNKNOWN: Final = "county_unknown"
    """Not a county of the city: the text is kept as it is."""
    PLATE_BLANK: Final = "plate_blank"
    """``BLANKPLATE``, ``N/A`` and the like: no plate."""
    PLATE_ODD: Final = "plate_odd"
    """Characters that no plate has (``3%68954N``): the text is kept as it is."""
    NUMBER_UNREADABLE: Final = "number_unreadable"
    """An optional number (precinct, vehicle year, latitude, longitude) that is none: left empty."""


class Reason:
    """Why a history row is a dead letter."""

    CUT_SHORT: Final = "row_cut_short"
    TOO_LONG: Final = "row_too_long"
    HEADER_LINE: Final = "header_line"
    """A line of column names inside the file: files were put together."""
    OTHER_COLUMNS: Final = "columns_in_another_order"
    """A row behind such a line whose order is not that of the file's first line."""
    SUMMONS_MISSING: Final = "summons_missing"
    SUMMONS_UNREADABLE: Final = "summons_unreadable"
    CODE_MISSING: Final = "code_missing"
    CODE_UNREADABLE: Final = "code_unreadable"
    CODE_OUT_OF_RANGE: Final = "code_out_of_range"
    DATE_MISSING: Final = "date_missing"
    DATE_UNREADABLE: Final = "date_unreadable"
    DATE_OUT_OF_RANGE: Final = "date_out_of_range"
    TIME_MISSING: Final = "time_missing"
    TIME_UNREADABLE: Final = "time_unreadable"
    TIME_OUT_OF_RANGE: Final = "time_out_of_range"
    TIME_CONTRADICTORY: Final = "time_contradictory"
    """An hour past noon with the suffix A: ``1649A``."""


def column_key(name: str) -> str:
    """What a column's name is compared by: letters and digits alone, so that ``Days Parking In Effect    ``
    and ``days_parking_in_effect`` are the same."""
    return "".join(c for c in name.lower() if c.isalnum())
