"""Records of a CSV text whose quotes may be broken, one by one: where each ends, and what its fields are.

Plain Python: whoever sends a file uses it as well as whoever reads one.
"""

import csv
import io
from typing import NamedTuple

from schemas.history import column_names

MAX_ODD_BYTES = 1 << 16
MAX_ODD_LINES = 64
"""A quoted field that goes on for longer than this is taken for a stray quote."""
MAX_PARSED_BYTES = 1 << 20
"""A longer line is none of the city's, and its fields would take 30 times its memory: its quotes are ordinary."""


class OddRecord(NamedTuple):
    """A record that the CSV parser must not see."""

    start: int
    end: int
    """After its newline."""
    lines: int
    fields: list[bytes]
    """As many as the file has columns, or fewer; where there are more, one more than that."""
    stray_quote: bool
    """Whether a quote was taken as an ordinary character."""


def read_odd(data: bytes, start: int, columns: int, separator: bytes = b",") -> OddRecord:
    """The odd record that begins at ``start``."""
    line_end = data.find(b"\n", start) + 1 or len(data)
    line = data[start:line_end]
    text, lines, fields = line, 1, _fields(line, separator)
    if len(fields) != columns:
        joined = _joined_lines(data, start)
        candidate = _fields(joined, separator) if joined is not None else []
        if joined is not None and len(candidate) == columns and not _holds_records(joined, columns, separator):
            text, lines, fields = joined, joined.rstrip(b"\r\n").count(b"\n") + 1, candidate
    stripped = text.rstrip(b"\r\n")
    stray = _has_stray_quote(stripped, separator) or (not fields and b'"' in stripped)
    if not fields or (stray and len(fields) != columns):
        fields = stripped.split(separator, columns)
    return OddRecord(start, start + len(text), lines, fields[: columns + 1], stray)


def _joined_lines(data: bytes, start: int) -> bytes | None:
    """The lines from ``start`` up to the one in which the quotes come out even; None where none does in time."""
    end, quotes = start, 0
    for _ in range(MAX_ODD_LINES):
        next_end = data.find(b"\n", end) + 1 or len(data)
        if next_end == end or next_end - start > MAX_ODD_BYTES:
            return None
        quotes += data.count(b'"', end, next_end)
        end = next_end
        if quotes % 2 == 0 and end > start:
            return data[start:end]
    return None


def _holds_records(record: bytes, columns: int, separator: bytes) -> bool:
    """Whether a line behind the first one is a record by itself, or a header: two stray quotes stand around it."""
    return any(is_record(line, columns, separator) or column_names(line) for line in record.split(b"\n")[1:])


def is_record(line: bytes, columns: int, separator: bytes = b",") -> bool:
    """Whether a line is a whole record by itself, beyond doubt."""
    return len(_fields(line, separator)) == columns and not _has_stray_quote(line, separator)


def _fields(record: bytes, separator: bytes) -> list[bytes]:
    """The fields of a record as the CSV format has it; an empty list where it is not well formed, or too long."""
    if len(record) > MAX_PARSED_BYTES:
        return []
    text = record.decode("latin-1").removesuffix("\n").removesuffix("\r")
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator.decode(), strict=True))
    except csv.Error:
        return []
    return [field.encode("latin-1") for field in rows[0]] if len(rows) == 1 else []


def _has_stray_quote(record: bytes, separator: bytes) -> bool:
    """Whether the quotes do not stand in pairs at the edges of fields."""
    flat = separator + record.replace(b"\n", b" ").replace(b"\r", b" ") + separator  # newlines in fields are no ends
    edges = separator + b'"'
    opens, place = True, flat.find(b'"')
    while place >= 0:
        if flat[place - 1 if opens else place + 1] not in edges:
            return True
        opens, place = not opens, flat.find(b'"', place + 1)
    return not opens
