"""``prestacop fines``: what the violations cost, by window and code, with the city's two rates.

The city has one rate for Manhattan up to 96th Street and one for all other areas. A ticket says its county and the
precinct in which the car stood: the other boroughs are other areas, and of Manhattan's precincts :data:`BELOW` lie
below 96th Street and :data:`ABOVE` above it. A row of Manhattan with another precinct, or none, one without a county
of the city, and a drone's, which has neither, are unsure: they are counted at the rate of all other areas, and listed
separately.

Sources: NYC Department of Finance, "DOF Parking Violation Codes" (the table of rates, NYC Open Data ncbg-6agr); NYPD,
"Find your precinct" (the 19th ends at East 96th Street, where the 23rd begins; the 20th ends at West 86th; the 24th
goes from West 86th to West 110th, and the 22nd is Central Park, so that these two lie on both sides).
"""

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from lake import Lake, filled_lake
from lake.changes import reading
from pipelines.analysis import flags
from pipelines.analysis.flags import GET_IT
from pipelines.analysis.results import Fine, Fines
from pipelines.cli.app import run
from schemas.errors import InputUnusable
from schemas.history import column_key

BELOW = (1, 5, 6, 7, 9, 10, 13, 14, 17, 18, 19, 20)
"""Precincts of Manhattan that lie below 96th Street."""
ABOVE = (23, 25, 26, 28, 30, 32, 33, 34)
"""Those that lie above it."""
OTHER_BOROUGHS = 40
"""Precincts from this number on lie in the Bronx, Brooklyn, Queens and Staten Island."""
_FINES = f"""
    SELECT time_bucket($size * INTERVAL 1 SECOND, event_time, TIMESTAMPTZ '1970-01-01 00:00:00+00') AS window_start,
           violation_code, count(*) AS violations,
           sum(CASE WHEN below THEN manhattan ELSE elsewhere END)::BIGINT AS dollars,
           count(*) FILTER (WHERE unsure AND manhattan <> elsewhere) AS unsure,
           coalesce(sum(manhattan - elsewhere) FILTER (WHERE unsure), 0)::BIGINT AS unsure_more
    FROM (
        SELECT event_time, violation_code,
               coalesce(county IN ('K', 'Q', 'BX', 'R') OR precinct IN {ABOVE}
                        OR (precinct >= {OTHER_BOROUGHS} AND county IS DISTINCT FROM 'NY'), false) AS sure,
               NOT sure AND coalesce(precinct IN {BELOW}, false) AS below,
               NOT sure AND NOT below AS unsure
        FROM qualified
        QUALIFY status IS DISTINCT FROM 'officer'
                OR row_number() OVER (PARTITION BY status, answers ORDER BY event_time, message_id) = 1
    ) LEFT JOIN rates USING (violation_code)
    GROUP BY ALL ORDER BY window_start, violation_code
"""


class Rate(NamedTuple):
    """The fine for a violation, in dollars."""

    manhattan: int
    """In Manhattan, 96th Street and below."""
    elsewhere: int


def read_rates(path: Path) -> dict[int, Rate]:
    """The city's table of rates by code. Raises InputUnusable where the file is not that table."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputUnusable(f"--codes {path}: {error}; {GET_IT}") from error
    names = {column_key(name): name for name in (rows[0] if rows else ()) if name}
    begin = ("code", "manhattan96", "allother")
    found = [next((names[key] for key in names if key.startswith(of)), "") for of in begin]
    if not all(found):
        raise InputUnusable(f"--codes {path}: no columns CODE, Manhattan 96th St. & below, All Other Areas; {GET_IT}")
    rates = {}
    for number, row in enumerate(rows, 2):
        try:
            code, *dollars = (int(row[name].strip().removeprefix("$")) for name in found)
        except (ValueError, AttributeError) as error:
            raise InputUnusable(f"--codes {path}, line {number}: {error}; {GET_IT}") from error
        rates[code] = Rate(*dollars)
    return rates


def fines_by_window(lk: Lake, rates: dict[int, Rate], size: int) -> pa.Table:
    """Violations and dollars by window and code.

    Args:
        size: of the windows, in seconds.

    Returns:
        Columns window_start, violation_code, violations, dollars (null where there is no rate), unsure, unsure_more.
    """
    with lk.spilling(query=_FINES) as connection:
        columns = [list(rates), *map(list, zip(*rates.values(), strict=True))]
        connection.register("rates_of_city", pa.table(columns, ["violation_code", "manhattan", "elsewhere"]))
        connection.execute("CREATE TEMP TABLE rates AS SELECT * FROM rates_of_city")
        return connection.sql(_FINES, params={"size": size}).to_arrow_table()


def fines(lk: Lake, rates: dict[int, Rate]) -> Fines:
    """The dollars of the whole lake by code."""
    sums = ["violations", "dollars", "unsure", "unsure_more"]
    months = fines_by_window(lk, rates, 31 * 86_400)
    table = months.group_by("violation_code").aggregate([(name, "sum") for name in sums])
    rows = sorted(table.to_pylist(), key=lambda row: (-(row["dollars_sum"] or 0), row["violation_code"]))
    return Fines({row["violation_code"]: Fine(*(row[f"{name}_sum"] for name in sums)) for row in rows})


def main(argv: Sequence[str]) -> None:
    """The command."""
    parser = flags.fines()
    arguments = parser.parse_args(argv)
    run(lambda: _command(arguments), "The lake was only read; run it again.")


def _command(arguments: argparse.Namespace) -> int:
    rates = read_rates(arguments.codes)
    with reading(arguments.lake, "fines"):
        table = fines_by_window(filled_lake(arguments.lake), rates, arguments.window)
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(table.column_names)
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        out.writerow((row[0].isoformat(), *row[1:]))
    return 0
