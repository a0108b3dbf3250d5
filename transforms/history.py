"""Parse and repair the history: a block of CSV text in, typed violations and dead letters out."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeVar

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from schemas.history import BLANK_PLATES, Reason, Repair, column_key
from schemas.lake import DEAD_LETTER, ENUM, constant
from schemas.messages import UNQUALIFIED
from sources.records import LineIndex, OddRecord, is_utf8, odd_records
from sources.units import Unit, UnitBatch
from transforms.clock import Day, day, to_utc
from transforms.names import DEAD_LETTERS, ROWS, Parsed
from transforms.repair import PLATE_LETTERS, repair_code, repair_county, repair_date, repair_time, whole_number

T = TypeVar("T")
Ints = npt.NDArray[np.int64]
Note = tuple[str, Ints]
"""A repair and the rows on which it was made."""

TEXTS = {
    "plate_id": "Plate ID",
    "registration_state": "Registration State",
    "plate_type": "Plate Type",
    "vehicle_body": "Vehicle Body Type",
    "vehicle_make": "Vehicle Make",
    "vehicle_color": "Vehicle Color",
    "agency": "Issuing Agency",
    "street": "Street Name",
    "house_number": "House Number",
}
"""Columns of the lake that keep a column of the file as it is."""
NUMBERS = {"precinct": "Violation Precinct", "vehicle_year": "Vehicle Year"}
PLAIN = frozenset(("Summons Number", "Plate ID", "House Number"))
"""Columns with nearly as many values as rows: not worth a dictionary."""
WANTED = (
    "Summons Number", "Issue Date", "Violation Time", "Violation Code", "Violation County",
    *TEXTS.values(), *NUMBERS.values(),
)  # fmt: skip


class Refused(NamedTuple):
    """Rows that become dead letters: their numbers in the block, and why."""

    rows: Ints
    reasons: list[str]


class Cells(NamedTuple):
    """The wanted columns of a block as text, and what the records they come from were."""

    table: pa.Table
    records: Ints
    """The number in the block of each row's record."""
    notes: list[Note]
    """Repairs that reading them took, with the rows."""
    refused: Refused
    """By record, not by row."""
    odd: list[OddRecord]


def parse_block(unit: Unit, data: bytes, offset: int, first_record: int, records: int) -> Parsed:
    """Parse the records of a block.

    Args:
        unit: names the columns.
        data: whole records, at most one without its newline.
        offset: of the first byte in the file.
        first_record: its number in the unit.
        records: how many there are, as the source counted them.

    Returns:
        The violations, sorted as they stand, and the dead letters with reason, text and offset. Every record is
        in one of the two.

    Raises:
        AssertionError: where the parser saw another number of records than the source.
    """
    cells = read_cells(data, unit.columns)
    rows, refused = violations(cells, unit.name, first_record)
    dead = _dead_letters(unit, data, offset, first_record, cells.odd, [cells.refused, refused])
    seen = rows.num_rows + dead.num_rows
    assert seen == records, f"{unit.path}, bytes {offset}+{len(data)}: {records} records came in, {seen} went out"
    return Parsed(rows, dead)


def read_cells(data: bytes, columns: tuple[str, ...]) -> Cells:
    """The wanted columns as text: the parser reads what is well formed, the odd records are read one by one."""
    odd = odd_records(data, len(columns))
    table, bad_width = _read_regular(_without(data, odd), columns)
    odd_numbers = _record_numbers(data, odd)
    regular_numbers = np.delete(np.arange(table.num_rows + len(bad_width) + len(odd)), odd_numbers)
    bad = [not r for r in (_width_reason(len(record.fields), len(columns)) is None for record in odd)]
    refused = Refused(
        np.concatenate([regular_numbers[bad_width.rows], odd_numbers[bad]]),
        [*bad_width.reasons, *filter(None, (_width_reason(len(record.fields), len(columns)) for record in odd))],
    )
    read = [record for record, is_bad in zip(odd, bad, strict=True) if not is_bad]
    notes: list[Note] = []
    if read:
        extra, foreign = _odd_table(read, columns, table.schema)
        first = table.num_rows
        notes.append((Repair.ENCODING, first + np.flatnonzero(foreign)))
        notes.append((Repair.STRAY_QUOTE, first + np.flatnonzero([r.stray_quote for r in read])))
        table = pa.concat_tables([table, extra])
    good_odd = odd_numbers[[not b for b in bad]]
    records = np.concatenate([np.delete(regular_numbers, bad_width.rows), good_odd])
    return Cells(table, records, notes, refused, odd)


