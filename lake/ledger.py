"""The ledger's tail: one small Parquet file per unit. Creating it, atomically, commits the unit.

Once a unit is published its row is folded into :mod:`lake.merged_ledger`, and its file is removed.
"""

import io
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from lake.checksums import own_checksum_holds, with_checksum
from lake.faults import is_gone
from lake.format import check, mark_new
from lake.layout import change_path, ledger_path
from lake.merged_ledger import MergedLedger, chain_of, folded, folded_ends
from lake.storage import storage
from schemas.errors import NotReconciled
from schemas.lake import LEDGER, LEDGER_ROW, Source
from terminal.logs import about

_LOG = logging.getLogger(__name__)
PUTS = 8
"""Rows written in parallel."""
_KEPT = (
    "is not the ledger's row of its unit, so the unit's input is not acknowledged; run prestacop reconcile, then "
    "restore the row from a copy, or remove it to read the unit again"
)


def is_committed(root: str, source: Source, unit: str) -> bool:
    """Whether the unit is in the lake."""
    check(root)
    return storage(root).is_file(ledger_path(source, unit)) or bool(folded(root, [unit]))


def read_back(root: str, source: Source, unit: str) -> bool:
    """Whether the unit's row is in the ledger and readable: only then may its input be acknowledged or removed.

    Raises NotReconciled where the file is not the unit's row.
    """
    return committed_end(root, source, unit) is not None


def committed_end(root: str, source: Source, unit: str) -> int | None:
    """Where the range of a committed unit ends, as its row of the ledger says; None where the unit is not committed.

    Raises NotReconciled where the file is not the unit's row.
    """
    path = ledger_path(source, unit)
    try:
        data = storage(root).read(path)
    except FileNotFoundError:
        return folded_ends(root, [unit]).get(unit)
    if own_checksum_holds(data) is False:
        raise NotReconciled(f"{root}/{path} {_KEPT} (its checksum does not match)")
    columns = ["unit", "source", "rows_in", "range_end"]
    try:
        row = pq.read_table(io.BytesIO(data), columns=columns, partitioning=None).to_pylist()
    except pa.ArrowException as error:
        raise NotReconciled(f"{root}/{path} {_KEPT} ({error})") from error
    if [(found["unit"], found["source"]) for found in row] != [(unit, source)]:
        raise NotReconciled(f"{root}/{path} {_KEPT}")
    end: int = row[0]["range_end"]
    return end


def last_of_chain(root: str, chain: str) -> str | None:
    """The committed unit of a chain (:func:`lake.merged_ledger.chain_of`) with the greatest name."""
    names = (PurePosixPath(path).stem for path in unit_paths(root))
    last = max((name for name in names if chain_of(name) == chain), default=None)
    return max(filter(None, (last, MergedLedger(root).last(chain))), default=None)


def commit(root: str, rows: list[dict[str, Any]]) -> list[str]:
    """Commit units: write their rows (of :data:`~schemas.lake.LEDGER_ROW`, without ``committed_at``), if new.

    The units' files are flushed first, once for all rows. Returns the names of the units that this call committed.
    """
    mark_new(root)
    storage(root).flush()
    with ThreadPoolExecutor(PUTS) as pool:
        put = list(pool.map(partial(_put, root), rows))
    new = [row for row, is_new in zip(rows, put, strict=True) if is_new]
    # Where another worker had committed the unit, and its row was folded and removed meanwhile.
    old = folded(root, [row["unit"] for row in new]) if new else set()
    for row in new:
        if row["unit"] in old:
            storage(root).delete(ledger_path(Source(row["source"]), row["unit"]))
    committed = [row for row in new if row["unit"] not in old]
    for row in committed:
        extra = about(row["source"], row["unit"], row["path"], row["range_start"])
        _LOG.info("committed unit %s of %s: %d rows", row["unit"], row["path"], row["rows_in"], extra=extra)
    return [row["unit"] for row in committed]


def _put(root: str, row: dict[str, Any]) -> bool:
    return put_row(root, ledger_path(Source(row["source"]), row["unit"]), row)


def put_row(root: str, path: str, row: dict[str, Any]) -> bool:
    """Write a row, with the time, unless the path exists; returns whether this call did it."""
    table = pa.Table.from_pylist([{**row, "committed_at": datetime.now(UTC)}], schema=LEDGER_ROW)
    return storage(root).put_new(path, with_checksum(table))


def unit_paths(root: str) -> list[str]:
    """The full paths of the ledger's files of units."""
    check(root)
    store = storage(root)
    changes = store.full(change_path(1)).rpartition("/")[0]
    return [info.path for info in store.list(LEDGER) if not info.path.startswith(f"{changes}/")]


def chains(root: str) -> set[str]:
    """The chains (:func:`lake.merged_ledger.chain_of`) of all units in the lake."""
    tail = {chain_of(PurePosixPath(path).stem) for path in unit_paths(root)}
    return tail | MergedLedger(root).chains()


def read_rows(root: str, paths: list[str]) -> pa.Table:
    """The rows of the ledger's files among these full paths, sorted by unit.

    Raises FileNotFoundError where another process has removed one, as its rows are folded.
    """
    paths = [path for path in paths if path.endswith(".parquet")]
    if not paths:
        return LEDGER_ROW.empty_table()
    rows = pads.dataset(paths, schema=LEDGER_ROW, format="parquet", filesystem=storage(root).filesystem)
    try:
        return rows.to_table(cache_metadata=False).sort_by("unit")  # many small files, read many at a time
    except OSError as error:
        if is_gone(error):
            raise FileNotFoundError(str(error)) from error
        raise
