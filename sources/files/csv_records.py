"""Records of a CSV text whose quotes may be broken: where each ends, and which need care.

Nearly every record is one line without quotes, or with quotes in pairs at the edges of fields: the CSV parser reads
these. The others ("odd" records) are found with numpy, all lines at once, and read one by one: they contain a quoted
newline, or a stray quote that is taken as an ordinary character, or quotes are so few that the parser is faster without
them.
"""

from functools import cached_property

import numpy as np
import numpy.typing as npt

from schemas.files.ticket_csv import MAX_ODD_BYTES, OddRecord, is_record, read_odd

_QUOTE, _NEWLINE, _RETURN = 34, 10, 13
_FEW = 5000
_PAGE = 4096
_HIGH_BITS = np.uint64(0x8080808080808080)

Offsets = npt.NDArray[np.int64]


def odd_records(data: bytes, columns: int, separator: bytes = b",") -> list[OddRecord]:
    """The odd records of ``data``, which begins at a record, in order.

    Whether a record is odd, and where it ends, depends on the bytes from its start to its end alone.
    """
    odd: list[OddRecord] = []
    done = 0
    for start in _suspect_lines(data, separator).tolist():
        if start >= done:
            odd.append(read_odd(data, start, columns, separator))
            done = odd[-1].end
    return odd


def count_records(lines: "LineIndex", odd: list[OddRecord]) -> int:
    """How many records a text of these lines holds; a last one without a newline counts."""
    return lines.newlines + lines.is_unended - sum(record.lines - 1 for record in odd)


def record_end(data: bytes, size: int, complete: bool, columns: int, separator: bytes = b",") -> int:
    """The end of the last record that begins before ``size``; -1 where ``data`` is too short to say.

    ``data`` begins at a record; ``complete``: nothing comes after it.
    """
    cut = data.find(b"\n", max(size - 1, 0)) + 1
    if not cut or (len(data) < cut + MAX_ODD_BYTES and not complete):
        return len(data) if complete else -1
    if data.find(b'"', max(0, cut - MAX_ODD_BYTES), cut) < 0:
        return cut
    for record in odd_records(data, columns, separator):
        if record.start < cut < record.end:
            return record.end
    return cut


def record_start(window: bytes, at: int, complete: bool, columns: int, separator: bytes = b",") -> int:
    """The first record that begins at or after ``at``, judged by the window's bytes alone; -1 if it is too short.

    A window may begin inside a quoted field: its first line that is a whole record by itself is
    taken as the place from which to count.
    """
    if at == 0:
        return 0
    position = 0
    while position < at:
        end = window.find(b"\n", position) + 1
        if not end:
            return len(window) if complete else -1
        line = window[position:end]
        if position and is_record(line, columns, separator):
            break
        position = end
    if position >= at:
        return position
    found = record_end(window[position:], at - position, complete, columns, separator)
    return position + found if found >= 0 else -1


class LineIndex:
    """Lines of a text by number, found without an index of all of them unless many are wanted."""

    _CHUNK = 1 << 16
    _MANY = 100

    def __init__(self, data: bytes) -> None:
        self._array = np.frombuffer(data, np.uint8)
        counts = [
            np.count_nonzero(self._array[i : i + self._CHUNK] == _NEWLINE) for i in range(0, len(data), self._CHUNK)
        ]
        self._before = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.newlines = int(self._before[-1])
        self.is_unended = bool(data) and not data.endswith(b"\n")
        """Whether the last line lacks its newline."""
        self.has_long_lines = 0 in counts[:-1]
        """Whether a line may be longer than a chunk."""

    def lines(self, offsets: Offsets) -> Offsets:
        """The numbers of the lines, counted from 0, that begin at these offsets."""
        if len(offsets) > self._MANY:
            return np.searchsorted(self._starts, offsets, side="right") - 1
        return np.fromiter(map(self._line, offsets.tolist()), np.int64, len(offsets))

    def starts(self, lines: Offsets) -> Offsets:
        """The offsets of lines, counted from 0."""
        if len(lines) > self._MANY:
            return self._starts[lines]
        return np.fromiter(map(self._start, lines.tolist()), np.int64, len(lines))

    @cached_property
    def _starts(self) -> Offsets:
        return np.concatenate([[0], np.flatnonzero(self._array == _NEWLINE) + 1])

    def _line(self, offset: int) -> int:
        chunk = offset // self._CHUNK
        rest = self._array[chunk * self._CHUNK : offset]
        return int(self._before[chunk]) + int(np.count_nonzero(rest == _NEWLINE))

    def _start(self, line: int) -> int:
        if line == 0:
            return 0
        chunk = int(np.searchsorted(self._before, line)) - 1
        base = chunk * self._CHUNK
        ends = np.flatnonzero(self._array[base : base + self._CHUNK] == _NEWLINE)
        return base + int(ends[line - int(self._before[chunk]) - 1]) + 1


