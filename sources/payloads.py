"""Payloads of messages before they are decoded."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from schemas.lake import UTC

PAYLOADS = pa.schema(
    [
        pa.field("payload", pa.binary(), nullable=False),
        pa.field("record", pa.int64(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("published_at", UTC),
        pa.field("source_id", pa.string()),
    ]
)
"""One row a message: its bytes, its number in the unit, its offset in the source, its publish time, and the id that the
source gave it. A recording has neither of the last two, Kafka has no id."""


def payload_batch(
    payloads: Sequence[bytes],
    record: Any,
    offset: Any,
    published_at: Any = None,
    source_id: Sequence[str] | None = None,
) -> pa.RecordBatch:
    """Rows of :data:`PAYLOADS`; ``published_at`` is a result of :func:`schemas.lake.timestamps`."""
    n = len(payloads)
    columns = [
        pa.array(payloads, pa.binary()),
        pa.array(record, pa.int64()),
        pa.array(offset, pa.int64()),
        pa.nulls(n, UTC) if published_at is None else pa.array(published_at, UTC),
        pa.nulls(n, pa.string()) if source_id is None else pa.array(source_id, pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=PAYLOADS)
