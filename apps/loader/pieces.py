"""Cut a file into what is sent at once, from any place on: one pass, a few blocks in memory."""

from collections.abc import Iterator
from typing import IO, Final, NamedTuple

from schemas.loaded import Piece
from schemas.records import MAX_ODD_BYTES, read_odd

from .source import SourceFile

BLOCK_BYTES: Final = 1 << 18
MAX_PIECE_BYTES: Final = 1 << 19
"""A Kafka topic takes messages of 1 MiB, if nobody has said otherwise."""


class Place(NamedTuple):
    """How far a load is."""

    offset: int
    """In the bytes that are sent: of a gzip file to a topic, those of its text."""
    record: int = 0
    """Records before it, where they are counted."""


def pieces(source: SourceFile, file: IO[bytes], at: Place, rows: int) -> Iterator[tuple[Piece, Place]]:
    """The pieces of a file from ``at`` on, of about ``rows`` records each, then the one that ends it; each with the
    place behind it.

    A piece ends with a record, unless that does not fit into one.
    """
    place = at if at.offset else Place(len(source.header))
    file.seek(place.offset)
    held, start, ended = b"", 0, False
    while True:
        while not ended and len(held) - start < MAX_PIECE_BYTES + MAX_ODD_BYTES:
            block = file.read(BLOCK_BYTES)
            held, start, ended = held[start:] + block, 0, not block
        if start == len(held):
            break
        end, records = _cut(held, start, rows, source.columns)
        piece = _piece(source, place, held[start:end])
        place, start = Place(piece.end, piece.record + records), end
        yield piece, place
    yield _piece(source, place, b"")._replace(size=place.offset), place


def blocks(file: IO[bytes], at: Place, size: int) -> Iterator[bytes]:
    """The bytes of a file from ``at`` on, in blocks of ``size``, the last one shorter."""
    file.seek(at.offset)
    while block := file.read(size):
        yield block


def _piece(source: SourceFile, place: Place, data: bytes) -> Piece:
    return Piece(source.fingerprint, source.path.name, source.header, place.offset, place.record, data)


def _cut(data: bytes, start: int, rows: int, columns: int) -> tuple[int, int]:
    """Where a piece ends that begins at ``start``, and how many records end in it."""
    end = start
    for _ in range(rows):
        next_end = data.find(b"\n", end, start + MAX_PIECE_BYTES) + 1
        if not next_end:
            break
        end = next_end
    if end == start:  # a record that is larger than a piece, or the last one without its newline
        return min(len(data), start + MAX_PIECE_BYTES), int(len(data) - start <= MAX_PIECE_BYTES)
    records = data.count(b"\n", start, end)
    while (quote := data.find(b'"', start, end)) >= 0:
        odd = read_odd(data, data.rfind(b"\n", start, quote) + 1 or start, columns)
        records -= min(odd.lines - 1, data.count(b"\n", odd.start, end) - 1)
        start, end = odd.end, max(end, odd.end)
    return end, records
