"""``prestacop undo``: remove units from the lake, and restore them."""

import argparse
import getpass
import shlex
import socket
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow.compute as pc

from lake import Lake, filled_lake
from lake.changes import undone
from lake.storage import storage
from pipelines.cli.app import progress_bar, run
from pipelines.maintenance.undo_unit import FoundUnits, find_units, put_back, read_again, undo
from schemas.lake import UNDONE
from sources.units import DUPLICATES
from terminal.printing import printable

EXAMPLES = """\
examples:
  prestacop undo --lake data/lake --list
  prestacop undo --lake data/lake drones-00000-38805221e67073128c021233d155a53d --dry-run
  prestacop undo --lake s3://prestacop/lake tickets.csv --reason 'tickets given as messages' --yes
  prestacop undo --lake data/lake tickets.csv --back
  prestacop undo --lake data/lake tickets.csv --again

A UNIT is a unit's name, or the path of an input: all its units. --list shows both. No reader sees their rows any more,
including those that a compaction merged or a replay moved; a duplicate of one of their messages that a compaction
removed from another unit is restored. The ledger gets one row: who, when, why, how many rows. It is safe to run while
others write and read, and safe to stop: its result becomes visible atomically.

The ledger keeps the units, so the same input is skipped and a stream resumes after its last committed offset. --back
restores the same rows, until a vacuum (prestacop compact --vacuum) removes their files. --again lets the next run
read the same file once more, as another unit, with the flags of that run. Pictures, large payloads, alerts and live
panes that were published are not removed.

exit codes: 0 done, or done before, 1 the rows do not add up, 2 wrong usage, 3 no lake, no such unit, or its files are
gone, 4 service unavailable, 5 disk full, 6 a vacuum removed what it was to read: run it again, 7 no
permission
"""
MAX_REASON = 200


def describe(found: FoundUnits) -> Iterator[str]:
    """The units, line by line."""
    for name, row in found.units.items():
        yield f"  {name}: {row['rows_in']:,} rows, {row['dead_letters']:,} dead letters, of {row['path']}"
    for of in found.undone.values():
        then = ", will be read again" * of.again
        yield f"  {of.unit}: {of.rows:,} rows, undone {of.at:%Y-%m-%d %H:%M:%S} UTC ({of.what}){then}"


def who() -> str:
    """The user and the machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        user = "a user without a name"
    return f"{user}@{socket.gethostname()}"


def summary(change: dict[str, Any]) -> str:
    """One line about a change: units, rows, restored duplicates."""
    units = {move["unit"] for move in change["moves"] if UNDONE in (move["into"], move["out_of"])}
    rows = sum(move["rows"] for move in change["moves"] if UNDONE in (move["into"], move["out_of"]))
    copies = sum(move["rows"] for move in change["moves"] if move["out_of"] == DUPLICATES and move["into"] != UNDONE)
    again = f"; {copies:,} duplicates of their messages in other units restored" if copies else ""
    return f"{change['path']}: {len(units):,} units, {rows:,} rows{again} ({change['unit']})"


def parser() -> argparse.ArgumentParser:
    """Of the command's flags."""
    flags = argparse.ArgumentParser(
        prog="prestacop undo",
        description="Remove units from the lake, or restore them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    flags.add_argument("units", nargs="*", metavar="UNIT", help="a unit's name, or the path of its input")
    flags.add_argument("--lake", required=True, metavar="DIR_OR_S3_URL", help="the lake")
    flags.add_argument("--reason", default="", metavar="TEXT", type=_reason, help="why, for the ledger")
    what = flags.add_mutually_exclusive_group()
    what.add_argument("--back", action="store_true", help="restore units that were undone")
    what.add_argument("--again", action="store_true", help="let the next run read the input of undone units again")
    what.add_argument("--list", action="store_true", help="print all units, in commit order")
    flags.add_argument("--dry-run", action="store_true", help="print what would be done")
    flags.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    flags.add_argument("--quiet", action="store_true", help="no progress bar")
    return flags


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    argv = sys.argv[1:] if argv is None else argv
    flags = parser()
    arguments = flags.parse_args(argv)
    if bool(arguments.units) == arguments.list:
        flags.error("give the units, or --list, which shows them")
    if not (arguments.list or arguments.dry_run or arguments.yes or sys.stdin.isatty()):
        flags.error("there is no terminal to confirm on: check with --dry-run, then give --yes")
    again = shlex.join(["prestacop", "undo", *argv])
    run(lambda: command(arguments), f"The undo was committed as a whole or not at all; run it again:\n  {again}")


def command(arguments: argparse.Namespace) -> int:
    """Do what the flags say; gives the exit code."""
    root, back, again = arguments.lake, arguments.back, arguments.again
    lk = filled_lake(root)
    if arguments.list:
        print("\n".join(_listed(lk)))
        return 0
    found = find_units(lk, arguments.units)
    todo = found.undone if back or again else {name: row for name, row in found.units.items() if row["rows_in"]}
    print("\n".join(describe(found)))
    if not todo:
        print(
            "nothing to do: "
            + ("none of the units is undone" if back or again else "the units are undone already, or have no rows")
        )
        return 0
    task = f"{'restore' if back else 'read again' if again else 'undo'} {len(todo):,} units"
    if arguments.dry_run:
        print(f"would {task}; nothing was changed")
        return 0
    if not arguments.yes and input(f"{task}? [y/N] ").strip().lower() not in ("y", "yes"):
        print("nothing was changed")
        return 0
    storage(root).probe()
    change = _change(arguments)
    print(summary(change) if change else "nothing to do: another process did it meanwhile")
    if again:
        print("the next run reads their input once more")
    elif change and not back:
        print("runs skip their input from now on; to restore the rows (or, with --again, to read the input once more):")
        print(f"  prestacop undo --lake {shlex.quote(root)} --back {shlex.join(arguments.units)}")
    return 0


def _change(arguments: argparse.Namespace) -> dict[str, Any] | None:
    does, action = undo, "undo"
    if arguments.back:
        does, action = put_back, "undo reverted"
    elif arguments.again:
        does, action = read_again, "undone, to be read again"
    what = f"{action} by {who()}"
    what += f": {arguments.reason}" if arguments.reason else ""
    with progress_bar("undoing", arguments.quiet):
        return does(arguments.lake, arguments.units, what)


def _listed(lk: Lake) -> Iterator[str]:
    gone = undone(lk.changes)
    for row in lk.ledger.take(pc.sort_indices(lk.ledger["committed_at"])).to_pylist():
        one = {row["unit"]: row}
        of = gone.get(row["unit"])
        (line,) = describe(FoundUnits({}, {row["unit"]: of}) if of else FoundUnits(one, {}))
        yield line


def _reason(text: str) -> str:
    if len(text) > MAX_REASON or not printable(text) == text or "\n" in text:
        raise argparse.ArgumentTypeError(f"write one line of at most {MAX_REASON} characters")
    return text
