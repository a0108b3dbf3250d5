"""The city's history: CSV files of tickets, plain or packed, read as blocks of whole records.

A block is one row: its bytes stay as they are until the parser, which alone looks inside.
"""

from collections.abc import Iterator
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.history import MAX_HEADER_BYTES, ColumnNames, Layout, column_names, columns_of, first_line, layout
from schemas.lake import Source
from sources.files.csv_records import count_records, odd_records, record_end, record_start
from sources.files.grid import Borders, Cell
from sources.files.read import Header

BLOCK = pa.schema(
    [
        pa.field("data", pa.large_binary(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("first_record", pa.int64(), nullable=False),
        pa.field("records", pa.int64(), nullable=False),
        pa.field("odd", pa.list_(pa.int64()), nullable=False),
        pa.field("headers", pa.list_(pa.int64()), nullable=False),
        pa.field("other", pa.list_(pa.int64()), nullable=False),
    ]
)
"""One row a block: its bytes, where they stand in the file, the number in the unit of its first record, how many
there are, where in the bytes the odd ones begin (:mod:`sources.files.csv_records`), and lines of column names;
``other`` are the begins and ends of the rows to which a header in another order than the file's applies."""

_HEADER = r"summons[^a-z0-9\n]*number"
_SCANNED_BYTES = 8 << 20


def header_lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines of column names in ``data``, which begins at a line, each with its offset."""
    place = 0
    while place < len(data):
        hit = _find_header(data, place)
        if hit < 0:
            return
        start = data.rfind(b"\n", place, place + hit) + 1 or place
        place = data.find(b"\n", place + hit) + 1 or len(data)
        if column_names(data[start:place]):
            yield start, data[start:place]


def may_hold_header(data: bytes) -> bool:
    """Whether bytes, which may begin anywhere, hold what a line of column names has."""
    return bool(data) and _find_header(data, 0) >= 0


def _find_header(data: bytes, place: int) -> int:
    """How far behind ``place`` the words stand that every line of column names has; -1 where they do not."""
    bounds = pa.py_buffer(np.array([0, len(data) - place], np.int64))
    rest = pa.Array.from_buffers(pa.large_binary(), 1, [None, bounds, pa.py_buffer(data).slice(place)])
    return int(pc.find_substring_regex(rest, _HEADER, ignore_case=True)[0].as_py())


class CsvRecords:
    """The :class:`~sources.files.grid.Borders` of a CSV file of so many columns."""

    def __init__(self, columns: int, separator: bytes = b",") -> None:
        self._columns, self._separator = columns, separator

    def end(self, data: bytes, size: int, complete: bool) -> int:
        return record_end(data, size, complete, self._columns, self._separator)

    def start(self, window: bytes, at: int, complete: bool) -> int:
        return record_start(window, at, complete, self._columns, self._separator)


class HistoryCsv:
    """The :class:`~sources.files.read.Format` of the ticket CSV of any year: columns are found by name."""

    source = Source.HISTORY

    def header(self, file: IO[bytes], url: str) -> Header:
        file.seek(0)
        begin = file.read(MAX_HEADER_BYTES)
        columns, separator = columns_of(begin, url)
        return Header(first_line(begin), columns, separator=separator)

    def borders(self, header: Header) -> Borders:
        return CsvRecords(len(header.columns), header.separator.encode())

    def batch(self, header: Header, data: bytes, offset: int, first_record: int) -> tuple[pa.RecordBatch, int]:
        odd = odd_records(data, len(header.columns), header.separator.encode())
        records = count_records(data, odd)
        found = list(header_lines(data))
        other, since = [], 0 if header.other else -1
        known = _layout(header)
        for start, line in [*found, (len(data), b"")]:
            if since >= 0:
                other += [since, start]
            since = start if self._is_other(known, line) else -1
        lines = [start for start, _ in found]
        rest = ([offset], [first_record], [records], [[record.start for record in odd]], [lines], [other])
        arrays = [pa.array(column, field.type) for column, field in zip(rest, list(BLOCK)[1:], strict=True)]
        return pa.RecordBatch.from_arrays([_one_value(data), *arrays], schema=BLOCK), records

    def behind(self, header: Header, rows: pa.RecordBatch) -> Header:
        headers = rows["headers"][0].as_py()
        if not headers:
            return header
        data = rows["data"][0].as_py()[headers[-1] :]
        line = data[: data.find(b"\n") + 1 or None]
        return header._replace(other=line if self._is_other(_layout(header), line) else b"")

    def mark(self, cells: list[Cell], file: IO[bytes], header: Header) -> list[Cell]:
        if len(cells) == 1:
            return cells
        marked, other, held, position = [], b"", b"", 0
        known = _layout(header)
        file.seek(0)
        for cell in cells:
            if cell.number:  # all lines that begin before it, whose ends may stand in it
                new = [held]
                while position < cell.start + MAX_HEADER_BYTES and (block := file.read(_SCANNED_BYTES)):
                    new.append(block)
                    position += len(block)
                held = b"".join(new)
                begin = position - len(held)
                for at, line in header_lines(held[: cell.start - begin + MAX_HEADER_BYTES]):
                    if begin + at < cell.start:
                        other = line if self._is_other(known, line) else b""
                # Of a line that is too long for a header, what is kept is too long as well.
                most = cell.start - begin - MAX_HEADER_BYTES
                held = held[max(held.rfind(b"\n", 0, cell.start - begin) + 1, most, 0) :]
            marked.append(cell._replace(other=other))
        return marked

    @staticmethod
    def _is_other(known: Layout, line: bytes) -> bool:
        names = column_names(line)
        return names is not None and layout(names) != known


def _layout(header: Header) -> Layout:
    return layout(ColumnNames(header.columns, header.separator))


def _one_value(data: bytes) -> pa.LargeBinaryArray:
    """An array of one value, which is not copied."""
    offsets = pa.py_buffer(np.array([0, len(data)], np.int64))
    return pa.Array.from_buffers(pa.large_binary(), 1, [None, offsets, pa.py_buffer(data)])
