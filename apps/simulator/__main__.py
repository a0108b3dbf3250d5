"""``python -m apps.simulator``: the command line."""

import argparse
import errno
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from . import arguments
from .drones import Mishaps, write_drones
from .flight import Flight
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
_DRONES: Final = """\
Publish the messages of a fleet of drones over New York, and write URL's file.truth.parquet beside it:
the identity of each line, and the branch of the graph that it belongs in.
The same arguments always give the same bytes.
"""
_DRONES_EXAMPLES: Final = """\
examples:
  python -m apps.simulator drones --drones 100 --seconds 60 --rate 1 --seed 1 --output file:drones.jsonl
  python -m apps.simulator drones --drones 10000 --seconds 600 --rate 1 --seed 1 --output file:rush.jsonl \\
      --v0-share 0.2 --duplicates 0.01 --disorder 5 --late-share 0.001 --late 900 --corrupt 0.001
  python -m apps.simulator drones --drones 10 --seconds 60 --rate 10 --seed 1 --output file:drones.jsonl \\
      --images file:images.jsonl
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


def _run_drones(options: argparse.Namespace) -> None:
    if options.images == options.output:
        options.refuse("--images and --output are the same file")
    if bool(options.late_share) != bool(options.late):
        options.refuse("--late-share and --late go together")
    flight = Flight(
        drones=options.drones,
        seconds=options.seconds,
        rate=options.rate,
        seed=options.seed,
        start=options.start,
        v0_share=options.v0_share,
        violation_share=options.violation_share,
        unqualified_share=options.unqualified_share,
        image_share=options.image_share,
    )
    mishaps = Mishaps(
        duplicates=options.duplicates,
        disorder_s=options.disorder,
        late_share=options.late_share,
        late_s=options.late,
        corrupt=options.corrupt,
    )
    began = time.perf_counter()
    lines = write_drones(flight, mishaps, output=options.output, images=options.images, quiet=options.quiet)
    if not options.quiet:
        took = time.perf_counter() - began
        print(f"simulator: {lines:,} messages in {took:.1f} s, {lines / took:,.0f} a second", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m apps.simulator",
        description="Make input of any size together with the known truth.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_history(commands)
    _add_drones(commands)
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
    history.add_argument(
        "--rows", type=arguments.count, required=True, metavar="N", help="records, the header not counted"
    )
    history.add_argument("--seed", type=arguments.count, default=1, metavar="S", help="another seed, other tickets (1)")
    history.add_argument("--output", type=Path, required=True, metavar="FILE", help="ends in .gz: compressed with gzip")
    history.add_argument("--columns", type=int, choices=sorted(LAYOUTS), default=51, help="the layout of a year (51)")
    history.add_argument(
        "--dirt",
        type=arguments.factor,
        default=1.0,
        metavar="FACTOR",
        help="1 is as dirty as the real file, 0 is clean (1)",
    )
    history.add_argument("--crlf", action="store_true", help="end records with CR LF")
    history.add_argument("--bom", action="store_true", help="begin with a byte order mark")
    history.add_argument(
        "--no-final-newline", dest="final_newline", action="store_false", help="do not end the last record"
    )
    history.add_argument("--quiet", action="store_true", help="no progress on stderr")


def _add_drones(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    drones = commands.add_parser(
        "drones",
        help="drone messages",
        description=_DRONES,
        epilog=_DRONES_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    drones.set_defaults(run=_run_drones, refuse=drones.error)
    add = drones.add_argument
    add("--drones", type=arguments.positive_count, required=True, metavar="N", help="size of the fleet")
    add("--seconds", type=arguments.seconds, required=True, metavar="T", help="how long it flies, by its own clock")
    add("--rate", type=arguments.rate, default=1.0, metavar="R", help="messages a second a drone (1)")
    add("--seed", type=arguments.count, default=1, metavar="S", help="another seed, other messages (1)")
    add("--output", type=arguments.file, required=True, metavar="URL", help="file:PATH, one payload a line")
    add(
        "--start",
        type=arguments.moment,
        default="2026-01-15T12:00:00Z",
        metavar="RFC3339",
        help="when (2026-01-15T12:00:00Z)",
    )
    add(
        "--v0-share",
        type=arguments.share,
        default=0.0,
        metavar="SHARE",
        help="of the drones: speak the text line v0 (0)",
    )
    add(
        "--violation-share",
        type=arguments.share,
        default=0.1,
        metavar="SHARE",
        help="of the messages: violations (0.1)",
    )
    add(
        "--unqualified-share",
        type=arguments.share,
        default=0.01,
        metavar="SHARE",
        help="of the violations: code 0 (0.01)",
    )
    add("--duplicates", type=arguments.share, default=0.0, metavar="SHARE", help="of the messages: published twice (0)")
    add(
        "--disorder",
        type=arguments.seconds,
        default=0.0,
        metavar="SECONDS",
        help="publish up to so much later, by chance (0)",
    )
    add("--late-share", type=arguments.share, default=0.0, metavar="SHARE", help="of the messages: published late (0)")
    add("--late", type=arguments.seconds, default=0.0, metavar="SECONDS", help="how late these are (0)")
    add("--corrupt", type=arguments.share, default=0.0, metavar="SHARE", help="of the messages: spoiled (0)")
    add("--images", type=arguments.file, metavar="URL", help="file:PATH for the images, one message a line (none)")
    add(
        "--image-share",
        type=arguments.share,
        default=1.0,
        metavar="SHARE",
        help="of the violations: have an image there (1)",
    )
    add("--quiet", action="store_true", help="no progress on stderr")


if __name__ == "__main__":
    sys.exit(main())
