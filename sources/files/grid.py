"""The fixed grid over a file: where its cells begin and end, at the ends of records.

The grid depends on the file alone. The readers of both neighbours of a border call the same pure function on the bytes
around it, so they agree on where one cell ends and the other begins, whatever the bytes are.
"""

from collections.abc import Iterator
from typing import IO, NamedTuple, Protocol

import xxhash

from schemas.errors import InputUnusable
from schemas.lake import Source

CELL_BYTES = 128 << 20
"""A year of history (2.9 GB) is 22 cells, hence some hundred files; a cell is half a million rows."""
BLOCK_BYTES = 8 << 20
MAX_RECORD_BYTES = 32 << 20
"""A file with more bytes than this without the end of a record is not a CSV file or a recording."""
LOOKBACK_BYTES = 1 << 17
_LOOKAHEAD_BYTES = 1 << 18
_HASHED_BYTES = 1 << 20  # stays in the cache from reading to hashing


class Cell(NamedTuple):
    """A cell of a file's grid, as it is planned before the file's bytes are read."""

    source: Source
    path: str
    number: int
    start: int
    end: int
    """Nominal borders; the cell holds the records that begin between them."""
    compressed: bool = False
    """The whole of a packed file, whose cells are found when it is unpacked."""
    other: bytes = b""
    """The line of column names that applies at ``start``, where it is not the file's first and has another order."""


class Borders(Protocol):
    """Where records begin and end in a kind of file."""

    def end(self, data: bytes, size: int, complete: bool) -> int:
        """``data`` begins at a record: the end of the last record that begins before ``size``, or -1 where
        ``data`` is too short to decide; ``complete``: nothing comes after it."""

    def start(self, window: bytes, at: int, complete: bool) -> int:
        """The first record that begins at or after ``at``, judged by the window alone, or -1 likewise."""


class Lines:
    """The :class:`Borders` of a file whose records are lines."""

    def end(self, data: bytes, size: int, complete: bool) -> int:
        return data.find(b"\n", max(size - 1, 0)) + 1 or (len(data) if complete else -1)

    def start(self, window: bytes, at: int, complete: bool) -> int:
        return self.end(window, at, complete) if at else 0


def grid(source: Source, path: str, size: int) -> list[Cell]:
    """The cells of a file of ``size`` bytes."""
    return [
        Cell(source, path, number, start, min(start + CELL_BYTES, size))
        for number, start in enumerate(range(0, size, CELL_BYTES))
    ]


def border(file: IO[bytes], position: int, borders: Borders) -> int:
    """The offset of the first record that begins at or after ``position``."""
    begin = max(0, position - LOOKBACK_BYTES)
    ahead = _LOOKAHEAD_BYTES
    while True:
        file.seek(begin)
        window_bytes = position - begin + ahead
        window = file.read(window_bytes)
        found = borders.start(window, position - begin, complete=len(window) < window_bytes)
        if found >= 0:
            return begin + found
        ahead = _longer(ahead, position)


def blocks(file: IO[bytes], start: int, end: int, borders: Borders) -> Iterator[tuple[int, bytes]]:
    """The bytes from one border to another in blocks of whole records: ``(offset, bytes)``."""
    position = start
    ahead = _LOOKAHEAD_BYTES
    while position < end:
        file.seek(position)
        data = file.read(min(BLOCK_BYTES + ahead, end - position))
        if not data:
            raise InputUnusable(f"the file ends at byte {position}, before {end}: it became shorter while it was read")
        cut = borders.end(data, BLOCK_BYTES, complete=position + len(data) >= end)
        if cut < 0:
            ahead = _longer(ahead, position)
            continue
        yield position, data[:cut]
        position += cut
        ahead = _LOOKAHEAD_BYTES


def content_hash(file: IO[bytes], start: int, end: int, *salt: bytes) -> str:
    """32 hexadecimal digits of XXH3 over ``salt`` and the bytes from ``start`` to ``end``."""
    digest = xxhash.xxh3_128()
    for part in salt:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    file.seek(start)
    left = end - start
    while left:
        data = file.read(min(_HASHED_BYTES, left))
        if not data:
            raise InputUnusable(f"the file ends {left} bytes before {end}: it became shorter while it was read")
        digest.update(data)
        left -= len(data)
    return digest.hexdigest()


def _longer(ahead: int, position: int) -> int:
    if ahead >= MAX_RECORD_BYTES:
        raise InputUnusable(
            f"not a CSV file: no record ends within {ahead >> 20} MiB of byte {position}; leave the file out, or "
            "repair it there"
        )
    return ahead * 2
