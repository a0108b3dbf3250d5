"""The city's history: CSV files of tickets, plain or gzip, read as blocks of whole records.

A block is one row: its bytes stay as they are until the parser, which alone looks inside.
"""

from typing import IO

import numpy as np
import pyarrow as pa

from schemas.history import MAX_HEADER_BYTES, columns_of
from schemas.lake import Source
from sources.cells import Borders
from sources.files import Header
from sources.records import count_records, odd_records, record_end, record_start

BLOCK = pa.schema(
    [
        pa.field("data", pa.large_binary(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("first_record", pa.int64(), nullable=False),
        pa.field("records", pa.int64(), nullable=False),
        pa.field("odd", pa.list_(pa.int64()), nullable=False),
    ]
)
"""One row a block: its bytes, where they stand in the file, the number in the unit of its first record, how many
there are, and where in the bytes the odd ones begin (:mod:`sources.records`)."""


class CsvRecords:
    """The :class:`~sources.cells.Borders` of a CSV file of so many columns."""

    def __init__(self, columns: int) -> None:
        self._columns = columns

    def end(self, data: bytes, size: int, complete: bool) -> int:
        return record_end(data, size, complete, self._columns)

    def start(self, window: bytes, at: int, complete: bool) -> int:
        return record_start(window, at, complete, self._columns)


class HistoryCsv:
    """The :class:`~sources.files.Format` of the ticket CSV of any year: columns are found by name."""

    source = Source.HISTORY

    def header(self, file: IO[bytes], url: str) -> Header:
        file.seek(0)
        line = b"".join(file.read(MAX_HEADER_BYTES).partition(b"\n")[:2])
        return Header(line, columns_of(line, url))

    def borders(self, header: Header) -> Borders:
        return CsvRecords(len(header.columns))

    def batch(self, header: Header, data: bytes, offset: int, first_record: int) -> tuple[pa.RecordBatch, int]:
        odd = odd_records(data, len(header.columns))
        records = count_records(data, odd)
        rest = ([offset], [first_record], [records], [[record.start for record in odd]])
        arrays = [pa.array(column, field.type) for column, field in zip(rest, list(BLOCK)[1:], strict=True)]
        return pa.RecordBatch.from_arrays([_one_value(data), *arrays], schema=BLOCK), records


def _one_value(data: bytes) -> pa.LargeBinaryArray:
    """An array of one value, which is not copied."""
    offsets = pa.py_buffer(np.array([0, len(data)], np.int64))
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(data)])
