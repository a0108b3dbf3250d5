"""By what it is known that a file is what was written, to its last bit: a SHA-256.

That of a data file stands in the ledger's row that names it. A row of the ledger has nobody that would vouch for it, so
it carries its own, in the footer, among the metadata that Parquet leaves to those who write.
"""

import hashlib
import io
import re
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

_KEY: Final = b"prestacop.sha256"
_NONE: Final = b"0" * 64
"""Stands where the checksum will, while it is computed."""
_OWN: Final = re.compile(rb"%s\x18\x40(.{64})" % re.escape(_KEY), re.DOTALL)
"""Thrift's text of 64 bytes behind the key. No reader of Parquet is asked: a damaged footer could lead it astray."""


def sha256(data: bytes | memoryview) -> str:
    """The checksum, as ``sha256sum`` shows it: 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def with_checksum(table: pa.Table) -> bytes:
    """The table as a Parquet file that holds its own checksum."""
    sink = io.BytesIO()
    with pq.ParquetWriter(sink, table.schema, compression="zstd", write_page_checksum=True) as writer:
        writer.write_table(table)
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
        raise ValueError("it has no place for its checksum")
    start, end = found.span(1)
    return b"".join((data[:start], checksum, data[end:]))


def _own(data: bytes) -> re.Match[bytes] | None:
    *_, last = (None, *_OWN.finditer(data))  # the footer stands at the end, behind whatever texts the rows hold
    return last
