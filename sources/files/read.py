"""Files: planned on the grid, read cell by cell, one unit of work a cell.

A :class:`Format` knows what is in a kind of file.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import IO, Any, NamedTuple, Protocol

from apache_beam.metrics import Metrics

from lake.again import current_name
from lake.ledger import is_committed
from lake.storage import open_file
from schemas.errors import InputChanged
from schemas.files.compression import unpacked
from schemas.files.kinds import FIRST_BYTES, kind_of
from schemas.lake import ROWS_IN, Source
from sources.files.globs import expand
from sources.files.grid import Borders, Cell, blocks, border, content_hash, grid
from sources.files.unpacking import unpack
from sources.progress import progress
from sources.units import PART_BYTES, Parts, Tally, Unit, UnitBatch, UnitBlock, UnitItem

FILE_PART_BYTES = 2 * PART_BYTES
"""Of a part of a unit: a cell of the grid is one, unless its records are a few bytes long."""


class Header(NamedTuple):
    """What is before the first record."""

    text: bytes
    """The bytes of the header, a byte order mark included."""
    columns: tuple[str, ...]
    other: bytes = b""
    """A later header in another order that applies to what is read next."""
    separator: str = ","
    """Between the fields of a CSV file."""


class Format(Protocol):
    """A kind of file."""

    source: Source

    @property
    def element(self) -> type[UnitBatch] | type[UnitBlock]:
        """What carries the content of a block through the graph."""

    def header(self, file: IO[bytes], url: str) -> Header:
        """Read the header. Raises InputUnusable where the file is of another kind."""

    def borders(self, header: Header) -> Borders:
        """Where its records begin and end."""

    def content(self, header: Header, data: bytes, offset: int, first_record: int) -> Any:
        """What is in a block of whole records: a RecordBatch or a CsvBlock, whose ``num_rows`` is their number."""

    def behind(self, header: Header, content: Any) -> Header:
        """The header that applies behind a block."""

    def mark(self, cells: list[Cell], file: IO[bytes], header: Header) -> list[Cell]:
        """The cells of an open file, each with the header that applies at its start."""


def plan(pattern: str, form: Format) -> list[Cell]:
    """The cells of the files that ``pattern`` names: a path, a glob, or the URL of a bucket with either.

    Raises InputUnusable where there is none, or one is not of this format.
    """
    return [cell for url in expand(pattern) for cell in _plan_file(url, form)]


def read_cell(cell: Cell, form: Format, lake_root: str) -> Iterator[UnitItem]:
    """The batches of the units in a cell that the ledger does not have yet; after each unit the number of its rows."""
    for file, part, found, header in units_of(cell, form):
        unit = replace(found, name=current_name(lake_root, found.source, found.name))
        yield from read_part(file, part, unit, form, header, lake_root)
    if cell.compressed:
        progress.advance(cell.end - cell.start)


def has_units(cell: Cell, form: Format, lake_root: str) -> bool:
    """Whether the ledger has all units in a cell; reads its bytes."""
    found = ((unit.source, current_name(lake_root, unit.source, unit.name)) for _, _, unit, _ in units_of(cell, form))
    return all(is_committed(lake_root, *unit) for unit in found)


def units_of(cell: Cell, form: Format) -> Iterator[tuple[IO[bytes], Cell, Unit, Header]]:
    """The units in a planned cell, each with the open file, its own cell there and the file's header."""
    with _unpacked(cell) as file:
        header = form.header(file, cell.path)
        size = file.seek(0, 2)
        parts = [cell]
        if cell.compressed:
            cells = [part._replace(compressed=True) for part in grid(cell.source, cell.path, size)]
            parts = form.mark(cells, file, header)
        for part in parts:
            if unit := unit_in(file, part, size, form, header):
                yield file, part, unit, header


def _plan_file(url: str, form: Format) -> list[Cell]:
    with open_file(url) as file:
        size = file.seek(0, 2)
        file.seek(0)
        if kind_of(file.read(FIRST_BYTES)).packing:
            return [Cell(form.source, url, 0, 0, size, compressed=True)]
        header = form.header(file, url)
        return form.mark(grid(form.source, url, size), file, header)


def unit_in(file: IO[bytes], cell: Cell, size: int, form: Format, header: Header) -> Unit | None:
    """The unit in a cell of an open file of ``size`` bytes, whose bytes it reads; None where no record begins there."""
    borders = form.borders(header)
    start = border(file, cell.start, borders) if cell.number else len(header.text)
    end = border(file, cell.end, borders) if cell.end < size else size
    if start >= end:
        return None
    salt = [str(cell.number).encode(), header.text, *([cell.other] if cell.other else [])]
    content = content_hash(file, start, end, *salt)
    name = f"{cell.source}-{cell.number:05d}-{content}"
    return Unit(cell.source, cell.path, start, end, name, header.columns, header.separator)


def read_part(
    file: IO[bytes], cell: Cell, unit: Unit, form: Format, header: Header, lake_root: str
) -> Iterator[UnitItem]:
    """The batches of the unit in a cell of an open file, unless the ledger has it, and the number of its rows."""
    if is_committed(lake_root, unit.source, unit.name):
        Metrics.counter("source", "units_already_there").inc()
        _advance(cell, unit.end - unit.start)
        return
    first_record, parts = 0, Parts(FILE_PART_BYTES)
    header = header._replace(other=cell.other)
    for offset, data in blocks(file, unit.start, unit.end, form.borders(header)):
        content = form.content(header, data, offset, first_record)
        first_record += content.num_rows
        header = form.behind(header, content)
        part = parts.of(content.num_rows, len(data))
        yield form.element(unit, content, last=offset + len(data) == unit.end, part=part)
        _advance(cell, len(data))
    yield unit.name, Tally(ROWS_IN, first_record, unit=unit)


def _advance(cell: Cell, size: int) -> None:
    if not cell.compressed:  # what was planned there is the packed size
        progress.advance(size)


@contextmanager
def _unpacked(cell: Cell) -> Iterator[IO[bytes]]:
    """The cell's file; of a packed file its text, unpacked beside the worker's other temporary files."""
    with open_file(cell.path) as file:
        if not cell.compressed:
            yield file
            return
        packing = kind_of(file.read(FIRST_BYTES)).packing
        if not packing:
            raise InputChanged(f"{cell.path} was a packed file when it was planned, and is not packed now; run again")
        file.seek(0)
        with tempfile.TemporaryFile() as text:
            with unpacked(file, packing, cell.path) as packed:
                unpack(packed, text, cell.end - cell.start, cell.path)
            yield text
