"""The flags of ``prestacop run-local``: imports nothing heavy, for ``--help``."""

import argparse
from pathlib import Path

from pipelines.violations.options import add_max_dead_letters, history_url, recording, take_once
from terminal.arguments import LAKE, add_quiet, command_parser, whole

EXAMPLES = """\
examples:
  prestacop run-local
  make run-local HISTORY='tickets/*.csv' LAKE=/tmp/lake
"""


def parser() -> argparse.ArgumentParser:
    """Of ``prestacop run-local``."""
    made = command_parser(
        "prestacop run-local",
        "Make input if none is given, run the graph over it, answer the questions.",
        EXAMPLES,
    )
    take_once(made)
    made.add_argument("--data", type=Path, default=Path("data"), help="where the input is made (data)")
    made.add_argument("--lake", metavar=LAKE, help="the lake (DATA/lake)")
    made.add_argument("--report", type=Path, help="the page that is written (DATA/report.html)")
    made.add_argument("--history", type=history_url, metavar="GLOB_OR_URL", help="your ticket CSV files")
    made.add_argument("--messages", type=recording, metavar="file:PATH", help="your recording of drone messages")
    made.add_argument("--rows", type=whole(), default=500_000, help="rows of the history that is made (500000)")
    made.add_argument("--drones", type=whole(), default=200, help="drones whose messages are made (200)")
    made.add_argument("--seconds", type=whole(), default=3600, help="how long they fly, spread over a week (3600)")
    add_max_dead_letters(made)
    add_quiet(made)
    return made
