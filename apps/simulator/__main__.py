"""``python -m apps.simulator``: the command line."""

import argparse
import errno
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from .dirt import MAX_FACTOR
from .history import LAYOUTS, History, write_history

EXIT_USAGE: Final = 2
EXIT_FILES: Final = 3
"""The output cannot be written there: no such folder, no permission."""
EXIT_DISK_FULL: Final = 5
EXIT_INTERRUPTED: Final = 130

_EPILOG: Final = """\
exit codes: 0 written; 2 wrong arguments; 3 the output cannot be written there; 5 the disk is full; 130 interrupted.
Whatever the code, no half file stands under the name of an output.
"""
_HISTORY: Final = """\
Write a CSV with the columns, the skew and the dirt of the city's parking tickets of fiscal year 2015,
and FILE.truth.parquet beside it: what the lake should make of each record.
The same arguments always give the same bytes.
"""
_HISTORY_EXAMPLES: Final = """\
examples:
  python -m apps.simulator history --rows 2000000 --seed 1 --output tickets.csv
  python -m apps.simulator history --rows 50000 --seed 1 --dirt 50 --crlf --bom --output windows.csv
  python -m apps.simulator history --rows 12000000 --seed 1 --columns 43 --output year.csv.gz
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except KeyboardInterrupt:
        return _fail("interrupted, nothing was written", EXIT_INTERRUPTED)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _fail(f"the disk is full: {error}", EXIT_DISK_FULL)
        return _fail(f"cannot write the output: {error}", EXIT_FILES)
    return 0


def _fail(message: str, code: int) -> int:
    print(f"simulator: {message}", file=sys.stderr)
    return code


def _run_history(options: argparse.Namespace) -> None:
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m apps.simulator",
        description="Make input of any size together with the known truth.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_history(commands)
    return parser


def _add_history(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    history = commands.add_parser(
        "history",
        help="the city's ticket CSV",
        description=_HISTORY,
        epilog=_HISTORY_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    history.set_defaults(run=_run_history)
    history.add_argument("--rows", type=_count, required=True, metavar="N", help="records, the header not counted")
    history.add_argument("--seed", type=_count, default=1, metavar="S", help="another seed, other tickets (1)")
    history.add_argument("--output", type=Path, required=True, metavar="FILE", help="ends in .gz: compressed with gzip")
    history.add_argument("--columns", type=int, choices=sorted(LAYOUTS), default=51, help="the layout of a year (51)")
    history.add_argument(
        "--dirt", type=_factor, default=1.0, metavar="FACTOR", help="1 is as dirty as the real file, 0 is clean (1)"
    )
    history.add_argument("--crlf", action="store_true", help="end records with CR LF")
    history.add_argument("--bom", action="store_true", help="begin with a byte order mark")
    history.add_argument(
        "--no-final-newline", dest="final_newline", action="store_false", help="do not end the last record"
    )
    history.add_argument("--quiet", action="store_true", help="no progress on stderr")


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return count


def _factor(text: str) -> float:
    factor = float(text)
    if not 0 <= factor <= MAX_FACTOR:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and {MAX_FACTOR:g}")
    return factor


if __name__ == "__main__":
    sys.exit(main())
