"""What the loader published: files in pieces, read as if they were files.

The pieces of a topic are looked through, and each file that is there to its end is cut into the cells of its own grid.
Whoever reads a cell sees a file whose bytes are fetched from the topic where they are looked at. So the units, their
names and their rows are those of the file itself, and pieces that are there twice are one.
"""

import io
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from typing import IO, Any, NamedTuple, cast

import apache_beam as beam

from schemas.errors import InputUnusable
from schemas.loaded import Piece, decode
from sources.cells import LOOKBACK_BYTES, MAX_RECORD_BYTES, Cell, grid
from sources.files import Format, read_part
from sources.reading import Read
from sources.streams import Stream
from sources.units import Unit, UnitBatch, UnitTally


class Span(NamedTuple):
    """Bytes ``start`` to ``end`` of a file, and the unit of the stream whose messages hold them."""

    start: int
    end: int
    unit: Unit


class Loaded(NamedTuple):
    """A file in a topic."""

    fingerprint: str
    path: str
    header: bytes
    size: int | None
    """None as long as its end has not come."""
    spans: tuple[Span, ...]
    """In order; where pieces were sent again, some overlap."""

    @property
    def there(self) -> int:
        """Up to which byte it is there without a gap."""
        end = len(self.header)
        for span in self.spans:
            if span.start > end:
                break
            end = max(end, span.end)
        return end

    @property
    def is_complete(self) -> bool:
        """Whether all of it is there."""
        return self.there == self.size

    def cells(self, form: Format) -> "list[LoadedCell]":
        """The cells of the whole file."""
        return [self._cell(cell) for cell in grid(form.source, self.path, self.size or 0)]

    def _cell(self, cell: Cell) -> "LoadedCell":
        first, last = cell.start - LOOKBACK_BYTES, cell.end + MAX_RECORD_BYTES
        return LoadedCell(cell, self._replace(spans=tuple(s for s in self.spans if s.start < last and s.end > first)))


class LoadedCell(NamedTuple):
    """A cell of a file that is complete."""

    cell: Cell
    file: Loaded
    """With the spans that the cell and its borders may need."""


def look(stream: Stream, root: str) -> list[Loaded]:
    """The files in a topic. Raises InputUnusable where something else is there, ServiceUnavailable."""
    first: dict[str, Piece] = {}
    sizes: dict[str, int] = {}
    spans: dict[str, list[Span]] = defaultdict(list)
    for unit in stream.everything(root):
        for piece in _pieces(stream, unit, root):
            first.setdefault(piece.file, piece)
            if piece.size is not None:
                sizes[piece.file] = piece.size
            held = spans[piece.file]
            if held and held[-1].unit == unit and held[-1].end == piece.offset:
                held[-1] = held[-1]._replace(end=piece.end)
            else:
                held.append(Span(piece.offset, piece.end, unit))
    return [
        Loaded(name, f"{stream.path}/{piece.name}", piece.header, sizes.get(name), tuple(sorted(spans[name])))
        for name, piece in first.items()
    ]


def read_loaded(cell: LoadedCell, stream: Stream, form: Format, root: str) -> Iterator[UnitBatch | UnitTally]:
    """The batches of the unit in a cell, unless the ledger has it, and its rows in."""
    file, size = cell.file, cell.file.size or 0
    with PiecedFile(file, stream, root) as opened:
        header = form.header(io.BytesIO(file.header), file.path)
        yield from read_part(cast(IO[bytes], opened), cell.cell, size, form, header, root)


class ReadLoaded(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Cells of files in a topic -> ``batches`` of their units, and ``tallies``."""

    def __init__(self, cells: Iterable[LoadedCell], stream: Stream, form: Format, root: str) -> None:
        super().__init__()
        self._cells = list(cells)
        self._read = partial(read_loaded, stream=stream, form=form, root=root)

    def expand(self, pbegin: beam.pvalue.PBegin) -> Any:
        return pbegin | "Plan" >> beam.Create(self._cells, reshuffle=False) | "Cells" >> Read(self._read)


class PiecedFile(io.RawIOBase):
    """A file in a topic, open for reading and seeking: what is looked at is fetched, once, into a temporary file."""

    def __init__(self, file: Loaded, stream: Stream, root: str) -> None:
        self._file, self._stream, self._root = file, stream, root
        self._missing = list(file.spans)
        self._held = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this file
        self._written: dict[int, int] = {}
        self._held.truncate(file.size)
        self._held.write(file.header)
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size or 0}[whence]
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any) -> int:
        self._fetch(self._position, self._position + len(buffer))
        self._held.seek(self._position)
        size = self._held.readinto(buffer)
        self._position += size
        return size

    def close(self) -> None:
        self._held.close()
        super().close()

    def _fetch(self, start: int, end: int) -> None:
        wanted = {span.unit for span in self._missing if span.start < end and span.end > start}
        self._missing = [span for span in self._missing if span.unit not in wanted]
        for unit in sorted(wanted, key=lambda unit: (unit.path, unit.start)):
            for piece in _pieces(self._stream, unit, self._root):
                if piece.file == self._file.fingerprint:
                    self._keep(piece)

    def _keep(self, piece: Piece) -> None:
        self._held.seek(piece.offset)
        if self._written.get(piece.offset) == piece.end and self._held.read(len(piece.data)) != piece.data:
            raise InputUnusable(
                f"{self._file.path}: bytes {piece.offset} to {piece.end} were sent twice, and differ: the file was "
                "changed, and its time of change put back. Touch it and load it to another topic"
            )
        self._held.seek(piece.offset)
        self._held.write(piece.data)
        self._written[piece.offset] = piece.end


def _pieces(stream: Stream, unit: Unit, root: str) -> Iterator[Piece]:
    for batch in stream.payloads(unit, root):
        for payload, offset in zip(batch["payload"], batch["offset"], strict=True):
            try:
                yield decode(payload.as_py())
            except ValueError as error:
                raise InputUnusable(
                    f"{unit.path}: message {offset} is none that the loader has sent ({error}); give --history a topic "
                    "of the loader's alone"
                ) from error
