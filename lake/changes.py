"""Changes of committed files: publication, compaction, replay and undo change the lake's tables atomically.

A change is a file of the ledger, ``ledger/source=changes/change-000001.parquet``. It names the files that it replaces
and the new ones, and is written only if no change has that number (optimistic concurrency): of two that start from the
same state one wins, the other starts again, and no file is replaced twice. The replaced files stay for open readers
until a vacuum (:mod:`lake.vacuum`).
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import count, takewhile
from typing import Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from lake.files import WrittenFile, in_ledger
from lake.format import check
from lake.layout import CHANGE, change_path, is_object, unit_of
from lake.ledger import put_row, read_rows
from lake.merged_ledger import NUMBER, MergedLedger
from lake.storage import storage
from schemas.errors import InputChanged, LakeDamaged, PrestaCopError
from schemas.lake import CHANGES, LEDGER_ROW, MERGED_LEDGER, UNDONE, Dataset

PUBLICATION: Final = "publication"
COMPACTION: Final = "compaction"
"""What changes are that add the tail to the tables, or move rows to other files and do nothing else."""
_NUMBER = re.compile(r"/change-(\d{6,})\.parquet$")
_FILE = re.compile(r"/change-(\d{6,})-[0-9a-f]+-\d+(?:\.part-\d{5})?\.parquet$")


def writer_of(path: str) -> str:
    """The name of the unit or change that wrote a file of the lake.

    >>> writer_of("stats/source=drones/change-000012-ab-00001.part-00002.parquet")
    'change-000012-ab'
    """
    name = unit_of(path)
    return name.rpartition("-")[0] if name.startswith(CHANGE) else name


class Move(NamedTuple):
    """Rows of a unit that a change moved from one count of the ledger's row to another."""

    unit: str
    out_of: str
    into: str
    rows: int


class Change(NamedTuple):
    """A change; paths are relative to the lake's root."""

    number: int
    token: str
    """Distinguishes attempts at the same number, also in the names of their files."""
    what: str
    """A short description."""
    files: Sequence[WrittenFile] = ()
    """The new ones."""
    replaces: Sequence[str] = ()
    moves: Sequence[Move] = ()
    units: Sequence[str] = ()
    """Those that a publication adds to the tables: their files that it does not replace."""

    @property
    def name(self) -> str:
        return f"{CHANGE}{self.number:06d}-{self.token}"

    def file_name(self, part: int) -> str:
        """The name of one of its files, without the ending."""
        return f"{self.name}-{part:05d}"


def read_changes(root: str, after: int = 0) -> pa.Table:
    """The changes that are not folded yet, in their order.

    Read them before the ledger: a unit whose files a change replaces was committed before the change.

    Args:
        after: the last change that :mod:`lake.merged_ledger` has.
    """
    check(root)
    paths = change_files(root)
    # A listing may miss a change that is written meanwhile, and yet show the next one.
    return read_rows(root, list(takewhile(bool, (paths.get(number, "") for number in count(after + 1)))))


def change_files(root: str) -> dict[int, str]:
    """The full paths of the files of changes, by number."""
    folder = change_path(1).rpartition("/")[0]
    return {int(m[1]): info.path for info in storage(root).list(folder) if (m := _NUMBER.search(info.path))}


def changes_since(root: str, number: int) -> pa.Table:
    """The changes after this one, in their order, folded ones too."""
    merged, recent = _with_recent(root)
    old = merged.changes_in_order(pads.field(NUMBER) > number)
    return pa.concat_tables([old, recent.slice(max(0, number - merged.number))])


def last_change(root: str) -> int:
    """The number of the lake's last change."""
    merged, recent = _with_recent(root)
    return merged.number + int(recent.num_rows)


def _with_recent(root: str) -> tuple[MergedLedger, pa.Table]:
    """The folded changes and the others, none of which was folded, and its file removed, while they were read."""
    while True:
        merged = MergedLedger(root)
        try:
            recent = read_changes(root, merged.number)
        except FileNotFoundError:
            if MergedLedger(root).number == merged.number:
                raise
            continue
        if not merged.has_grown():
            return merged, recent


def put_change(root: str, change: Change) -> bool:
    """Commit a change unless there is another one of its number; returns whether this call did it.

    The change was planned when ``change.number - 1`` was the last one, and its files are written.
    """
    storage(root).flush()
    row = {
        **{field.name: 0 for field in LEDGER_ROW if field.type == pa.int64()},
        "unit": change.name,
        "source": CHANGES,
        "path": change.what,
        **in_ledger(change.files),
        "replaces": list(change.replaces),
        "moves": [move._asdict() for move in change.moves],
        "units": list(change.units),
    }
    is_put = put_row(root, change_path(change.number), row)
    merged = MergedLedger(root)
    if not is_put:
        if merged.number < change.number and change.number not in change_files(root):
            raise LakeDamaged(
                f"{root}: {change_path(change.number)} is no file; remove it, and run prestacop reconcile"
            )
        return False
    # Where another change of this number was folded and removed meanwhile, there was room for the file again.
    return merged.number < change.number or bool(merged.find([change.name]))


