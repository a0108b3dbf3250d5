"""The ledger: one small Parquet file a unit. Its appearance is the commit."""

import io
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from lake.layout import change_path, ledger_path
from lake.storage import storage
from schemas.lake import LEDGER, LEDGER_ROW, Source

PUTS = 8
"""Rows put at once: each waits for its answer."""


def is_committed(root: str, source: Source, unit: str) -> bool:
    """Whether the unit is in the lake."""
    store = storage(root)
    return bool(store.filesystem.get_file_info(store.full(ledger_path(source, unit))).is_file)


def commit(root: str, rows: list[dict[str, Any]]) -> list[str]:
    """Put the units' rows (of :data:`~schemas.lake.LEDGER_ROW`, without ``committed_at``), each unless it is there.

    What the rows speak of is durable before they are; one flush serves them all. Returns the names of the units that
    this call committed.
    """
    storage(root).flush()
    with ThreadPoolExecutor(PUTS) as pool:
        put = list(pool.map(partial(_put, root), rows))
    return [row["unit"] for row, new in zip(rows, put, strict=True) if new]


def _put(root: str, row: dict[str, Any]) -> bool:
    return put_row(root, ledger_path(Source(row["source"]), row["unit"]), row)


def put_row(root: str, path: str, row: dict[str, Any]) -> bool:
    """Put a row under a path, with the time, unless one is there; says whether this call did it."""
    table = pa.Table.from_pylist([{**row, "committed_at": datetime.now(UTC)}], schema=LEDGER_ROW)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return storage(root).put_new(path, sink.getbuffer())


def read_ledger(root: str) -> pa.Table:
    """All committed units, in the order of their names."""
    store = storage(root)
    changes = store.full(change_path(1)).rpartition("/")[0]
    paths = [info.path for info in store.list(LEDGER) if not info.path.startswith(f"{changes}/")]
    return read_rows(root, paths)


def read_rows(root: str, paths: list[str]) -> pa.Table:
    """The ledger's files among these full paths, in the order of their names."""
    paths = [path for path in paths if path.endswith(".parquet")]
    if not paths:
        return LEDGER_ROW.empty_table()
    rows = pads.dataset(paths, schema=LEDGER_ROW, format="parquet", filesystem=storage(root).filesystem)
    return rows.to_table().sort_by("unit")  # many small files, read many at a time
