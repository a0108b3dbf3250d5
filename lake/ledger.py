"""The ledger: one small Parquet file a unit. Its appearance is the commit."""

import io
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from lake.layout import ledger_path
from lake.storage import storage
from schemas.lake import LEDGER, LEDGER_ROW, Source


def is_committed(root: str, source: Source, unit: str) -> bool:
    """Whether the unit is in the lake."""
    store = storage(root)
    return bool(store.filesystem.get_file_info(store.full(ledger_path(source, unit))).is_file)


def commit(root: str, row: dict[str, Any]) -> bool:
    """Put the unit's row (of :data:`~schemas.lake.LEDGER_ROW`, without ``committed_at``) unless it is there; say
    whether this call did. What the row speaks of is durable before the row is."""
    table = pa.Table.from_pylist([{**row, "committed_at": datetime.now(UTC)}], schema=LEDGER_ROW)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    storage(root).flush()
    return storage(root).put_new(ledger_path(Source(row["source"]), row["unit"]), sink.getbuffer())


def read_ledger(root: str) -> pa.Table:
    """All committed units, in the order of their names."""
    store = storage(root)
    paths = [info.path for info in store.list(LEDGER) if info.extension == "parquet"]
    if not paths:
        return LEDGER_ROW.empty_table()
    rows = pads.dataset(paths, schema=LEDGER_ROW, format="parquet", filesystem=store.filesystem)
    return rows.to_table().sort_by("unit")  # many small files, read many at a time
