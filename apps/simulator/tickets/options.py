"""The command ``simulate history``."""

import argparse
from pathlib import Path
from typing import Final

from apps.simulator.tickets.dirt import MAX_FACTOR
from terminal.arguments import Commands, add_command, add_quiet, between, whole

_HISTORY: Final = """\
Write a CSV with the columns, the skew and the faults of the city's parking tickets of fiscal year 2015,
and FILE.truth.parquet beside it: the expected output of the graph for each record.
The same arguments always give the same bytes.
"""
_HISTORY_EXAMPLES: Final = """\
examples:
  prestacop simulate history --rows 2000000 --seed 1 --output tickets.csv
  prestacop simulate history --rows 50000 --seed 1 --dirt 50 --crlf --bom --output windows.csv
  prestacop simulate history --rows 12000000 --seed 1 --columns 43 --output year.csv.gz
"""


def add_history(commands: Commands) -> None:
    """Add the command to the parser."""
    history = add_command(commands, "history", "the city's ticket CSV", _HISTORY, _HISTORY_EXAMPLES)
    history.set_defaults(run=_run)
    history.add_argument(
        "--rows", type=whole(), required=True, metavar="N", help="number of records, without the header"
    )
    history.add_argument("--seed", type=whole(), default=1, metavar="S", help="seed of the random numbers (default: 1)")
    history.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="the CSV file to write; compressed with gzip if the name ends in .gz",
    )
    history.add_argument(
        "--columns",
        type=int,
        choices=(34, 43, 51),
        default=51,
        help="columns of the file: 51 as in fiscal years 2014 and 2015 (default), 43 as in later ones, or 34",
    )
    history.add_argument(
        "--dirt",
        type=between(0, MAX_FACTOR),
        default=1.0,
        metavar="FACTOR",
        help="rate of faults relative to the real file's; 0 is none (default: 1)",
    )
    history.add_argument("--crlf", action="store_true", help="end records with CR LF")
    history.add_argument("--bom", action="store_true", help="begin with a byte order mark")
    history.add_argument(
        "--no-final-newline", dest="final_newline", action="store_false", help="write no line end after the last record"
    )
    add_quiet(history)


def _run(options: argparse.Namespace) -> int:
    # This imports pyarrow, which --help does without.
    from apps.simulator.tickets.history import History, write_history  # noqa: PLC0415

    history = History(
        rows=options.rows,
        seed=options.seed,
        output=options.output,
        columns=options.columns,
        dirt=options.dirt,
        crlf=options.crlf,
        bom=options.bom,
        final_newline=options.final_newline,
    )
    write_history(history, quiet=options.quiet)
    return 0
