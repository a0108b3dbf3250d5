"""The city's history: CSV files of tickets, plain or packed, read as blocks of whole records."""

import io
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.files.ticket_csv import MAX_HEADER_BYTES, ColumnNames, Layout, column_names, columns_of, first_line, layout
from schemas.lake import Source
from sources.files.csv_block import CsvBlock
from sources.files.csv_records import record_end, record_start
from sources.files.grid import Borders, Cell
from sources.files.read import Header
from sources.units import UnitBlock

_HEADER = r"summons[^a-z0-9\n]*number"
_SCANNED_BYTES = 1 << 20


def header_lines(data: bytes, place: int = 0) -> Iterator[tuple[int, bytes]]:
    """The lines of column names in ``data`` from ``place`` on, where a line begins, each with its offset."""
    while place < len(data):
        hit = _find_header(data, place)
        if hit < 0:
            return
        start = data.rfind(b"\n", place, place + hit) + 1 or place
        place = data.find(b"\n", place + hit) + 1 or len(data)
        if column_names(data[start:place]):
            yield start, data[start:place]


def _file_header_lines(file: IO[bytes]) -> list[tuple[int, bytes]]:
    """The lines of column names in a file, each with its offset; one block is searched while the next is read."""

    def search(data: bytes, begin: int, end: int) -> list[tuple[int, bytes]]:
        first = data.find(b"\n") + 1 if begin else 0
        if begin and not first:
            return []
        return [(begin + at, line) for at, line in header_lines(data, first) if begin + at < end]

    found: deque[Future[list[tuple[int, bytes]]]] = deque()
    lines: list[tuple[int, bytes]] = []
    size = file.seek(0, io.SEEK_END)
    with ThreadPoolExecutor(1) as pool:
        for start in range(0, size, _SCANNED_BYTES):
            begin, end = max(start - 1, 0), start + _SCANNED_BYTES  # the byte before shows whether a line begins here
            file.seek(begin)
            found.append(pool.submit(search, file.read(end + MAX_HEADER_BYTES - begin), begin, end))
            if len(found) > 1:
                lines += found.popleft().result()
        return lines + [line for future in found for line in future.result()]


def may_hold_header(data: bytes) -> bool:
    """Whether bytes, which may begin anywhere, contain the words that every line of column names has."""
    return bool(data) and _find_header(data, 0) >= 0


def _find_header(data: bytes, place: int) -> int:
    """How far behind ``place`` the words are that every line of column names has; -1 where they are not."""
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
    element = UnitBlock

    def header(self, file: IO[bytes], url: str) -> Header:
        file.seek(0)
        begin = file.read(MAX_HEADER_BYTES)
        columns, separator = columns_of(begin, url)
        return Header(first_line(begin), columns, separator=separator)

    def borders(self, header: Header) -> Borders:
        return CsvRecords(len(header.columns), header.separator.encode())

    def content(self, header: Header, data: bytes, offset: int, first_record: int) -> CsvBlock:
        found = list(header_lines(data))
        other, since = [], 0 if header.other else -1
        known = layout(_names(header))
        for start, line in [*found, (len(data), b"")]:
            if since >= 0:
                other += [since, start]
            since = start if self._is_other(known, line) else -1
        return CsvBlock(data, _names(header), offset, first_record, [start for start, _ in found], other)

    def behind(self, header: Header, content: CsvBlock) -> Header:
        if not content.headers:
            return header
        data = content.data[content.headers[-1] :]
        line = data[: data.find(b"\n") + 1 or None]
        return header._replace(other=line if self._is_other(layout(_names(header)), line) else b"")

    def mark(self, cells: list[Cell], file: IO[bytes], header: Header) -> list[Cell]:
        if len(cells) == 1:
            return cells
        known, headers = layout(_names(header)), deque(_file_header_lines(file))
        marked, other = [], b""
        for cell in cells:
            while headers and headers[0][0] < cell.start:  # it may end in the cell
                line = headers.popleft()[1]
                other = line if self._is_other(known, line) else b""
            marked.append(cell._replace(other=other))
        return marked

    @staticmethod
    def _is_other(known: Layout, line: bytes) -> bool:
        names = column_names(line)
        return names is not None and layout(names) != known


def _names(header: Header) -> ColumnNames:
    return ColumnNames(header.columns, header.separator)
