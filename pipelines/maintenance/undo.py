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
from pipelines.maintenance import flags
from pipelines.maintenance.undo_unit import FoundUnits, find_units, put_back, read_again, undo
from schemas.lake import DUPLICATES, UNDONE
from terminal.printing import number_of


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
    return f"{change['path']}: {number_of(len(units), 'unit')}, {number_of(rows, 'row')}{again} ({change['unit']})"


def main(argv: Sequence[str]) -> None:
    """The command."""
    parser = flags.undo()
    arguments = parser.parse_args(argv)
    if bool(arguments.units) == arguments.list:
        parser.error("give the units, or --list, which shows them")
    if not (arguments.list or arguments.dry_run or arguments.yes or sys.stdin.isatty()):
        parser.error("there is no terminal to confirm on: check with --dry-run, then give --yes")
    resume = "The undo was committed as a whole or not at all; run it again:"
    run(lambda: command(arguments), resume, ["prestacop", "undo", *argv])


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
    task = f"{'restore' if back else 'read again' if again else 'undo'} {number_of(len(todo), 'unit')}"
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