def _width_reason(fields: int, columns: int) -> str | None:
    if fields == columns:
        return None
    return Reason.CUT_SHORT if fields < columns else Reason.TOO_LONG


class _BadWidth:
    """Collects the records whose number of fields is not the header's."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self.reasons: list[str] = []

    def __call__(self, row: pacsv.InvalidRow) -> str:
        self._rows.append(row.number - 1)
        short = row.actual_columns < row.expected_columns
        self.reasons.append(Reason.CUT_SHORT if short else Reason.TOO_LONG)
        return "skip"

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def rows(self) -> Ints:
        return np.array(self._rows, np.int64)


def _read_regular(data: bytes, columns: tuple[str, ...]) -> tuple[pa.Table, _BadWidth]:
    places = {column_key(name): place for place, name in enumerate(columns)}
    present = {name: str(places[key]) for name in WANTED if (key := column_key(name)) in places}
    bad_width = _BadWidth()
    types = {place: pa.string() if name in PLAIN else ENUM for name, place in present.items()}
    if not data:
        table = pa.table({place: pa.array([], type_) for place, type_ in types.items()})
        return table.rename_columns(list(present)), bad_width
    table = pacsv.read_csv(
        pa.py_buffer(data),
        read_options=pacsv.ReadOptions(
            column_names=[str(place) for place in range(len(columns))], use_threads=False, block_size=len(data) + 1
        ),
        parse_options=pacsv.ParseOptions(ignore_empty_lines=False, invalid_row_handler=bad_width),
        convert_options=pacsv.ConvertOptions(
            include_columns=list(present.values()), column_types=types, null_values=[""], strings_can_be_null=True
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


def violations(cells: Cells, unit: str, first_record: int) -> tuple[pa.RecordBatch, Refused]:
    """Typed, repaired violations of the columns of VIOLATION that a history row has, and the refused records."""
    table = cells.table.unify_dictionaries().combine_chunks()
    n = table.num_rows
    notes = list(cells.notes)
    refusals: list[tuple[npt.NDArray[np.bool_], list[str | None], Ints]] = []

    def coded(name: str, repair: Callable[[str | None], T]) -> tuple[list[T], Ints]:
        """The repaired distinct values of a column, a missing one last, and which of them each row has."""
        column = _column(table, name)
        values = [repair(text) for text in column.dictionary.to_pylist()]
        return [*values, repair(None)], _indices(column, len(values))

    def refuse(reasons: list[str | None], index: Ints) -> None:
        bad = np.array([reason is not None for reason in reasons])
        if bad.any():
            refusals.append((bad[index], reasons, index))

    def note(repairs: list[str | None], index: Ints) -> None:
        for repair in sorted({r for r in repairs if r}):
            rows = np.flatnonzero(np.array([r == repair for r in repairs])[index])
            notes.append((repair, rows))

    summons, summons_reasons, summons_index = _summons(_column(table, "Summons Number"))
    refuse(summons_reasons, summons_index)
    codes, code_index = coded("Violation Code", repair_code)
    refuse([c.reason for c in codes], code_index)
    dates, date_index = coded("Issue Date", repair_date)
    refuse([d.reason for d in dates], date_index)
    note([d.repair for d in dates], date_index)
    times, time_index = coded("Violation Time", repair_time)
    refuse([t.reason for t in times], time_index)
    note([t.repair for t in times], time_index)

    table_of_days = [day(d.value) if d.value else Day(0, 0, 0, 1 << 30, False) for d in dates]
    minutes = np.array([t.minutes for t in times], np.int64)[time_index]
    event_time, gap, twice = to_utc(date_index, minutes, table_of_days)
    notes += [(Repair.DST_GAP, gap), (Repair.DST_TWICE, twice)]

    columns: dict[str, pa.Array] = {
        "unit": constant(unit, n),
        "record": pa.array(cells.records + first_record),
        "event_time": pa.array(event_time, pa.timestamp("us", "UTC")),
        "violation_code": pa.array(np.array([c.value or UNQUALIFIED for c in codes], np.int16)[code_index]),
        "summons_number": summons,
        "issue_date_text": _column(table, "Issue Date"),
        "violation_time_text": _column(table, "Violation Time"),
    }
    columns |= {ours: _column(table, theirs) for ours, theirs in TEXTS.items()}
    county, county_repairs, county_index = _counties(_column(table, "Violation County"))
    note(county_repairs, county_index)
    columns["county"] = columns["area"] = county
    for ours, theirs in NUMBERS.items():
        columns[ours], unreadable = _optional_numbers(_column(table, theirs))
        notes.append((Repair.NUMBER_UNREADABLE, unreadable))
    columns["plate_id"], blank, odd = _plates(columns["plate_id"])
    notes += [(Repair.PLATE_BLANK, blank), (Repair.PLATE_ODD, odd)]
    columns["repairs"] = _repair_lists(notes, n)

    batch = pa.RecordBatch.from_pydict(columns)
    return _split_refused(batch, cells.records, refusals)


def _split_refused(
    batch: pa.RecordBatch, records: Ints, refusals: list[tuple[npt.NDArray[np.bool_], list[str | None], Ints]]
) -> tuple[pa.RecordBatch, Refused]:
    if not refusals:
        return batch, Refused(np.empty(0, np.int64), [])
    bad = np.logical_or.reduce([mask for mask, _, _ in refusals])
    rows = np.flatnonzero(bad)
    # The first rule that refuses a row gives the reason.
    reasons = [next(str(r[index[row]]) for mask, r, index in refusals if mask[row]) for row in rows]
    return batch.filter(pa.array(~bad)), Refused(records[rows], reasons)


def _dead_letters(
    unit: Unit, data: bytes, offset: int, first_record: int, odd: list[OddRecord], refused: list[Refused]
) -> pa.RecordBatch:
    rows = np.concatenate([r.rows for r in refused])
    reasons = [reason for r in refused for reason in r.reasons]
    spans = _record_spans(data, odd, rows)
    return pa.RecordBatch.from_pydict(
        {
            "unit": constant(unit.name, len(rows)),
            "record": rows + first_record,
            "reason": pa.array(reasons, pa.string()).cast(ENUM),
            "detail": pa.nulls(len(rows), pa.string()),
            "payload": pa.array([data[a:b].rstrip(b"\r\n") for a, b in spans], pa.binary()),
            "path": constant(unit.path, len(rows)),
            "offset": pa.array([offset + a for a, _ in spans], pa.int64()),
        },
        schema=DEAD_LETTER,
    )


def _record_spans(data: bytes, odd: list[OddRecord], records: Ints) -> list[tuple[int, int]]:
    """Where the records of these numbers stand in the block."""
    if not len(records):
        return []
    index = LineIndex(data)
    odd_numbers = _record_numbers(data, odd)
    extra_lines = np.cumsum([0, *(r.lines - 1 for r in odd)])
    spans = []
    for number in records:
        place = int(np.searchsorted(odd_numbers, number))
        if place < len(odd) and odd_numbers[place] == number:
            spans.append((odd[place].start, odd[place].end))
            continue
        start = index.start(int(number + extra_lines[place]))
        spans.append((start, data.find(b"\n", start) + 1 or len(data)))
    return spans


def _record_numbers(data: bytes, odd: list[OddRecord]) -> Ints:
    """The numbers in the block of the odd records: the lines before each, less those inside other records."""
    numbers, line, position = [], 0, 0
    for record in odd:
        line += data.count(b"\n", position, record.start)
        numbers.append(line)
        line, position = line + 1, record.end
    return np.array(numbers, np.int64)


def _without(data: bytes, odd: list[OddRecord]) -> bytes:
    if not odd:
        return data
    starts = [0, *(record.end for record in odd)]
    ends = [*(record.start for record in odd), len(data)]
    return b"".join(data[a:b] for a, b in zip(starts, ends, strict=True))


def _column(table: pa.Table, name: str) -> pa.Array:
    """The column as one array; nulls where this year's layout does not have it."""
    if name not in table.column_names:
        return pa.nulls(table.num_rows, pa.string() if name in PLAIN else ENUM)
    return table[name].combine_chunks()


