"""Units of work, and the element of the graph: a RecordBatch of one unit.

A unit is planned before it is read and does not depend on any flag. The name of a unit is its idempotency key: a unit
of a file is named by a hash of its bytes, so that the same bytes under another file name are the same unit; a unit of a
stream is named by its offset or its segment. The batches of a unit pass through the graph in one bundle and in order;
the one marked ``last`` ends it.
"""

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import pyarrow as pa

from lake.files import WrittenFile
from schemas.lake import Source
from terminal.logs import about

TOPICS: Final = ("kafka:", "pubsub:")
"""How the paths of units of topics begin; those of files do not."""


@dataclass(frozen=True)
class Unit:
    """A range of a file's bytes, a partition's offsets or a spooled segment's messages, ``end`` not included."""

    source: Source
    path: str
    start: int
    end: int
    name: str
    """Its permanent name, in the ledger and of its files."""
    columns: tuple[str, ...] = ()
    """The names of the columns of a CSV file, as they are written there."""
    separator: str = ","
    """Between the fields of a CSV file."""

    @property
    def about(self) -> dict[str, object]:
        """The ``extra`` of records of the log that concern it."""
        return about(self.source, self.name or None, self.path, self.start)


class UnitBatch(NamedTuple):
    """Rows of one unit."""

    unit: Unit
    rows: pa.RecordBatch
    last: bool
    part: int = 0
    """The part of the unit that they belong to, from 0 on: a dataset has one file for each part (:class:`Parts`)."""
    erased: int = 0
    """How many rows were dropped here, as they were erased from the lake before."""

    def with_rows(self, rows: pa.RecordBatch) -> "UnitBatch":
        """The same place in the same unit, with other rows."""
        return self._replace(rows=rows)


class UnitBlock(NamedTuple):
    """A block of a unit's text before it is parsed; its place in the unit as of a :class:`UnitBatch`.

    Reading and parsing are fused, so that it never leaves a worker, and it has no coder of its own.
    """

    unit: Unit
    block: Any
    """A :class:`sources.files.csv_block.CsvBlock`."""
    last: bool
    part: int = 0

    def with_rows(self, rows: pa.RecordBatch) -> UnitBatch:
        """The rows that were parsed from it."""
        return UnitBatch(self.unit, rows, self.last, self.part)


PART_BYTES = 128 << 20
"""The size of a unit's part, :data:`ROW_BYTES` added for each row: a writer keeps one part in memory, and some copies
of it when it writes. A unit of usual messages is one part."""
ROW_BYTES = 128
"""About what the columns of a row take besides its payload."""


class Parts:
    """Numbers the parts of a unit as its batches arrive: a part ends before the batch that would make it too large.

    The parts depend on the unit's batches alone, so they are the same files in every attempt.

    Args:
        part_bytes: how large a part may be, unless one batch is larger.
    """

    def __init__(self, part_bytes: int) -> None:
        self._part_bytes = part_bytes
        self._part = self._size = 0

    def of(self, rows: int, size: int) -> int:
        """The part of the next batch, which has so many rows and bytes of payload."""
        size += rows * ROW_BYTES
        if self._size and self._size + size > self._part_bytes:
            self._part, self._size = self._part + 1, 0
        self._size += size
        return self._part


class Tally(NamedTuple):
    """What one step did with one unit; the ledger's row of the unit is made of these."""

    what: str
    """A dataset, ``rows_in`` or ``duplicates``."""
    rows: int
    files: tuple[WrittenFile, ...] = ()
    unit: Unit | None = None
    """The unit itself, on ``rows_in`` alone."""
    erased: int = 0
    """Rows that were dropped, as they were erased from the lake before."""


BATCHES = "batches"
TALLIES = "tallies"
"""The output on which a step reports to the ledger."""
UnitTally = tuple[str, Tally]
"""Keyed by the unit's name."""
UnitItem = UnitBatch | UnitBlock | UnitTally
"""What the reader of an input gives."""
