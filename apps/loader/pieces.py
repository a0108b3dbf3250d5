"""Cut a file into the pieces that are sent as one message each, from any position: one pass, a few blocks in memory."""

from collections.abc import Iterator
from typing import IO, Final, NamedTuple

from schemas.files.ticket_csv import MAX_ODD_BYTES, read_odd
from schemas.loaded import Piece

from .source import SourceFile

BLOCK_BYTES: Final = 1 << 16
MAX_PIECE_BYTES: Final = 1 << 18
"""Together with the header and the rest of a record less than half of Kafka's default message.max.bytes."""


class Place(NamedTuple):
    """A position in a load."""

    offset: int
    """In the bytes that are sent; of a compressed file that goes to a topic, in those of its text."""
    record: int = 0
    """The number of records before it, where they are counted."""


def pieces(source: SourceFile, file: IO[bytes], at: Place, rows: int) -> Iterator[tuple[Piece, Place]]:
    """The pieces of a file from ``at`` on, of about ``rows`` records each, then an empty one that marks the end of the
    file; each with the position behind it.

    A piece ends with a complete record, unless the record does not fit into one piece.
    """
    place = at if at.offset else Place(len(source.header))
    file.seek(place.offset)
    buffer, start, ended = b"", 0, False
    while True:
        cut = _cut(buffer, start, rows, source, ended)
        if cut is None:
            block = file.read(BLOCK_BYTES)
            buffer, start, ended = buffer[start:] + block, 0, not block
            continue
        end, records = cut
        if end == start:
            break
        piece = _piece(source, place, buffer[start:end])
        place, start = Place(piece.end, piece.record + records), end
        yield piece, place
    yield _piece(source, place, b"")._replace(size=place.offset), place


def blocks(file: IO[bytes], at: Place, size: int) -> Iterator[tuple[bytes, Place]]:
    """The bytes of a file from ``at`` on, in blocks of ``size``, each with the position behind it; the last one may be
    shorter."""
    file.seek(at.offset)
    while block := file.read(size):
        at = Place(at.offset + len(block))
        yield block, at


def _piece(source: SourceFile, place: Place, data: bytes) -> Piece:
    return Piece(source.fingerprint, source.path.name, source.header, place.offset, place.record, data)


def _cut(data: bytes, start: int, rows: int, source: SourceFile, ended: bool) -> tuple[int, int] | None:
    """The end of the piece that begins at ``start`` and the number of records that end in it; None where more data is
    needed."""
    end = start
    for _ in range(rows):
        next_end = data.find(b"\n", end, start + MAX_PIECE_BYTES) + 1
        if not next_end:
            if len(data) - start < MAX_PIECE_BYTES and not ended:
                return None
            break
        end = next_end
    if end == start:  # a record larger than a piece, or the last one without a newline
        return min(len(data), start + MAX_PIECE_BYTES), int(len(data) - start <= MAX_PIECE_BYTES)
    if len(data) - end < MAX_ODD_BYTES and not ended:
        return None
    records = data.count(b"\n", start, end)
    while (quote := data.find(b'"', start, end)) >= 0:
        line = data.rfind(b"\n", start, quote) + 1 or start
        odd = read_odd(data, line, source.columns, source.separator.encode())
        records -= min(odd.lines - 1, data.count(b"\n", odd.start, end) - 1)
        start, end = odd.end, max(end, odd.end)
    return end, records
