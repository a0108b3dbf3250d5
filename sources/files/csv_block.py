"""A block of whole records of a CSV file: its lines of column names, its odd records, and its columns as text.

A block is examined once, where it is read. :class:`Cells` reports the records that are not well formed; the rules of
:mod:`transforms.history` work on texts only.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pacsv

from schemas.files.ticket_csv import ColumnNames, OddRecord
from schemas.history import Reason, Repair, column_key
from schemas.lake import ENUM
from sources.files.csv_records import LineIndex, count_records, is_utf8, odd_records

Ints = npt.NDArray[np.int64]
Note = tuple[str, Ints]
"""A repair and the rows on which it was made."""

PLAIN = frozenset(("Summons Number", "Plate ID", "House Number", "Street Name"))
"""Columns with half as many values as rows, or more: not worth a dictionary."""
PARSED_BYTES = 1 << 21
"""The parser's own blocks, which fit the cache (460 ns a row; 510 where it takes 1 MiB, 730 where 16)."""


class RefusedRecords(NamedTuple):
    """Records that become dead letters: their numbers in the block, and why."""

    rows: Ints
    reasons: list[str]


class Cells(NamedTuple):
    """Columns of a block as text."""

    table: pa.Table
    records: Ints
    """The number in the block of each row's record."""
    notes: list[Note]
    """Repairs that reading them took, with the rows."""
    refused: RefusedRecords


class CsvBlock:
    """Whole records of a CSV file.

    Args:
        data: the records; the last one may lack its newline.
        names: the columns of the file and their separator.
        offset: where ``data`` begins in the file.
        first_record: the number in the unit of the first record.
        headers: where lines of column names begin in ``data``.
        other: begins and ends of the records to which a line of names in another order than ``names`` applies.
    """

    def __init__(
        self,
        data: bytes,
        names: ColumnNames,
        offset: int = 0,
        first_record: int = 0,
        headers: Sequence[int] = (),
        other: Sequence[int] = (),
    ) -> None:
        self.data, self.names, self.offset, self.first_record = data, names, offset, first_record
        self.headers, self._other = headers, other
        self._odd = odd_records(data, len(names.columns), names.separator.encode())
        self._lines = LineIndex(data)
        self.num_rows = count_records(self._lines, self._odd)
        """How many records there are."""
        inside = np.cumsum([0, *(record.lines - 1 for record in self._odd)])
        self._lines_inside = inside
        """For each odd record, how many newlines before it are inside records; last, in all."""
        self._odd_starts = np.array([record.start for record in self._odd], np.int64)
        self._odd_numbers = self._lines.lines(self._odd_starts) - inside[:-1]

    def __reduce__(self) -> Any:
        return CsvBlock, (self.data, self.names, self.offset, self.first_record, self.headers, self._other)

    def read(self, names_to_read: Sequence[str]) -> Cells:
        """Read these columns. Each record becomes a row or is refused; lines of column names are refused."""
        return self._without_headers(self._read(names_to_read))

    def spans(self, records: Ints) -> list[tuple[int, int]]:
        """Where the records of these numbers are in the block, their newlines included."""
        places = np.searchsorted(self._odd_numbers, records)
        starts = self._lines.starts(records + self._lines_inside[places])
        found = []
        for number, place, start in zip(records.tolist(), places.tolist(), starts.tolist(), strict=True):
            if place < len(self._odd) and self._odd_numbers[place] == number:
                found.append((self._odd[place].start, self._odd[place].end))
            else:
                found.append((start, self.data.find(b"\n", start) + 1 or len(self.data)))
        return found

    def _read(self, names_to_read: Sequence[str]) -> Cells:
        """The parser reads what is well formed, the fields of the odd records are known."""
        odd, numbers, columns = self._odd, self._odd_numbers, self.names.columns
        at_once = len(self.data) + 1 if self._lines.has_long_lines else PARSED_BYTES
        table, bad_width = _read_regular(_without(self.data, odd), self.names, names_to_read, at_once)
        regular = np.delete(np.arange(table.num_rows + len(bad_width) + len(odd)), numbers)
        width = len(columns)
        good = np.array([len(record.fields) == width for record in odd], bool)
        odd_reasons = [_wrong_width(len(record.fields), width) for record in odd if len(record.fields) != width]
        refused = RefusedRecords(
            np.concatenate([regular[bad_width.rows], numbers[~good]]), [*bad_width.reasons, *odd_reasons]
        )
        records = np.concatenate([np.delete(regular, bad_width.rows), numbers[good]])
        notes: list[Note] = []
        read = [record for record, is_good in zip(odd, good, strict=True) if is_good]
        if read:
            extra, foreign = _odd_table(read, columns, table.schema)
            first = table.num_rows
            notes.append((Repair.ENCODING, first + np.flatnonzero(foreign)))
            notes.append((Repair.STRAY_QUOTE, first + np.flatnonzero([record.stray_quote for record in read])))
            table = pa.concat_tables([table, extra])
        return Cells(table, records, notes, refused)

    def _without_headers(self, cells: Cells) -> Cells:
        """The same; lines of column names, and the records to which one in another order applies, are refused."""
        if not (self.headers or self._other):
            return cells
        reasons = np.zeros(self.num_rows, np.int8)
        starts, ends = self._at(self._other[::2]), self._at(self._other[1::2])
        if self._other and self._other[-1] == len(self.data):
            ends[-1] = self.num_rows  # it may lack its newline, so that its number does not follow from its lines
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            reasons[start:end] = 2
        reasons[self._at(self.headers)] = 1
        mine = np.flatnonzero(reasons)
        names = [Reason.HEADER_LINE if reasons[record] == 1 else Reason.OTHER_COLUMNS for record in mine]
        others = [at for at, record in enumerate(cells.refused.rows) if not reasons[record]]
        refused = RefusedRecords(
            np.concatenate([cells.refused.rows[others], mine]), [*(cells.refused.reasons[at] for at in others), *names]
        )
        kept = np.flatnonzero(reasons[cells.records] == 0)
        place = np.full(len(cells.records), -1)
        place[kept] = np.arange(len(kept))
        notes = [(name, place[rows][place[rows] >= 0]) for name, rows in cells.notes]
        return Cells(cells.table.take(pa.array(kept)), cells.records[kept], notes, refused)

    def _at(self, offsets: Sequence[int]) -> Ints:
        """The numbers of the records that begin at these offsets."""
        places = np.array(offsets, np.int64)
        numbers: Ints = self._lines.lines(places) - self._lines_inside[np.searchsorted(self._odd_starts, places)]
        return numbers