def _indices(column: pa.DictionaryArray, missing: int) -> Ints:
    indices: Ints = column.indices.fill_null(missing).to_numpy().astype(np.int64)
    return indices


def _outside(column: pa.StringArray, allowed: npt.NDArray[np.bool_]) -> Ints:
    """The rows with a byte that is not allowed: one look at all bytes, not one a row."""
    offsets = np.frombuffer(column.buffers()[1], np.int32)[column.offset : column.offset + len(column) + 1]
    text = np.frombuffer(column.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    positions = np.flatnonzero(~allowed[text]) + offsets[0]
    return np.unique(np.searchsorted(offsets, positions, side="right") - 1)


_DIGITS = np.isin(np.arange(256), list(b"0123456789"))
_PLATE_LETTERS = np.isin(np.arange(256), list(PLATE_LETTERS))
_BLANK_PLATES = pa.array(sorted({variant for b in BLANK_PLATES for variant in (b, b.lower(), b.title())}))
_SUMMONS_REASONS = [None, Reason.SUMMONS_MISSING, Reason.SUMMONS_UNREADABLE]


def _summons(column: pa.StringArray) -> tuple[pa.Int64Array, list[str | None], Ints]:
    """The numbers, and for each row which of the reasons it has."""
    index = np.where(column.is_null().to_numpy(zero_copy_only=False), 1, 0)
    index[_outside(column, _DIGITS)] = 2
    index[pc.fill_null(pc.greater(pc.binary_length(column), 18), False).to_numpy(zero_copy_only=False)] = 2
    if index.any():
        column = pc.if_else(pa.array(index == 0), column, None)
    return column.cast(pa.int64()), _SUMMONS_REASONS, index


def _counties(column: pa.DictionaryArray) -> tuple[pa.DictionaryArray, list[str | None], Ints]:
    """The counties, and for each row which of the repairs it has."""
    repaired = [repair_county(text) for text in column.dictionary.to_pylist()]
    codes = pa.array([code for code, _ in repaired], pa.string()).dictionary_encode()
    county = pa.DictionaryArray.from_arrays(codes.indices.take(column.indices), codes.dictionary)
    return county, [*(repair for _, repair in repaired), None], _indices(column, len(repaired))


def _optional_numbers(column: pa.DictionaryArray) -> tuple[pa.Int16Array, Ints]:
    """The numbers, and the rows whose text is none."""
    numbers = [whole_number(text) for text in column.dictionary.to_pylist()]
    fits = [n if n is not None and -(1 << 15) <= n < 1 << 15 else None for n in numbers]
    unreadable = np.array([*(n is None for n in fits), False])
    rows = np.flatnonzero(unreadable[_indices(column, len(numbers))]) if unreadable.any() else np.empty(0, np.int64)
    return pa.array(fits, pa.int16()).take(column.indices), rows


def _plates(column: pa.StringArray) -> tuple[pa.StringArray, Ints, Ints]:
    """The plates, without those that say there was none; those rows; the rows with odd characters."""
    blank = pc.is_in(column, value_set=_BLANK_PLATES)
    rows = np.flatnonzero(blank.to_numpy(zero_copy_only=False))
    odd = np.setdiff1d(_outside(column, _PLATE_LETTERS), rows)
    return (pc.if_else(blank, None, column) if len(rows) else column), rows, odd


_RANKS = [value for name, value in vars(Repair).items() if name.isupper()]


def _repair_lists(notes: list[Note], n: int) -> pa.ListArray:
    """The names of the repairs of each row, in the order of the rules."""
    keys = [rows * len(_RANKS) + _RANKS.index(name) for name, rows in notes if len(rows)]
    found = np.unique(np.concatenate(keys)) if keys else np.empty(0, np.int64)
    offsets = np.concatenate([[0], np.cumsum(np.bincount(found // len(_RANKS), minlength=n))])
    names = pa.array(_RANKS, pa.string()).take(pa.array(found % len(_RANKS)))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), names)


class _ParseHistory(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    def process(self, batch: UnitBatch) -> Iterator[Any]:
        block = batch.rows.to_pylist()[0]
        parsed = parse_block(batch.unit, block["data"], block["offset"], block["first_record"], block["records"])
        yield batch.with_rows(parsed.rows)
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, batch.with_rows(parsed.dead_letters))


class ParseHistory(beam.PTransform):  # type: ignore[misc]
    """Blocks of CSV -> ``rows`` of violations, and ``dead_letters``."""

    def expand(self, batches: beam.PCollection) -> Any:
        return batches | "Parse CSV" >> beam.ParDo(_ParseHistory()).with_outputs(DEAD_LETTERS, main=ROWS)
