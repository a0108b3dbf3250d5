"""Payloads as they come from a source of messages, before anyone looked inside."""

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
"""One row a message: its bytes, its number in the unit, its position in the source, when it was published, and the
name that the source itself gave it. A recording knows neither of the last two, Kafka not the last."""


def payload_batch(
    payloads: Sequence[bytes],
    record: Any,
    offset: Any,
    published_at: Any = None,
    source_id: Sequence[str] | None = None,
) -> pa.RecordBatch:
    """Rows of :data:`PAYLOADS`; ``published_at`` is what :func:`schemas.lake.timestamps` lets pass."""
    n = len(payloads)
    columns = [
        pa.array(payloads, pa.binary()),
        pa.array(record, pa.int64()),
        pa.array(offset, pa.int64()),
        pa.nulls(n, UTC) if published_at is None else pa.array(published_at, UTC),
        pa.nulls(n, pa.string()) if source_id is None else pa.array(source_id, pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=PAYLOADS)
