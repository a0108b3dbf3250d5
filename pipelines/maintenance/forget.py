"""``prestacop forget``: erase a plate, or old positions and pictures, from every byte of the lake, for good."""

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

import pyarrow as pa

from lake import Lake, filled_lake
from lake.changes import Change, discard, put_change
from lake.erasure import delete_erased, erased_by_changes, has_erased, left_over, without_erased
from lake.erasure import preview as rows_to_erase
from lake.format import mark
from lake.publication import settled
from lake.storage import storage
from lake.tombstones import (
    BEFORE,
    FRESH_SECONDS,
    PLATE,
    Tombstone,
    Tombstones,
    micros,
    now,
    put_tombstones,
    read_tombstones,
    request_of,
    salted,
    unsalted,
)
from pipelines.cli.app import progress_bar, run
from pipelines.maintenance import flags
from pipelines.maintenance.committing import commit_change
from pipelines.maintenance.undo import who
from schemas.errors import InputChanged
from schemas.lake import ERASED, Dataset
from sources.loaded import notes
from sources.progress import progress
from sources.streams import segments
from sources.tidy import tidy

SHOWN: Final = 5
"""Files that a message names."""
UNREACHED: Final = (
    "not reached: topics, the city's files, copies and backups of the lake, old versions in a versioned bucket, the "
    "loader's spool, reports, alerts that were sent, and the console's database"
)


def erase(root: str, what: str) -> bool:
    """Erase all that tombstones name from the tables and the tail, and delete the files and objects that had it;
    whether there was something.

    Args:
        what: who does it and why, for the ledger.

    Raises InputUnusable, NotReconciled, LakeDamaged.
    """

    def attempt(lk: Lake, change: Change) -> None:
        files = lk.entries(*Dataset, published=True)
        progress.planned(sum(file.bytes for file in files if file.dataset != Dataset.STATS))
        change = without_erased(lk, change, files, progress.advance)
        if has_erased(change.moves) and not put_change(root, change):
            discard(root, change)

    change = commit_change(root, what, attempt)
    lk = settled(root)
    deleted = delete_erased(lk, erased_by_changes(lk.changes))
    old = left_over(lk).done
    storage(root).delete_all(old)
    return bool(change or deleted or old)


def erase_all(root: str, what: str) -> None:
    """Erase until nothing is left, also of what workers have written that did not know of the tombstones yet.

    Raises InputChanged where units have it that are not committed, or wait to be read.
    """
    started = time.monotonic()
    tidy(root)
    while erase(root, what) or time.monotonic() < started + FRESH_SECONDS:
        time.sleep(max(0.0, started + FRESH_SECONDS - time.monotonic()))
    tombstones = read_tombstones(root)
    notes.drop_refused(root, tombstones.in_bytes)
    waiting = [*left_over(settled(root)).open, *segments.with_payloads(root, tombstones.in_bytes)]
    if waiting:
        some = ", ".join(waiting[:SHOWN])
        raise InputChanged(
            f"{root}: {len(waiting):,} files of units that are not committed have it, or may have it ({some}); let the "
            "runs end, start those again that were killed, then run the same command again"
        )


def erased_rows(changes: pa.Table) -> dict[str, Counter[str]]:
    """By change, the rows that it has erased, by dataset."""
    found: dict[str, Counter[str]] = {}
    for change in changes.select(["unit", "moves"]).to_pylist():
        for move in change["moves"]:
            if move["into"] == ERASED:
                found.setdefault(change["unit"], Counter())[move["out_of"]] += move["rows"]
    return found


def audit(lk: Lake) -> Iterator[str]:
    """What was erased: the tombstones, then the changes that erased rows."""
    for one in read_tombstones(lk.root).all:
        request = request_of(lk.root, one)
        yield f"{one}, by {request.by}" + (f": {request.reason}" if request.reason else "")
    rows = erased_rows(lk.changes)
    for change in lk.changes.select(["unit", "path", "committed_at"]).to_pylist():
        if change["unit"] in rows:
            when, what = f"{change['committed_at']:%Y-%m-%d %H:%M:%S} UTC", _said(rows[change["unit"]])
            yield f"{when}  {what} erased: {change['path']} ({change['unit']})"


def _said(rows: Counter[str]) -> str:
    return ", ".join(f"{n:,} {dataset.replace('_', ' ')}" for dataset, n in sorted(rows.items())) or "no rows"


def main(argv: Sequence[str]) -> None:
    """The command."""
    parser = flags.forget()
    arguments = parser.parse_args(argv)
    resume = "What is erased stays so; run it again, and it goes on:"
    run(partial(command, arguments, parser.error), resume, ["prestacop", "forget", *argv])


def command(arguments: argparse.Namespace, refuse: Callable[[str], Any]) -> int:
    """Do what the flags say; gives the exit code.

    Args:
        refuse: gets a message about wrong usage.
    """
    root = arguments.lake
    before = filled_lake(root)
    if arguments.list:
        print(*(list(audit(before)) or ["nothing was erased"]), sep="\n")
        return 0
    tombstones = unsalted(root) if arguments.dry_run else salted(root)
    new = _tombstone(arguments, tombstones)
    if new.kind == PLATE and tombstones.with_more([new]).in_bytes(f"{arguments.reason} {who()}".encode()):
        refuse("the reason, or the name of the user or machine, has the plate: the ledger would keep it")
    if arguments.dry_run:
        with progress_bar("looking", arguments.quiet):
            progress.planned(sum(file.bytes for file in before.entries(*Dataset)))
            found = rows_to_erase(before, tombstones.with_more([new]), progress.advance)
        print(f"would erase {_said(found)}; nothing was changed (--dry-run)", UNREACHED, sep="\n")
        return 0
    storage(root).probe()
    mark(root)
    by = who()
    put_tombstones(root, [new], by, arguments.reason)
    with progress_bar("erasing", arguments.quiet):
        erase_all(root, f"forget by {by}" + (f": {arguments.reason}" if arguments.reason else ""))
    after = Lake(root)
    rows: Counter[str] = sum(erased_rows(after.changes_since(before.number)).values(), Counter())
    print(f"erased: {_said(rows)}", f"tombstone: {new}", UNREACHED, sep="\n")
    return 0


def _tombstone(arguments: argparse.Namespace, tombstones: Tombstones) -> Tombstone:
    if arguments.before:
        return Tombstone(BEFORE, str(micros(arguments.before)), now())
    return tombstones.of(PLATE, arguments.plate, now())