def _wrong_width(fields: int, columns: int) -> str:
    return Reason.CUT_SHORT if fields < columns else Reason.TOO_LONG


class _BadWidth:
    """Collects the records whose number of fields is not the header's."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self.reasons: list[str] = []

    def __call__(self, row: pacsv.InvalidRow) -> str:
        self._rows.append(row.number - 1)
        self.reasons.append(_wrong_width(row.actual_columns, row.expected_columns))
        return "skip"

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> Ints:
        return np.array(self._rows, np.int64)


def _read_regular(
    data: bytes, names: ColumnNames, names_to_read: Sequence[str], block_bytes: int
) -> tuple[pa.Table, _BadWidth]:
    columns, separator = names
    places = {column_key(name): place for place, name in enumerate(columns)}
    present = {name: str(places[key]) for name in names_to_read if (key := column_key(name)) in places}
    bad_width = _BadWidth()
    types = {place: pa.string() if name in PLAIN else ENUM for name, place in present.items()}
    if not data:
        table = pa.table({place: pa.array([], type_) for place, type_ in types.items()})
        return table.rename_columns(list(present)), bad_width
    table = pacsv.read_csv(
        pa.py_buffer(data),
        read_options=pacsv.ReadOptions(
            column_names=[str(place) for place in range(len(columns))], use_threads=False, block_size=block_bytes
        ),
        # Where no field is quoted the parser need not look for quotes.
        parse_options=pacsv.ParseOptions(
            delimiter=separator,
            ignore_empty_lines=False,
            invalid_row_handler=bad_width,
            quote_char='"' if b'"' in data else False,
        ),
        convert_options=pacsv.ConvertOptions(
            include_columns=list(present.values()),
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
            check_utf8=False,  # a line that is no UTF-8 is an odd record
        ),
    )
    return table.rename_columns(list(present)), bad_width


def _odd_table(odd: list[OddRecord], columns: tuple[str, ...], schema: pa.Schema) -> tuple[pa.Table, list[bool]]:
    places = {column_key(name): place for place, name in enumerate(columns)}
    foreign = [not is_utf8(b",".join(record.fields)) for record in odd]
    arrays = []
    for field in schema:
        place = places[column_key(field.name)]
        texts = [
            record.fields[place].decode("latin-1" if alien else "utf-8") or None
            for record, alien in zip(odd, foreign, strict=True)
        ]
        arrays.append(pa.array(texts, pa.string()).cast(field.type))
    return pa.Table.from_arrays(arrays, schema=schema), foreign


def _without(data: bytes, odd: list[OddRecord]) -> bytes:
    if not odd:
        return data
    starts = [0, *(record.end for record in odd)]
    ends = [*(record.start for record in odd), len(data)]
    return b"".join(data[a:b] for a, b in zip(starts, ends, strict=True))
