"""Copies of rows that arrived twice: found among what is not published yet, by comparing it with itself and with those
parts of the tables that can hold the same time.

A copy has the same bytes, hence the same time as the row that it copies. So the comparison costs by what is new, not by
the age of the lake.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from lake.files import parquet_dataset
from lake.storage import storage
from lake.tables import time_column
from schemas.lake import CONTENT, SCHEMAS, UTC, Dataset

Times = npt.NDArray[np.int64]
NO_TIMES: Final = np.array([], np.int64)


class Identity(NamedTuple):
    """What makes a row of a dataset the copy of another one."""

    key: str
    """A column that has a value where a row can have copies."""
    columns: tuple[str, ...]
    """Those that are equal in copies."""


_MESSAGE: Final = Identity("message_id", CONTENT)
IDENTITIES: Final = {
    Dataset.POSITIONS: _MESSAGE,
    Dataset.QUALIFIED: _MESSAGE,
    Dataset.UNQUALIFIED: _MESSAGE,
    Dataset.DEAD_LETTERS: Identity("source_id", ("path", "source_id")),
    Dataset.IMAGES: Identity("image_id", ("image_id", "event_time", "object")),
}
"""Of the datasets that can have copies. A row of the history has none: it is known by its unit and its number there."""
_SHOWN: Final = ("unit", "record", "message_id", "event_time", "violation_code", "area", "status")
"""The columns of views of copies."""


def copies_view(dataset: Dataset) -> str:
    """SQL of the rows of ``DATASET_tail`` that are copies of other ones of it, or of rows of ``DATASET_near``.

    Of copies in the tail the first one by publication, unit and record is not among them.
    """
    identity, there = IDENTITIES[dataset], SCHEMAS[dataset].names
    time = time_column(dataset)
    columns = dict.fromkeys(c for c in (*_SHOWN, "published_at", *identity.columns) if c in there)
    rows = " UNION ALL ".join(
        f"SELECT {tail} AS tail, {', '.join(columns)} FROM {dataset}_{part} WHERE {identity.key} IS NOT NULL"
        for part, tail in (("tail", "true"), ("near", "false"))
    )
    keys = f"hash({identity.key}, {time})"
    equal = ", ".join(c for c in identity.columns if c in there)
    shown = ", ".join(c if c in there else f"NULL AS {c}" for c in _SHOWN)
    return f"""
    SELECT '{dataset}' AS dataset, {shown} FROM (
        FROM ({rows}) SEMI JOIN (SELECT {keys} AS h FROM ({rows}) GROUP BY h HAVING count(*) > 1) ON {keys} = h
    )
    QUALIFY row_number() OVER (PARTITION BY {equal} ORDER BY tail, published_at NULLS LAST, unit, record) > 1 AND tail
    """


NO_COPIES: Final = """
    SELECT NULL::VARCHAR AS dataset, NULL::VARCHAR AS unit, NULL::BIGINT AS record, NULL::VARCHAR AS message_id,
           NULL::TIMESTAMPTZ AS event_time, NULL::SMALLINT AS violation_code, NULL::VARCHAR AS area,
           NULL::VARCHAR AS status
    WHERE false
"""
"""The same SQL of a dataset whose tail can have no copies."""


def times_of(root: str, dataset: Dataset, paths: Sequence[str]) -> Times:
    """The times of rows of these files that can have copies: sorted, distinct, in microseconds since the epoch."""
    column, key = time_column(dataset), IDENTITIES[dataset].key
    rows = parquet_dataset(root, dataset, paths)
    found = rows.to_table(columns=[column], filter=pads.field(key).is_valid(), cache_metadata=False)
    times: Times = pc.unique(found[column]).drop_null().cast(pa.int64()).to_numpy()
    return np.sort(times)


def near(
    root: str,
    dataset: Dataset,
    paths: Sequence[str],
    times: Times,
    known: dict[str, tuple[datetime, datetime]],
) -> pads.Dataset:
    """The row groups of these files that can have a row of one of these times.

    Args:
        paths: below the root.
        times: sorted.
        known: the first and last time of files, as far as they are known.
    """
    store, schema = storage(root), SCHEMAS[dataset]
    column, form = time_column(dataset), pads.ParquetFileFormat()
    fragments = []
    for path in paths:
        if path in known and not _within(times, *map(_micros, known[path])):
            continue
        fragment = form.make_fragment(store.full(path), store.filesystem)
        groups = [group.id for group in fragment.row_groups if _may_have(times, group.statistics.get(column))]
        if groups:
            fragments.append(fragment.subset(row_group_ids=groups))
    if not fragments:
        return pads.dataset(schema.empty_table())
    return pads.FileSystemDataset(fragments, schema, form, store.filesystem)


def _may_have(times: Times, bounds: dict[str, datetime] | None) -> bool:
    if bounds is None:  # no statistics
        return True
    return _within(times, _micros(bounds["min"]), _micros(bounds["max"]))


def _micros(time: datetime) -> int:
    return int(pa.scalar(time, UTC).cast(pa.int64()).as_py())


def _within(times: Times, first: int, last: int) -> bool:
    """Whether one of the times is between these."""
    place = int(np.searchsorted(times, first))
    return place < len(times) and bool(times[place] <= last)
