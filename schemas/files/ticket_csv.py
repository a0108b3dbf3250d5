"""The text of a ticket CSV, in plain Python: its line of column names, its separator, records whose quotes are broken.

The loader and the sources cut the same files, so both use this.
"""

import csv
import io
from codecs import BOM_UTF8
from typing import Final, NamedTuple

from schemas.errors import InputUnusable
from schemas.files.kinds import FIRST_BYTES, no_text
from schemas.history import MANDATORY, READ_COLUMNS, column_key

MAX_HEADER_BYTES: Final = 1 << 16

SEPARATORS: Final = {",": "commas", "\t": "tabs", ";": "semicolons"}
"""Between fields. The city's portal offers all three."""
_OTHER_SEPARATORS: Final = ("|", "^", "~", ":", "\x1f", "\x01")
_SHOWN: Final = 60

MAX_ODD_BYTES = 1 << 16
MAX_ODD_LINES = 64
"""The quote of a longer quoted field is taken as a stray one."""
MAX_PARSED_BYTES = 1 << 20
"""The city has no longer lines, and the fields of one would take 30 times its memory: its quotes are ordinary."""


class ColumnNames(NamedTuple):
    """A line of column names."""

    columns: tuple[str, ...]
    separator: str
    """Between them, and between the fields of the records."""


def first_line(begin: bytes) -> bytes:
    """Of the first bytes of a file those up to and including the first newline."""
    return b"".join(begin.partition(b"\n")[:2])


def columns_of(begin: bytes, url: str) -> ColumnNames:
    """The names of the columns of a file of tickets and their separator, from its first line alone.

    Args:
        begin: the first MAX_HEADER_BYTES bytes, fewer where the file is shorter.

    Raises InputUnusable where this is no file of tickets.
    """
    if not begin:
        raise InputUnusable(f"{url}: the file is empty; a history CSV begins with a line of column names")
    if kind := no_text(begin[:FIRST_BYTES]):
        raise InputUnusable(f"{url}: this is no CSV file but {kind}")
    line = first_line(begin)
    if len(line) >= MAX_HEADER_BYTES:
        raise InputUnusable(f"{url}: this is no CSV file: its first line has no end within {MAX_HEADER_BYTES} bytes")
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InputUnusable(f"{url}: this is no CSV file: its first line is no text in UTF-8") from error
    read = [ColumnNames(fields, separator) for separator in SEPARATORS if (fields := tuple(_fields(text, separator)))]
    found = [names for names in read if not _missing(names.columns)]
    if len(found) > 1:
        between = " and by ".join(SEPARATORS[names.separator] for names in found)
        raise InputUnusable(
            f"{url}: the first line names the columns by {between} alike, so the separator is ambiguous. "
            "Write the file with commas alone"
        )
    if not found:
        raise InputUnusable(f"{url}: {_no_columns(text, [names.columns for names in read])}")
    keys = [column_key(name) for name in found[0].columns]
    doubled = [name for name in READ_COLUMNS if keys.count(column_key(name)) > 1]
    if doubled:
        raise InputUnusable(
            f"{url}: the first line names {', '.join(doubled)} more than once, so it is ambiguous which column is "
            "meant. Give each column a name of its own"
        )
    return found[0]


def _missing(columns: tuple[str, ...]) -> list[str]:
    present = {column_key(name) for name in columns}
    return [name for name in MANDATORY if column_key(name) not in present]


def _no_columns(text: str, read: list[tuple[str, ...]]) -> str:
    """What is wrong with a first line that no separator makes the names of the columns, and what to do."""
    if "\r" in text:
        return "its lines end in a carriage return alone; convert them to newlines"
    for separator in _OTHER_SEPARATORS:
        if not _missing(tuple(_fields(text, separator))):
            return f"its columns are separated by {separator!a}; write it with commas, tabs or semicolons"
    if not read:
        return "this is no CSV file: its first line is no line of column names"
    missing = min(map(_missing, read), key=len)
    return (
        f"this is no history of tickets: the first line does not name {', '.join(missing)}. It begins with "
        f"{text[:_SHOWN]!a}. Leave the file out, or put the line of column names back"
    )


def column_names(line: bytes) -> ColumnNames | None:
    """The names where a line inside a file is a line of column names, whatever separates them; else None."""
    if len(line) >= MAX_HEADER_BYTES:
        return None
    text = line.removeprefix(BOM_UTF8).decode("latin-1").rstrip("\r\n")
    first, *others = MANDATORY
    read = [ColumnNames(tuple(_fields(text, separator)), separator) for separator in SEPARATORS if separator in text]
    if not read:
        return None
    names = min(read, key=lambda names: len(_missing(names.columns)))  # the first line's own separator names them all
    missing = _missing(names.columns)
    return names if first not in missing and len(missing) < len(others) else None


Layout = tuple[str, int, tuple[tuple[int, ...], ...]]


def layout(names: ColumnNames) -> Layout:
    """The separator, the number of columns, and the places of those that are read: equal for headers whose rows are
    read in the same way."""
    keys = [column_key(name) for name in names.columns]
    places = (column_key(name) for name in READ_COLUMNS)
    return (
        names.separator,
        len(keys),
        tuple(tuple(at for at, key in enumerate(keys) if key == required) for required in places),
    )


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
    text, lines, fields = line, 1, _fields_of(line, separator)
    if len(fields) != columns:
        joined = _joined_lines(data, start)
        candidate = _fields_of(joined, separator) if joined is not None else []
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
    """Whether a line behind the first one is a record by itself, or a header: it is between two stray quotes."""
    return any(is_record(line, columns, separator) or column_names(line) for line in record.split(b"\n")[1:])


def is_record(line: bytes, columns: int, separator: bytes = b",") -> bool:
    """Whether a line is a whole record by itself, beyond doubt."""
    return len(_fields_of(line, separator)) == columns and not _has_stray_quote(line, separator)


def _fields(line: str, separator: str) -> list[str]:
    """The fields of a line by this separator; none where it is not well formed, or several lines."""
    try:
        rows = list(csv.reader(io.StringIO(line, newline=""), delimiter=separator, strict=True))
    except csv.Error:
        return []
    return rows[0] if len(rows) == 1 else []


def _fields_of(record: bytes, separator: bytes) -> list[bytes]:
    """The same of a record with its newline; none where it is too long, too."""
    if len(record) > MAX_PARSED_BYTES:
        return []
    text = record.decode("latin-1").removesuffix("\n").removesuffix("\r")
    return [field.encode("latin-1") for field in _fields(text, separator.decode())]


def _has_stray_quote(record: bytes, separator: bytes) -> bool:
    """Whether the quotes are not in pairs at the edges of fields."""
    flat = separator + record.replace(b"\n", b" ").replace(b"\r", b" ") + separator  # newlines in fields are no ends
    edges = separator + b'"'
    opens, place = True, flat.find(b'"')
    while place >= 0:
        if flat[place - 1 if opens else place + 1] not in edges:
            return True
        opens, place = not opens, flat.find(b'"', place + 1)
    return not opens
