"""The flags of ``prestacop run-local``: imports nothing heavy, for ``--help``."""

import argparse
from pathlib import Path

from pipelines.violations.options import add_max_dead_letters, history_url, recording, take_once
from schemas.files.urls import PLACE
from terminal.arguments import LAKE, add_quiet, command_parser, whole

EXAMPLES = """\
examples:
  prestacop run-local
  prestacop run-local --history 'tickets/*.csv' --lake /tmp/lake
  prestacop run-local --rows 5000 --drones 10 --seconds 60 --data small

Input that is not given is simulated. A second run adds nothing to the lake. If lake, input and program are unchanged,
it prints the stored answers and does not rewrite the report.

exit codes: 0 done, 1 rows in and rows out differ, 2 wrong usage or output, 3 input unusable or mostly refused, 5 disk
full, 7 no permission, 130 stopped
"""


def parser() -> argparse.ArgumentParser:
    """Of ``prestacop run-local``."""
    made = command_parser(
        "prestacop run-local",
        "Simulate input if none is given, read it into a lake, answer the city's questions and write the report.",
        EXAMPLES,
    )
    take_once(made)
    made.add_argument(
        "--data",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="directory of the simulated input (default: data)",
    )
    made.add_argument("--lake", metavar=LAKE, help=f"the lake: {PLACE} (default: DIR/lake)")
    made.add_argument("--report", type=Path, metavar="PATH", help="the HTML page to write (default: DIR/report.html)")
    made.add_argument(
        "--history",
        type=history_url,
        metavar="GLOB_OR_URL",
        help="your ticket CSV files, as for prestacop run (default: simulated)",
    )
    made.add_argument(
        "--messages",
        type=recording,
        metavar="file:PATH",
        help="your recording of drone messages, one payload a line (default: simulated)",
    )
    made.add_argument(
        "--rows", type=whole(), default=500_000, metavar="N", help="rows of the simulated history (default: 500000)"
    )
    made.add_argument(
        "--drones", type=whole(), default=200, metavar="N", help="drones of the simulated fleet (default: 200)"
    )
    made.add_argument(
        "--seconds",
        type=whole(),
        default=3600,
        metavar="T",
        help="how many seconds they fly, spread over a week (default: 3600)",
    )
    add_max_dead_letters(made)
    add_quiet(made)
    return made