def _suspect_lines(data: bytes, separator: bytes) -> Offsets:
    """The starts of the lines with quotes to examine, with a carriage return elsewhere than at their end, or that are
    not UTF-8."""
    array = np.frombuffer(data, np.uint8)
    positions = np.sort(np.concatenate([_quotes_to_mind(data, array, separator), _lone_returns(data, array)]))
    return np.unique(np.array(_line_starts(data, positions) + _foreign_lines(data, array), np.int64))


def _line_starts(data: bytes, positions: Offsets) -> list[int]:
    """The starts of the lines in which these positions, in order, are. Each line is searched once, however many
    positions are in it."""
    starts, place = [], 0
    while place < len(positions):
        at = int(positions[place])
        starts.append(data.rfind(b"\n", 0, at) + 1)
        end = data.find(b"\n", at)
        place = int(np.searchsorted(positions, end)) if end >= 0 else len(positions)
    return starts


def is_utf8(text: bytes) -> bool:
    """Whether the bytes are UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _positions(data: bytes, array: npt.NDArray[np.uint8], byte: int) -> Offsets:
    """Where a byte occurs: a few are found one by one at the speed of memory."""
    found: list[int] = []
    place = data.find(byte)
    while place >= 0:
        found.append(place)
        if len(found) == _FEW:
            return np.flatnonzero(array == byte)
        place = data.find(byte, place + 1)
    return np.array(found, np.int64)


def _foreign_lines(data: bytes, array: npt.NDArray[np.uint8]) -> list[int]:
    if data.isascii():
        return []
    whole = len(array) // _PAGE * _PAGE
    pages = np.bitwise_or.reduce(array[:whole].view(np.uint64).reshape(-1, _PAGE // 8), axis=1)
    begins = [*(np.flatnonzero(pages & _HIGH_BITS) * _PAGE).tolist(), whole]
    high = np.concatenate([begin + np.flatnonzero(array[begin : begin + _PAGE] >= 0x80) for begin in begins])
    starts = _line_starts(data, high)
    return [start for start in starts if not is_utf8(data[start : data.find(b"\n", start) + 1 or None])]


def _quotes_to_mind(data: bytes, array: npt.NDArray[np.uint8], separator: bytes) -> Offsets:
    """All quotes where they are few, so that the parser need not look for any; else the stray quotes."""
    quotes = _positions(data, array, _QUOTE)
    return quotes if len(quotes) < _FEW else _stray_quotes(quotes, array, separator)


def _stray_quotes(quotes: Offsets, array: npt.NDArray[np.uint8], separator: bytes = b",") -> Offsets:
    """The quotes that are not in pairs at the edges of the fields of a line."""
    lines = np.searchsorted(np.flatnonzero(array == _NEWLINE), quotes)
    first = np.searchsorted(lines, lines)  # the line's first quote, for each quote
    opening = (np.arange(len(quotes)) - first) % 2 == 0
    before = np.where(quotes > 0, array[quotes - 1], _NEWLINE)
    after = _byte_after(quotes, array)
    between = separator[0]
    edge_before = (before == between) | (before == _NEWLINE) | (before == _QUOTE)
    edge_after = (after == between) | (after == _NEWLINE) | (after == _RETURN) | (after == _QUOTE)
    well = np.where(opening, edge_before, edge_after)
    last_of_line = np.append(lines[1:] != lines[:-1], True)
    stray: Offsets = quotes[~well | (opening & last_of_line)]
    return stray


def _lone_returns(data: bytes, array: npt.NDArray[np.uint8]) -> Offsets:
    if b"\r" not in data:
        return np.empty(0, np.int64)
    returns = np.flatnonzero(array == _RETURN)
    lone: Offsets = returns[_byte_after(returns, array) != _NEWLINE]
    return lone


def _byte_after(positions: Offsets, array: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The byte behind each position; behind the last byte, a newline."""
    inside = array[np.minimum(positions + 1, len(array) - 1)]
    after: npt.NDArray[np.uint8] = np.where(positions + 1 < len(array), inside, _NEWLINE)
    return after
