"""The flags of the commands that read a lake's answers: imports nothing heavy, for ``--help``."""

import argparse
from pathlib import Path

from pipelines.violations.options import window_seconds
from terminal.arguments import BEAM_AND_BUCKETS, LAKE, above_zero, add_lake, add_quiet, command_parser, day

GET_IT = "get it at https://data.cityofnewyork.us/d/ncbg-6agr (Export, CSV)"

ANALYZE = f"""\
examples:
  prestacop analyze --lake data/lake
  prestacop analyze --lake s3://prestacop/lake --report fiscal-2015.html
  prestacop analyze --lake data/lake --codes dof_violation_codes.csv

{BEAM_AND_BUCKETS}
It only reads the lake. With workers on other machines --answers is required: a place that they and this machine can
reach.

exit codes: 0 done, 2 wrong usage or the report cannot be written there, 3 no lake there, 4 service unavailable, 5 disk
full, 6 a vacuum deleted a file before it was read: run it again, 7 no permission
"""

FINES = """\
examples:
  prestacop fines --lake data/lake --codes dof_violation_codes.csv
  prestacop fines --lake s3://prestacop/lake --codes dof_violation_codes.csv --window 1h > fines.csv

Prints CSV: window_start (UTC), violation_code, violations, dollars, unsure (violations whose rate neither county nor
precinct determines; they are counted with the rate of all other areas), unsure_more (additional dollars if all of them
were in Manhattan up to 96th Street). Codes without a rate have no dollars.

exit codes: 0 done, 2 wrong usage, 3 no lake there, or --codes is not that table, 4 service unavailable,
6 a vacuum deleted a file before it was read: run it again
"""

FLEET = """\
examples:
  prestacop fleet --lake data/lake
  prestacop fleet --lake s3://prestacop/lake --since 2026-01-01 --format csv > batteries.csv

Estimates for each drone the health of its battery (capacity relative to a new one) and the number of flights until it
is 80 %, each with a 95 % interval, from the charge in positions. Flights that use less than 20 % of the charge are not
measured. Health is relative to the first flight that is read, or to the first one after a new battery was detected. If
that battery was not new, its health is overestimated: give --new-minutes.

The model was tested on simulated batteries only, never on real ones (docs/fleet.md).

exit codes: 0 done, 2 wrong usage, 3 no lake there, 4 service unavailable, 5 disk full,
6 a vacuum deleted a file before it was read: run it again
"""

OFFICERS = """\
examples:
  prestacop officers --lake data/lake
  prestacop officers --lake s3://prestacop/lake --since 2026-01-01 --format json
  prestacop officers --lake data/lake --console data/console

Reports, from the first answers to alerts in the lake, how much work each code was (which one should drones learn
next?), what each officer answered (by number, not by name), and the time to answer by hour of the day in New York. The
lake does not record when an officer takes an alert, so the work is estimated (docs/officers.md).

exit codes: 0 done, 2 wrong usage, 3 no lake there, 4 service unavailable, 5 disk full,
6 a vacuum deleted a file before it was read: run it again
"""


def analyze() -> argparse.ArgumentParser:
    """Of ``prestacop analyze``."""
    parser = command_parser(
        "prestacop analyze",
        "Answer when, where and for what violations are written, by which vehicles and agencies, how many need an "
        "officer and what is unusual; write the report.",
        ANALYZE,
    )
    add_lake(parser)
    parser.add_argument(
        "--report",
        type=Path,
        default=Path("report.html"),
        metavar="PATH",
        help="the HTML page to write (default: report.html)",
    )
    parser.add_argument(
        "--codes", type=Path, metavar="FILE", help=f"the city's table of violation codes, for the fines: {GET_IT}"
    )
    parser.add_argument(
        "--answers", metavar=LAKE, help="also write the numbers to answers.json in this directory or prefix"
    )
    parser.add_argument(
        "--show-plates",
        action="store_true",
        help="show whole plates; without it all but the last two characters are masked",
    )
    parser.add_argument(
        "--shapes",
        type=Path,
        metavar="FILE",
        help="GeoJSON with the shapes of the precincts for the report's map, whose features have a property precinct: "
        "NYC Open Data, Police Precincts; without it the map of the history shows counties",
    )
    add_quiet(parser)
    return parser


def fines() -> argparse.ArgumentParser:
    """Of ``prestacop fines``."""
    parser = command_parser(
        "prestacop fines",
        "Compute the fines of all violations, by window and code, with the city's two rates.",
        FINES,
    )
    add_lake(parser)
    parser.add_argument(
        "--codes", required=True, type=Path, metavar="FILE", help=f"the city's table of violation codes: {GET_IT}"
    )
    parser.add_argument(
        "--window",
        type=window_seconds,
        default=86_400,
        metavar="SIZE",
        help="size of the windows: 1h, 6h (default: 1d)",
    )
    return parser


def fleet() -> argparse.ArgumentParser:
    """Of ``prestacop fleet``."""
    parser = command_parser(
        "prestacop fleet",
        "Estimate the health of each drone's battery, and the flights left until it is worn out.",
        FLEET,
    )
    add_lake(parser)
    _add_since(parser)
    parser.add_argument(
        "--new-minutes",
        type=above_zero,
        metavar="MINUTES",
        help="how long a new battery flies from 100 to 0 %% (default: estimated from the first flights of each drone)",
    )
    parser.add_argument("--format", choices=("table", "csv", "json"), default="table", help="(default: table)")
    return parser


def officers() -> argparse.ArgumentParser:
    """Of ``prestacop officers``."""
    parser = command_parser(
        "prestacop officers",
        "Report how much work each violation code is for officers, and how long alerts wait for an answer.",
        OFFICERS,
    )
    add_lake(parser)
    _add_since(parser)
    parser.add_argument(
        "--console",
        type=Path,
        metavar="DIR",
        help="also report how often a second officer agreed, and the effect of suggestions, from the --data of a "
        "prestacop console, which may be running",
    )
    parser.add_argument("--format", choices=("table", "json"), default="table", help="(default: table)")
    return parser


def _add_since(parser: argparse.ArgumentParser) -> None:
    help_text = "read only events on this day (UTC) or later: 2026-01-31"
    parser.add_argument("--since", type=day, metavar="DATE", help=help_text)
