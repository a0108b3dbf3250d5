"""Changes of committed files: compaction, replay and undo replace files atomically.

A change is a file of the ledger, ``ledger/source=changes/change-000001.parquet``. It names the files that it replaces
and the new ones, and is written only if no change has that number (optimistic concurrency): of two that start from the
same state one wins, the other starts again, and no file is replaced twice. The replaced files stay for open readers
until :func:`vacuum`.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import count, takewhile
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.files import WrittenFile, in_ledger
from lake.format import check
from lake.layout import change_path
from lake.ledger import put_row, read_rows
from lake.storage import storage
from schemas.errors import InputChanged, PrestaCopError
from schemas.lake import CHANGES, LEDGER, LEDGER_ROW, MERGED_LEDGER, UNDONE, Dataset

CHANGE = "change-"
"""Prefix of the names of changes and of their files."""
_NUMBER = re.compile(r"/change-(\d{6,})\.parquet$")
_FILE = re.compile(r"/change-(\d{6,})-[0-9a-f]+-\d+(?:\.part-\d{5})?\.parquet$")


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

    @property
    def name(self) -> str:
        return f"{CHANGE}{self.number:06d}-{self.token}"

    def file_name(self, part: int) -> str:
        """The name of one of its files, without the ending."""
        return f"{self.name}-{part:05d}"


def read_changes(root: str) -> pa.Table:
    """The changes of a lake, in their order.

    Read them before the ledger: a unit whose files a change replaces was committed before the change.
    """
    check(root)
    folder = change_path(1).rpartition("/")[0]
    paths = {int(m[1]): info.path for info in storage(root).list(folder) if (m := _NUMBER.search(info.path))}
    # A listing may miss a change that is written meanwhile, and yet show the next one.
    return read_rows(root, list(takewhile(bool, (paths.get(number, "") for number in count(1)))))


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
    }
    return put_row(root, change_path(change.number), row)


def merged_ledger(changes: pa.Table) -> str | None:
    """The path of the newest file with merged rows of the ledger; None if there is none.

    The rows of units never change, so the file is valid with any later listing of the ledger.
    """
    files = pc.list_flatten(changes["files"].combine_chunks())
    paths = files.filter(pc.equal(pc.struct_field(files, "dataset"), LEDGER))
    return paths[-1].as_py()["path"] if len(paths) else None


def replaced_by(changes: pa.Table) -> pa.Array:
    """The paths of all files that these changes replace."""
    return pc.list_flatten(changes["replaces"].combine_chunks())


def moved(ledger: pa.Table, changes: pa.Table) -> pa.Table:
    """The ledger with its counts as they are after the changes."""
    deltas: dict[str, Counter[str]] = {}
    for move in (move for moves in changes["moves"].to_pylist() for move in moves):
        for what, rows in ((move["out_of"], -move["rows"]), (move["into"], move["rows"])):
            if what == UNDONE:  # no row came in either
                deltas.setdefault("rows_in", Counter())[move["unit"]] -= rows
                continue
            deltas.setdefault(what, Counter())[move["unit"]] += rows
            if what in (Dataset.POSITIONS, Dataset.QUALIFIED, Dataset.UNQUALIFIED):
                deltas.setdefault("counted", Counter())[move["unit"]] += rows
    units = ledger["unit"].to_pylist() if deltas else []
    for what, of in deltas.items():
        sums = pc.add(ledger[what], pa.array([of[unit] for unit in units], pa.int64()))
        place = ledger.schema.get_field_index(what)
        ledger = ledger.set_column(place, ledger.schema.field(place), sums)
    return ledger


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


class Vacuumed(NamedTuple):
    """What a vacuum removed."""

    files: int
    bytes: int
    kept: int
    """Replaced files that are too young to be removed."""


def vacuum(root: str, older_than: timedelta) -> Vacuumed:
    """Remove files that were replaced at least this long ago, and those of failed attempts.

    A reader that opened the lake before a change reads the replaced files: it must finish within this time.
    """
    changes = read_changes(root)
    before = datetime.now(UTC) - older_than
    old = changes.filter(pc.less_equal(changes["committed_at"], pa.scalar(before, pa.timestamp("us", "UTC"))))
    removable, replaced = (set(replaced_by(table).to_pylist()) for table in (old, changes))
    named = {file["path"] for files in changes["files"].to_pylist() for file in files}
    store = storage(root)
    files = size = kept = 0
    for info in (info for folder in (*map(str, Dataset), MERGED_LEDGER) for info in store.list(folder)):
        path = info.path.removeprefix(f"{store.base}/")
        attempt = _FILE.search(path)
        lost = attempt is not None and int(attempt[1]) <= changes.num_rows and path not in named
        if path in removable or lost:
            store.delete(path)
            files, size = files + 1, size + info.size
        elif path in replaced:
            kept += 1
    return Vacuumed(files, size, kept)


@contextmanager
def reading(root: str, what: str) -> Iterator[None]:
    """Report a failed read as InputChanged where a vacuum removed files that were to be read.

    Args:
        what: the name of the operation, for the message.

    Raises:
        InputChanged: files were removed meanwhile.
    """
    changes = read_changes(root).num_rows
    try:
        yield
    except PrestaCopError:
        raise
    except Exception:  # a missing file has one type in pyarrow, another in DuckDB, and none in a runner
        check_not_removed(root, what, changes)
        raise


def check_not_removed(root: str, what: str, changes: int) -> None:
    """Raises InputChanged where a file is missing that was live after so many changes."""
    replaced = set(replaced_by(read_changes(root).slice(changes)).to_pylist())
    if not replaced:
        return
    store = storage(root)
    there = {info.path for folder in (*map(str, Dataset), MERGED_LEDGER) for info in store.list(folder)}
    if not all(store.full(path) in there for path in replaced):
        raise InputChanged(
            f"{root}: the {what} took longer than the vacuum retention: another change replaced files that it had to "
            "read, and a vacuum removed them. Nothing is lost; run the same command again. If this happens often, give "
            "vacuums a longer --older-than"
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
