"""``prestacop undo``: take units out of the lake again, exactly, and put them back."""

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
from pipelines.maintenance.undo_unit import Standing, put_back, read_again, standing, undo
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

A UNIT is a unit's name, or the path of what units were made from, as --list shows them. From then on no reader sees
rows of theirs, also not those that a compaction has merged or a replay has made; copies of their messages in other
units, which a compaction has left out, are rows again. It is one row of the ledger, which says who did it, when, why
and of how many rows. It may run beside everything else, and be stopped at any moment: what it does is seen all at once.

The ledger still has the units: the same input again is passed over, and a stream goes on where it was; what was undone
of it is not read again. --back puts the same rows back, as long as no vacuum (prestacop compact --vacuum) has
removed their files. --again lets the next run that is given the same file read it anew, once, as another unit, with the
flags of that run. Pictures, large payloads and what --live or alerts have told already stay.

exit codes: 0 done, or done before, 1 the rows do not add up, 2 wrong usage, 3 no lake, no such unit, or no longer
possible exactly, 4 service unavailable, 5 disk full, 6 a vacuum removed what it was to read: run it again, 7 no
permission
"""
MAX_REASON = 200


def shown(found: Standing) -> Iterator[str]:
    """The units, line by line."""
    for name, row in found.units.items():
        yield f"  {name}: {row['rows_in']:,} rows, {row['dead_letters']:,} dead letters, of {row['path']}"
    for of in found.undone.values():
        then = ", may be read again" * of.again
        yield f"  {of.unit}: {of.rows:,} rows, undone {of.at:%Y-%m-%d %H:%M:%S} UTC ({of.what}){then}"


def who() -> str:
    """The user and the machine."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        user = "a user without a name"
    return f"{user}@{socket.gethostname()}"


def done(change: dict[str, Any]) -> str:
    """What a change did, in a line."""
    units = {move["unit"] for move in change["moves"] if UNDONE in (move["into"], move["out_of"])}
    rows = sum(move["rows"] for move in change["moves"] if UNDONE in (move["into"], move["out_of"]))
    copies = sum(move["rows"] for move in change["moves"] if move["out_of"] == DUPLICATES and move["into"] != UNDONE)
    again = f"; {copies:,} copies of their messages in other units are rows again" if copies else ""
    return f"{change['path']}: {len(units):,} units, {rows:,} rows{again} ({change['unit']})"


def parser() -> argparse.ArgumentParser:
    """Of the command's flags."""
    flags = argparse.ArgumentParser(
        prog="prestacop undo",
        description="Take units out of the lake again, exactly, and put them back.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    flags.add_argument("units", nargs="*", metavar="UNIT", help="a unit's name, or the path of its input")
    flags.add_argument("--lake", required=True, metavar="DIR_OR_S3_URL", help="the lake")
    flags.add_argument("--reason", default="", metavar="TEXT", type=_reason, help="why, for the ledger")
    what = flags.add_mutually_exclusive_group()
    what.add_argument("--back", action="store_true", help="put units that are undone back")
    what.add_argument("--again", action="store_true", help="let the input of units that are undone be read again")
    what.add_argument("--list", action="store_true", help="show all units, in the order of their commits, and stop")
    flags.add_argument("--dry-run", action="store_true", help="show what would go, and stop")
    flags.add_argument("--yes", action="store_true", help="do not ask")
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
        flags.error("nobody is here to answer: look at --dry-run, then give --yes")
    again = shlex.join(["prestacop", "undo", *argv])
    run(lambda: command(arguments), f"The lake is as it was, or all is done; run it again:\n  {again}")


def command(arguments: argparse.Namespace) -> int:
    """Do what the flags say; gives the exit code."""
    root, back, again = arguments.lake, arguments.back, arguments.again
    lk = filled_lake(root)
    if arguments.list:
        print("\n".join(_listed(lk)))
        return 0
    found = standing(lk, arguments.units)
    todo = found.undone if back or again else {name: row for name, row in found.units.items() if row["rows_in"]}
    print("\n".join(shown(found)))
    if not todo:
        print(
            "nothing to do: "
            + ("none of them is undone" if back or again else "they are undone already, or have no rows")
        )
        return 0
    asked = f"{'put back' if back else 'read again' if again else 'undo'} {len(todo):,} units"
    if arguments.dry_run:
        print(f"would {asked}; nothing was changed")
        return 0
    if not arguments.yes and input(f"{asked}? [y/N] ").strip().lower() not in ("y", "yes"):
        print("nothing was changed")
        return 0
    storage(root).probe()
    change = _change(arguments)
    print(done(change) if change else "nothing to do: somebody else has done it meanwhile")
    if again:
        print("the next run that is given their input reads it, once")
    elif change and not back:
        print("their input is passed over when it is read again; to put them back (or --again: read it anew):")
        print(f"  prestacop undo --lake {shlex.quote(root)} --back {shlex.join(arguments.units)}")
    return 0


def _change(arguments: argparse.Namespace) -> dict[str, Any] | None:
    does, action = undo, "undo"
    if arguments.back:
        does, action = put_back, "undo taken back"
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
        (line,) = shown(Standing({}, {row["unit"]: of}) if of else Standing(one, {}))
        yield line


def _reason(text: str) -> str:
    if len(text) > MAX_REASON or not printable(text) == text or "\n" in text:
        raise argparse.ArgumentTypeError(f"write one line of at most {MAX_REASON} characters")
    return text