def discard(root: str, change: Change) -> None:
    """Delete the files of a change that lost. Those of a killed attempt stay until ``prestacop compact --deep``."""
    won = changes_since(root, change.number - 1)["unit"].slice(0, 1).to_pylist()
    if won and won != [change.name]:  # a runner may repeat the commit of a change that won
        for file in change.files:
            storage(root).delete(file.path)


def first_publication(changes: pa.Table) -> int | None:
    """The number of the first publication; None where there is none. All that was live then is in the tables."""
    published = pc.greater(pc.list_value_length(changes["units"]).fill_null(0), 0)
    place: int = pc.index(published, True).as_py()
    return place + 1 if place >= 0 else None


def published(changes: pa.Table) -> pa.Array:
    """The names of the units that are in the tables after these changes."""
    return pc.list_flatten(changes["units"].combine_chunks())


def replaced_by(changes: pa.Table) -> pa.Array:
    """The paths of all files that these changes replace."""
    return pc.list_flatten(changes["replaces"].combine_chunks())


class Undone(NamedTuple):
    """A unit that was removed from the lake."""

    unit: str
    rows: int
    """That it had."""
    change: str
    """The name of the change that did it."""
    what: str
    """By whom and why."""
    at: datetime
    again: bool = False
    """Whether its input may be read again, as another unit (:mod:`lake.again`)."""


def undone(changes: pa.Table) -> dict[str, Undone]:
    """The units that are undone after these changes, by name."""
    found: dict[str, Undone] = {}
    for change in changes.select(["unit", "path", "committed_at", "moves"]).to_pylist():
        rows: Counter[str] = Counter()
        for move in change["moves"]:
            if move["into"] == move["out_of"] == UNDONE:
                found[move["unit"]] = found[move["unit"]]._replace(again=True)
            elif move["into"] == UNDONE:
                rows[move["unit"]] += move["rows"]
            elif move["out_of"] == UNDONE:
                found.pop(move["unit"], None)
        of = change["unit"], change["path"], change["committed_at"]
        found |= {unit: Undone(unit, n, *of) for unit, n in rows.items()}
    return found


def attempted_change(path: str) -> int | None:
    """The number of the change, committed or not, that wrote a file of the lake; None where a unit did."""
    attempt = _FILE.search(path)
    return int(attempt[1]) if attempt else None


@contextmanager
def reading(root: str, what: str) -> Iterator[None]:
    """Report a failed read as InputChanged where a vacuum removed files that were to be read.

    Args:
        what: the name of the operation, for the message.

    Raises:
        InputChanged: files were removed meanwhile.
    """
    changes = last_change(root)
    try:
        yield
    except PrestaCopError:
        raise
    except Exception:  # a missing file has one type in pyarrow, another in DuckDB, and none in a runner
        check_not_removed(root, what, changes)
        raise


def check_not_removed(root: str, what: str, changes: int) -> None:
    """Raises InputChanged where a file is missing that was live after so many changes."""
    replaced = {path for path in replaced_by(changes_since(root, changes)).to_pylist() if not is_object(path)}
    if not replaced:
        return
    store = storage(root)
    there = {info.path for folder in (*map(str, Dataset), MERGED_LEDGER) for info in store.list(folder)}
    if not all(store.full(path) in there for path in replaced):
        raise InputChanged(
            f"{root}: the {what} took longer than the vacuum retention: another change replaced files that it had to "
            "read, and a vacuum removed them. Nothing is lost; run the same command again. If this happens often, give "
            "prestacop compact a longer --retention"
        )


def live_files(tables: Iterable[pa.Table], replaced: pa.Array) -> pa.Table:
    """The files of ledger and changes that no change has replaced: dataset, path, rows, bytes, sha256 (null where an
    earlier version wrote them), and their source."""
    files = pa.concat_tables([_files_of(table) for table in tables])
    files = files.filter(pc.invert(pc.is_in(files["path"], value_set=replaced)))
    source = pc.struct_field(pc.extract_regex(files["path"], r"^[^/]+/source=(?P<source>[^/]+)/"), "source")
    return files.append_column("source", source)


def _files_of(ledger: pa.Table) -> pa.Table:
    lists, checksums = ledger["files"].combine_chunks(), ledger["sha256"].combine_chunks()
    files = pa.Table.from_struct_array(pc.list_flatten(lists))
    # A row has a checksum of each of its files, or of none.
    has = checksums.is_valid().take(pc.list_parent_indices(lists)).to_numpy(zero_copy_only=False)
    places = pa.array(np.cumsum(has) - 1, mask=~has)
    return files.append_column("sha256", pc.list_flatten(checksums).take(places))
