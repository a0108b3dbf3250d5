"""SHA-256 checksums, which show that a file is what was written.

That of a data file is in the ledger's row that names it. A row of the ledger has no other file to keep its checksum, so
it has its own in the Parquet footer, in the key-value metadata.
"""

import hashlib
import io
import re
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

_KEY: Final = b"prestacop.sha256"
_NONE: Final = b"0" * 64
"""Placeholder of the checksum while it is computed."""
_OWN: Final = re.compile(rb"%s\x18\x40(.{64})" % re.escape(_KEY), re.DOTALL)
"""The key and Thrift's text of 64 bytes. Found without a Parquet reader, which a damaged footer could mislead."""


def sha256(data: bytes | memoryview) -> str:
    """The checksum, as ``sha256sum`` shows it: 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def with_checksum(table: pa.Table, row_group: int | None = None) -> bytes:
    """The table as a Parquet file that contains its own checksum.

    Args:
        row_group: rows per row group; a million if not given.
    """
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, compression="zstd", write_page_checksum=True) as writer:
        writer.write_table(table, row_group_size=row_group)
        writer.add_key_value_metadata({_KEY.decode(): _NONE.decode()})
    data = sink.getvalue()
    return _with(data, sha256(data).encode())


def own_checksum_holds(data: bytes) -> bool | None:
    """Whether a file is as :func:`with_checksum` made it; None where it has no checksum of its own."""
    found = _own(data)
    return None if found is None else sha256(_with(data, _NONE)).encode() == found[1]


def _with(data: bytes, checksum: bytes) -> bytes:
    found = _own(data)
    if found is None:
        raise ValueError("the file has no placeholder for its checksum")
    start, end = found.span(1)
    return b"".join((data[:start], checksum, data[end:]))


def _own(data: bytes) -> re.Match[bytes] | None:
    *_, last = (None, *_OWN.finditer(data))  # the footer is at the end, after all texts of the rows
    return last
