"""Publication: the committed units of the tail become part of the tables, each message once.

A publication is a change (:mod:`lake.changes`). It names its units and, where copies were found among them, replaces
the files that hold these. The tables follow the changes; whoever comes next finishes what a killed process left.
"""

import secrets
from collections import Counter
from collections.abc import Iterable
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.changes import COMPACTION, PUBLICATION, Change, Move, change_files, discard, last_change, put_change
from lake.erasure import delete_erased, has_erased, without_erased
from lake.files import write_unit
from lake.format import mark
from lake.layout import unit_of
from lake.merge import as_lake_files, less, may_hold, read_checked
from lake.merged_ledger import NUMBER, ROW, fold
from lake.reader import Lake, LakeFile
from lake.storage import storage
from lake.tables import Table, TableFile, check_name, form_of
from schemas.errors import LakeDamaged, NotReconciled
from schemas.lake import DUPLICATES, STATS, Dataset, Source

_RECORDS: Final = 1 << 40

Drop = dict[str, list[int]]
"""By unit, the numbers of the records to drop."""


def publish(root: str, but: Iterable[str] = ()) -> int:
    """Publish all units that are committed now; returns their number.

    Idempotent: killed at any point or run several times at once, it loses and duplicates nothing.

    Args:
        but: units that stay in the tail, since they are to be undone: their files may be damaged.

    Raises OutputUnusable, NotPermitted, DiskFull, ServiceUnavailable, LakeDamaged, NotReconciled.
    """
    check_name(root)
    while True:
        lk = settled(root)
        units = [unit for unit in lk.tail["unit"].to_pylist() if unit not in but]
        if not units:
            return 0
        mark(root)
        change = Change(lk.number + 1, secrets.token_hex(4), PUBLICATION, units=units)
        try:
            change = without_copies(lk, change)
        except FileNotFoundError as error:
            if last_change(root) == lk.number:
                raise LakeDamaged(f"{root}: a file of the lake is missing; prestacop reconcile names it") from error
            continue  # a vacuum has removed what a later change replaced
        if put_change(root, change):
            lk = settled(root)
            if has_erased(change.moves):
                delete_erased(lk, change.replaces)
            return len(units)
        discard(root, change)


def settled(root: str) -> Lake:
    """The lake, after its tables were brought to the last change, and what all of them have was folded."""
    while True:
        lk = Lake(root)
        _remove_folded(lk)
        if not lk.is_published or not lk.recent.num_rows:
            return lk
        for dataset in Dataset:
            while not _follow(lk, dataset):
                pass
        fold(root, lk.number, _to_fold(lk))


def _follow(lk: Lake, dataset: Dataset) -> bool:
    """Whether the dataset's table has all that the lake's last change left; else another process was faster."""
    table = Table(lk.root, form_of(dataset), create=True)
    if table.number >= lk.number:
        return True
    adds, gone = lk.missing(dataset, table.number)
    if table.number and not adds.num_rows and not len(gone):
        return True
    files = [TableFile(row["path"], row["rows"], row["bytes"]) for row in adds.to_pylist()]
    kinds = set(lk.recent["path"].to_pylist())
    return table.commit(lk.number, files, gone.to_pylist(), moves_rows=kinds != {COMPACTION})


def _to_fold(lk: Lake) -> pa.Table:
    """The rows of the changes that are not folded, and of the units that they published, each with the number of the
    change."""
    first = lk.merged.number + 1
    of_changes = lk.recent.append_column(NUMBER, pa.array(range(first, lk.number + 1), pa.int64()))
    by = {unit: first + place for place, units in enumerate(lk.recent["units"].to_pylist()) for unit in units or ()}
    numbers = pa.array([by[unit] for unit in lk.pending["unit"].to_pylist()], pa.int64())
    return pa.concat_tables([of_changes, lk.pending.append_column(NUMBER, numbers)]).cast(ROW)


