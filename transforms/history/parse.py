"""Parse and repair the history: a block of CSV text in, typed violations and dead letters out."""

from collections.abc import Callable
from typing import Any, TypeVar

import apache_beam as beam
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.history import BLANK_PLATES, NUMBER_COLUMNS, READ_COLUMNS, TEXT_COLUMNS, Repair
from schemas.lake import ENUM, REFUSED, UTC, constant
from schemas.messages import UNQUALIFIED
from sources.files.csv_block import PLAIN, Cells, CsvBlock, Ints, Note, RefusedRecords
from sources.units import Unit, UnitBlock
from transforms.clock import Day, day, to_utc
from transforms.history.columns import (
    clean_dictionary,
    clean_strings,
    counties,
    indices_of,
    optional_numbers,
    plates,
    repair_lists,
    summons_numbers,
)
from transforms.history.repair import clean_text, clean_time, repair_code, repair_date, repair_time
from transforms.outputs import DEAD_LETTERS, ROWS, Parsed
from transforms.refusals import ANY_NUMBER, MaxDeadLetters, Parser

T = TypeVar("T")

_PLATE_RULE = frozenset(BLANK_PLATES)

Refusals = tuple[npt.NDArray[np.bool_], list[str | None], Ints]
"""What one rule refuses: which rows; the reasons of its distinct values; which of them each row has."""


def parse_block(unit: Unit, block: CsvBlock) -> Parsed:
    """Parse the records of a block of a unit.

    Returns:
        The violations and the dead letters with reason, text and offset. Every record is in one of the two.

    Raises:
        AssertionError: where the parser found another number of records than the source.
    """
    cells = block.read(READ_COLUMNS)
    rows, refused = violations(cells, unit.name, block.first_record)
    dead = _dead_letters(unit, block, [cells.refused, refused])
    seen = rows.num_rows + dead.num_rows
    where = f"{unit.path}, bytes {block.offset}+{len(block.data)}"
    assert seen == block.num_rows, f"{where}: {block.num_rows} records came in, {seen} went out"
    return Parsed(rows, dead)


def violations(cells: Cells, unit: str, first_record: int) -> tuple[pa.RecordBatch, RefusedRecords]:
    """Typed, repaired violations of the columns of VIOLATION that a history row has, and the refused records."""
    table = cells.table.unify_dictionaries().combine_chunks()
    n = table.num_rows
    texts, notes = _clean_columns(table)
    notes += cells.notes
    refusals: list[Refusals] = []

    def coded(column: pa.DictionaryArray, repair: Callable[[str | None], T]) -> tuple[list[T], Ints]:
        """The repaired distinct values of a column, a missing one last, and which of them each row has."""
        values = [repair(text) for text in column.dictionary.to_pylist()]
        return [*values, repair(None)], indices_of(column, len(values))

    def refuse(reasons: list[str | None], index: Ints) -> None:
        bad = np.array([reason is not None for reason in reasons])
        if bad.any():
            refusals.append((bad[index], reasons, index))

    def note(repairs: list[str | None], index: Ints) -> None:
        for repair in sorted({r for r in repairs if r}):
            rows = np.flatnonzero(np.array([r == repair for r in repairs])[index])
            notes.append((repair, rows))

    summons, summons_reasons, summons_index, padded = summons_numbers(texts["Summons Number"])
    refuse(summons_reasons, summons_index)
    notes.append((Repair.NUMBER_SPELLING, padded))
    codes, code_index = coded(texts["Violation Code"], repair_code)
    refuse([c.reason for c in codes], code_index)
    note([c.repair for c in codes], code_index)
    dates, date_index = coded(texts["Issue Date"], repair_date)
    refuse([d.reason for d in dates], date_index)
    note([d.repair for d in dates], date_index)
    times, time_index = coded(texts["Violation Time"], repair_time)
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
    columns |= {ours: texts[theirs] for ours, theirs in TEXT_COLUMNS.items()}
    county, county_repairs, county_index = counties(texts["Violation County"])
    note(county_repairs, county_index)
    columns["county"] = columns["area"] = county
    for ours, theirs in NUMBER_COLUMNS.items():
        columns[ours], made = optional_numbers(texts[theirs])
        notes += made
    columns["plate_id"], blank, odd = plates(columns["plate_id"])
    notes += [(Repair.PLATE_BLANK, blank), (Repair.PLATE_ODD, odd)]
    columns["repairs"] = repair_lists(notes, n)

    batch = pa.RecordBatch.from_pydict(columns)
    good, refused = _refused(cells.records, refusals)
    unqualified = good & (batch["violation_code"].to_numpy() == UNQUALIFIED)
    if good.all() and not unqualified.any():
        return batch, refused
    # The rows of one branch are together: the copy that leaves the refused rows out is then the only one.
    order = np.concatenate([np.flatnonzero(good & ~unqualified), np.flatnonzero(unqualified)])
    return batch.take(pa.array(order)), refused


