"""Read what the loader published as if it were files: bytes are fetched from the topic when they are read."""

import io
import tempfile
from collections.abc import Iterator
from typing import IO, Any, cast

import numpy as np
import numpy.typing as npt
from apache_beam.metrics import Metrics

from schemas.errors import InputUnusable
from schemas.loaded import Piece
from sources.files.grid import grid
from sources.files.read import Format, read_part, unit_in
from sources.loaded.notes import remembered
from sources.loaded.topic import Loaded, LoadedCell, contradiction, note, pieces_in
from sources.progress import progress
from sources.streams.base import Stream
from sources.units import UnitItem


def cells_of(file: Loaded, stream: Stream, form: Format, root: str) -> list[LoadedCell]:
    """The cells of a file that is complete; none where another run has read it meanwhile, and forgotten it.

    Only a file that may have a line of column names inside is read for them.
    """
    cells = grid(form.source, file.path, file.size or 0)
    if file.headers and len(cells) > 1:
        header = form.header(io.BytesIO(file.header), file.path)
        with PiecedFile(file, stream, root) as opened:
            try:
                cells = form.mark(cells, cast(IO[bytes], opened), header)
            except FileNotFoundError as error:
                _check_read(file, root, error)
                return []
    return file.cells(cells)


def _check_read(file: Loaded, root: str, error: FileNotFoundError) -> None:
    """A part of a file is gone. Raises InputUnusable unless its rows are in the lake."""
    if file.fingerprint not in remembered(root):
        raise InputUnusable(
            f"{file.path}: segments that hold a part of it are gone from the spool in {root}, and its rows are "
            "not in the lake. Somebody removed them, or a rule of the bucket (prestacop topics "
            "--keep-spool): load the file again"
        ) from error


def read_loaded(cell: LoadedCell, stream: Stream, form: Format, root: str) -> Iterator[UnitItem]:
    """The batches of the unit in a cell, unless the ledger has it, and the number of its rows; the unit is noted."""
    file, size = cell.file, cell.file.size or 0
    with PiecedFile(file, stream, root) as opened:
        header = form.header(io.BytesIO(file.header), file.path)
        try:
            unit = unit_in(cast(IO[bytes], opened), cell.cell, size, form, header)  # which fetches all of it
        except FileNotFoundError as error:
            _check_read(file, root, error)
            Metrics.counter("source", "units_already_there").inc()  # another run has read the file, and forgotten it
            progress.advance(cell.cell.end - cell.cell.start)
            return
        note(cell, unit, root)
        if unit:
            yield from read_part(cast(IO[bytes], opened), cell.cell, unit, form, header, root)


class PiecedFile(io.RawIOBase):
    """A file in a topic, open for reading and seeking: what is read is fetched, once, into a temporary file."""

    def __init__(self, file: Loaded, stream: Stream, root: str) -> None:
        self._file, self._stream, self._root = file, stream, root
        self._missing = list(file.spans)
        self._held = tempfile.TemporaryFile()  # noqa: SIM115  # closed with this file
        self._there = tempfile.TemporaryFile()  # noqa: SIM115
        """A byte that is not 0 for each that was written: a list of places would be as long as there are pieces."""
        self._held.truncate(file.size)
        self._there.truncate(file.size)
        self._held.write(file.header)
        self._there.write(b"\1" * len(file.header))
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
        self._there.close()
        super().close()

    def _fetch(self, start: int, end: int) -> None:
        overlapping = {span.unit for span in self._missing if span.start < end and span.end > start}
        self._missing = [span for span in self._missing if span.unit not in overlapping]
        for unit in sorted(overlapping, key=lambda unit: (unit.path, unit.start)):
            for piece in pieces_in(unit, self._stream, self._root):
                if piece.file == self._file.fingerprint:
                    self._keep(piece)

    def _keep(self, piece: Piece) -> None:
        """Write a piece. Raises InputUnusable where another one has other bytes for the same place."""
        there, marked = (self._bytes(file, piece) for file in (self._there, self._held))
        data = np.frombuffer(piece.data, np.uint8)[: len(there)]
        if (there.astype(bool) & (marked != data)).any():
            raise contradiction(self._file.path, f"have different bytes between {piece.offset} and {piece.end}")
        for file, written in ((self._held, piece.data), (self._there, b"\1" * len(piece.data))):
            file.seek(piece.offset)
            file.write(written)

    @staticmethod
    def _bytes(file: IO[bytes], piece: Piece) -> npt.NDArray[np.uint8]:
        """The bytes in the place of a piece."""
        file.seek(piece.offset)
        return np.frombuffer(file.read(len(piece.data)), np.uint8)
