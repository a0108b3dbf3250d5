"""Refused payloads that are too large for a row are stored as objects of the lake; the row has the path (claim check).

Forty messages of 15 MB would be a column of 600 MB that every reader of dead letters loads. The object is named by the
payload's hash, so it is stored once, and no change of files removes it.
"""

import hashlib
from collections.abc import Iterator
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.storage import storage
from schemas.lake import DEAD_LETTER, REFUSED

MAX_INLINE_BYTES: Final = 1 << 20
"""Longer payloads become objects."""
BEGINNING_BYTES: Final = 1 << 10
"""How much of the payload stays in the row."""
AT_ONCE_BYTES: Final = 32 << 20
"""Payload bytes that are fetched at once."""


def payload_path(payload: bytes) -> str:
    """The path below the lake's root of a large payload: its last part is the SHA-256 of the payload."""
    name = hashlib.sha256(payload).hexdigest()
    return f"payloads/{name[:2]}/{name}"


def store_large_payloads(root: str, rows: pa.RecordBatch) -> pa.RecordBatch:
    """Store the large payloads of refused rows as objects.

    Args:
        rows: of :data:`schemas.lake.REFUSED`.

    Returns:
        The same rows as :data:`schemas.lake.DEAD_LETTER`.
    """
    n = rows.num_rows
    sizes = pc.binary_length(rows["payload"]).to_numpy()
    is_large = sizes > MAX_INLINE_BYTES
    payload, objects = rows["payload"], pa.nulls(n, pa.string())
    if is_large.any():
        found: list[str | None] = [None] * n
        for row in np.flatnonzero(is_large).tolist():
            whole = payload[row].as_py()
            found[row] = path = payload_path(whole)
            storage(root).put(path, whole)
        objects = pa.array(found, pa.string())
        beginnings = pc.binary_slice(payload, 0, BEGINNING_BYTES)
        payload = pc.if_else(objects.is_valid(), beginnings, payload)
    columns = [payload if name == "payload" else rows[name] for name in REFUSED.names]
    columns += [pa.array(sizes.astype(np.int64), mask=~is_large), objects]
    return pa.RecordBatch.from_arrays(columns, schema=DEAD_LETTER)


def fetch_large_payloads(root: str, letters: pa.Table) -> Iterator[pa.RecordBatch]:
    """Dead letters with their whole payloads, a few at a time.

    Args:
        letters: of :data:`schemas.lake.DEAD_LETTER`.

    Raises:
        FileNotFoundError: the object of a payload is missing.
    """
    for batch in letters.to_batches():
        sizes = pc.coalesce(batch["payload_bytes"], pc.binary_length(batch["payload"]).cast(pa.int64())).to_numpy()
        for start, end in bounded(sizes, AT_ONCE_BYTES):
            some = batch.slice(start, end - start)
            payloads = [
                storage(root).read(path) if path else payload
                for payload, path in zip(some["payload"].to_pylist(), some["payload_object"].to_pylist(), strict=True)
            ]
            rows, place = some.select(REFUSED.names), REFUSED.get_field_index("payload")
            yield rows.set_column(place, "payload", pa.array(payloads, pa.binary())).cast(REFUSED)


def bounded(sizes: np.typing.NDArray[np.int64], bound: int) -> Iterator[tuple[int, int]]:
    """Split rows of these sizes into ranges (start, end); each ends with the row that reaches ``bound``."""
    ends = np.cumsum(sizes)
    start = before = 0
    while start < len(sizes):
        end = min(int(np.searchsorted(ends, before + bound)) + 1, len(sizes))
        yield start, end
        start, before = end, int(ends[end - 1])