def _refused(records: Ints, refusals: list[Refusals]) -> tuple[npt.NDArray[np.bool_], RefusedRecords]:
    """Which rows are good, and the records of the others with the first rule that refuses each."""
    bad = np.zeros(len(records), bool)
    for mask, _, _ in refusals:
        bad |= mask
    rows = np.flatnonzero(bad)
    reasons = [next(str(texts[index[row]]) for mask, texts, index in refusals if mask[row]) for row in rows]
    return ~bad, RefusedRecords(records[rows], reasons)


def _dead_letters(unit: Unit, block: CsvBlock, refused: list[RefusedRecords]) -> pa.RecordBatch:
    rows = np.concatenate([r.rows for r in refused])
    reasons = [reason for r in refused for reason in r.reasons]
    spans = block.spans(rows)
    return pa.RecordBatch.from_pydict(
        {
            "unit": constant(unit.name, len(rows)),
            "record": rows + block.first_record,
            "reason": pa.array(reasons, pa.string()).cast(ENUM),
            "detail": pa.nulls(len(rows), pa.string()),
            "payload": pa.array([block.data[a:b].rstrip(b"\r\n") for a, b in spans], pa.binary()),
            "path": constant(unit.path, len(rows)),
            "offset": pa.array([block.offset + a for a, _ in spans], pa.int64()),
            "published_at": pa.nulls(len(rows), UTC),
            "source_id": pa.nulls(len(rows), pa.string()),
        },
        schema=REFUSED,
    )


def _clean_columns(table: pa.Table) -> tuple[dict[str, pa.Array], list[Note]]:
    """The columns that are read, as clean text, and the repairs that it took."""
    texts, notes = {}, []
    for name in READ_COLUMNS:
        column = _column(table, name)
        if name in PLAIN:
            texts[name], made = clean_strings(column, _PLATE_RULE if name == "Plate ID" else frozenset())
        else:
            texts[name], made = clean_dictionary(column, clean_time if name == "Violation Time" else clean_text)
        notes += made
    return texts, notes


def _column(table: pa.Table, name: str) -> pa.Array:
    """The column as one array; nulls where this year's layout does not have it."""
    if name not in table.column_names:
        return pa.nulls(table.num_rows, pa.string() if name in PLAIN else ENUM)
    return table[name].combine_chunks()


class _ParseHistory(Parser):
    def parse(self, batch: Any) -> Parsed:
        return parse_block(batch.unit, batch.block)


class ParseHistory(beam.PTransform):  # type: ignore[misc]  # Beam's classes are untyped
    """Blocks of CSV -> ``rows`` of violations, and ``dead_letters``.

    Args:
        root: of the lake whose tombstones apply, if any.
    """

    def __init__(self, limit: MaxDeadLetters = ANY_NUMBER, root: str | None = None) -> None:
        super().__init__()
        self._limit, self._root = limit, root

    def expand(self, batches: beam.PCollection) -> Any:
        parse = beam.ParDo(_ParseHistory(self._limit, self._root)).with_input_types(UnitBlock)
        return batches | "Parse CSV" >> parse.with_outputs(DEAD_LETTERS, main=ROWS)