def _remove_folded(lk: Lake) -> None:
    """Remove the files of rows that are folded."""
    store = storage(lk.root)
    changes = [path for change, path in change_files(lk.root).items() if change <= lk.merged.number]
    store.delete_all(map(store.relative, (*lk.to_remove, *changes)))


def without_copies(lk: Lake, change: Change) -> Change:
    """A change without the copies that are among the rows of its units and of its new files, of rows that are in the
    tables, and of one another; and without rows that were erased (:mod:`lake.erasure`) and came again.

    It names a new file with copies both as new and as replaced, so that an undo finds these rows.

    Args:
        lk: the lake before the change.
    """
    replaced, units = set(change.replaces), set(change.units)
    files = [file for file in (lk.entries(*Dataset, published=False) if units else []) if may_hold(file, units)]
    files += as_lake_files(change.files)
    parts = {}
    for dataset in Dataset:
        of = lk.parts(dataset, [file.path for file in files if file.dataset == dataset])
        parts[dataset] = of._replace(published=[path for path in of.published if path not in replaced])
    with lk.spilling(parts, "hidden hidden_counted") as connection:
        hidden = connection.sql("SELECT dataset, unit, list(record) FROM hidden GROUP BY ALL").fetchall()
        if hidden:  # the view looks for the copies once more, which costs as much again
            taken = ", ".join("-n AS n" if name == "n" else name for name in STATS.names)
            counted = connection.sql(f"SELECT {taken} FROM hidden_counted").to_arrow_table().cast(STATS)
            change = _rewritten(lk.root, change, files, hidden, counted)
    replaced, known = set(change.replaces), {file.path for file in files}
    files += (file for file in as_lake_files(change.files) if file.path not in known)
    return without_erased(lk, change, [file for file in files if file.path not in replaced])


def _rewritten(
    root: str, change: Change, of: list[LakeFile], hidden: list[tuple[str, str, list[int]]], counted: pa.Table
) -> Change:
    """The change with files in place of those that hold hidden rows.

    Args:
        hidden: dataset, unit and records.
        counted: what their statistics lose.
    """
    drop: dict[str, Drop] = {}
    for dataset, unit, records in hidden:
        drop.setdefault(dataset, {})[unit] = records
    files, replaces = list(change.files), list(change.replaces)
    removed: Counter[tuple[str, str]] = Counter()
    first = 1 + max((int(unit_of(file.path).rpartition("-")[2]) for file in files), default=0)
    for part, file in enumerate(of, first):
        if file.dataset == Dataset.STATS:
            kept, counted = less(root, file, counted)
        else:
            kept = _without(root, file, drop.get(file.dataset, {}), removed)
        if kept is not None:
            replaces.append(file.path)
        if kept:
            name = change.file_name(part)
            files += write_unit(root, Dataset(file.dataset), Source(file.source), name, kept.to_batches())
    expected = {(dataset, unit): len(records) for dataset, unit, records in hidden}
    if removed != expected or counted.num_rows:
        raise NotReconciled(f"{root}: copies were found that the files do not have; run prestacop reconcile")
    moves = [Move(unit, dataset, DUPLICATES, rows) for (dataset, unit), rows in sorted(removed.items())]
    return change._replace(files=files, replaces=replaces, moves=[*change.moves, *moves])


def _without(root: str, file: LakeFile, drop: Drop, removed: Counter[tuple[str, str]]) -> pa.Table | None:
    """A file's rows without those to drop, which are added to ``removed``; None where there is none."""
    if not drop or not may_hold(file, drop):
        return None
    table, units = read_checked(root, file), list(drop)
    column = table["unit"].cast(pa.string()).combine_chunks()
    place = pc.index_in(column, value_set=pa.array(units)).fill_null(len(units)).to_numpy().astype(np.int64)
    encoded = [np.array(records, np.int64) + number * _RECORDS for number, records in enumerate(drop.values())]
    dropped = np.isin(place * _RECORDS + table["record"].to_numpy(), np.concatenate(encoded))
    found = Counter((file.dataset, units[number]) for number in place[dropped].tolist())
    removed.update(found)
    return table.filter(pa.array(~dropped)) if found else None
