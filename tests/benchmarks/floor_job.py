"""``python -m tests.benchmarks.floor_job STEP INPUT OUTPUT``: the history without Beam, up to a step of the staircase.

Two threads take a cell of the grid each, as the pipeline's two workers do, and call the pipeline's own functions; a
step that is left out is replaced by the least that gives the same columns. So the difference between two steps is what
the later one costs, and the last step is what is left of the pipeline without its runner.
"""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from enum import IntEnum
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from pipelines.cli.beam_imports import quick_imports

with quick_imports():
    from lake.files import write_unit
    from lake.ledger import commit
    from lake.memory import keep_memory
    from lake.storage import open_file
    from schemas.history import NUMBER_COLUMNS, READ_COLUMNS, TEXT_COLUMNS, column_key
    from schemas.lake import BRANCHES, ENUM, ROWS_IN, Dataset, Source, constant
    from schemas.messages import UNQUALIFIED
    from sources.files.csv_block import PARSED_BYTES, PLAIN, CsvBlock
    from sources.files.grid import Cell, Lines, blocks, border, content_hash
    from sources.files.history import HistoryCsv
    from sources.files.read import Header, plan
    from sources.units import Tally, Unit, UnitBatch
    from transforms.clock import Day, day, to_utc
    from transforms.history.columns import counties, indices_of, optional_numbers, summons_numbers
    from transforms.history.parse import parse_block, violations
    from transforms.history.repair import repair_code, repair_date, repair_time
    from transforms.outputs import Parsed
    from transforms.qualify import split
    from transforms.stats import HOUR, WindowCounter
    from transforms.write import ledger_row, write_tally

_FORM = HistoryCsv()


class Step(IntEnum):
    """What is done; each step does what the ones before it do."""

    IMPORTS = -1
    """Nothing is read: the modules of the pipeline are imported, and Beam with them."""
    COLUMNS = 0
    """Lines are parsed, typed, branched, counted, sorted and written by month; what is unreadable is dropped."""
    IDENTITY = 1
    """Cells, and files and rows by them, are named by the hash of their bytes, which are read once more."""
    RECORDS = 2
    """Records end where quotes say so; what the parser cannot read is read with care. Lines of names are found."""
    REPAIRS = 3
    """Texts are cleaned, each repair is named on its row."""
    LETTERS = 4
    """What is refused is kept with its reason, bytes and offset."""
    LEDGER = 5
    """Files have checksums, are put whole and synced; the unit's rows are reconciled and committed."""


def main(step: str, source: str, output: str) -> None:
    """Run the job."""
    chosen, root = Step[step], Path(output)
    if chosen == Step.IMPORTS:
        return
    keep_memory()
    with ExitStack() as stack:
        if chosen < Step.LEDGER:
            stack.enter_context(mock.patch("lake.files.storage", return_value=_Folder(root)))
            stack.enter_context(mock.patch("lake.files.sha256", return_value=""))
        pool = stack.enter_context(ThreadPoolExecutor(os.cpu_count()))
        cells = plan(source, _FORM) if chosen >= Step.RECORDS else _unmarked(source)
        list(pool.map(partial(_read_cell, output, chosen), cells))


class _Rows(NamedTuple):
    """What is read of a block where what is refused is dropped."""

    rows: pa.RecordBatch


class _Folder:
    """Writes files of the lake as they come."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, path: str, data: memoryview) -> None:
        place = self._root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)


def _unmarked(source: str) -> list[Cell]:
    """The cells, without a search for lines of column names inside the file."""
    with mock.patch.object(HistoryCsv, "mark", lambda _, cells, *__: cells):
        return plan(source, _FORM)


def _read_cell(root: str, step: Step, cell: Cell) -> None:
    with open_file(cell.path) as file:
        header = _FORM.header(file, cell.path)
        borders = _FORM.borders(header) if step >= Step.RECORDS else Lines()
        size = file.seek(0, 2)
        start = border(file, cell.start, borders) if cell.number else len(header.text)
        end = border(file, cell.end, borders) if cell.end < size else size
        salt = str(cell.number).encode(), header.text
        content = content_hash(file, start, end, *salt) if step >= Step.IDENTITY else ""
        unit = Unit(Source.HISTORY, cell.path, start, end, f"history-{cell.number:05d}-{content}", header.columns)
        rows_of: dict[Dataset, list[pa.RecordBatch]] = {dataset: [] for dataset in (*BRANCHES, Dataset.DEAD_LETTERS)}
        counter, rows_in = WindowCounter(HOUR), 0
        for parsed in _blocks(file, unit, step, header, borders):
            rows_in += sum(rows.num_rows for rows in parsed)
            counter.add(parsed.rows)
            for dataset, rows in split(parsed.rows).items():
                rows_of[dataset].append(rows)
            if isinstance(parsed, Parsed):
                rows_of[Dataset.DEAD_LETTERS].append(parsed.dead_letters)
    rows_of[Dataset.STATS] = [counter.counts(unit.name)]
    if step < Step.LEDGER:
        for dataset, batches in rows_of.items():
            if batches:
                write_unit(root, dataset, Source.HISTORY, unit.name, batches)
        return
    tallies = [Tally(ROWS_IN, rows_in, unit=unit)]
    for dataset, batches in rows_of.items():
        tallies.append(write_tally(root, dataset, UnitBatch(unit, batches[0], last=True), batches))
    commit(root, [ledger_row(unit.name, tallies)])


def _blocks(file: IO[bytes], unit: Unit, step: Step, header: Header, borders: Any) -> Iterator[Parsed | _Rows]:
    first = 0
    for offset, data in blocks(file, unit.start, unit.end, borders):
        if step < Step.RECORDS:
            table = _lines(data, header)
            yield _Rows(_typed(table, unit, np.arange(first, first + table.num_rows)))
            first += table.num_rows
            continue
        block: CsvBlock = _FORM.content(header, data, offset, first)
        if step >= Step.LETTERS:
            yield parse_block(unit, block)
        else:
            cells = block.read(READ_COLUMNS)
            if step >= Step.REPAIRS:
                yield _Rows(violations(cells, unit.name, first)[0])
            else:
                yield _Rows(_typed(cells.table, unit, cells.records + first))
        first += block.num_rows


def _lines(data: bytes, header: Header) -> pa.Table:
    """The columns of the lines that have as many fields as the header; quotes are ordinary characters, as polars reads
    them."""
    place_of = {column_key(name): str(place) for place, name in enumerate(header.columns)}
    places = {name: place_of[column_key(name)] for name in READ_COLUMNS if column_key(name) in place_of}
    table = pacsv.read_csv(
        # pyarrow cannot hand over a line that is no UTF-8, not even to have it skipped.
        pa.py_buffer(data if data.isascii() else np.frombuffer(data, np.uint8) & 0x7F),
        read_options=pacsv.ReadOptions(
            column_names=[str(place) for place in range(len(header.columns))],
            use_threads=False,
            block_size=PARSED_BYTES,
        ),
        parse_options=pacsv.ParseOptions(quote_char=False, invalid_row_handler=lambda _: "skip"),
        convert_options=pacsv.ConvertOptions(
            include_columns=list(places.values()),
            column_types={place: pa.string() if name in PLAIN else ENUM for name, place in places.items()},
            null_values=[""],
            strings_can_be_null=True,
            check_utf8=False,
        ),
    )
    return table.rename_columns(list(places))


def _typed(table: pa.Table, unit: Unit, records: Any) -> pa.RecordBatch:
    """The columns of :func:`transforms.history.parse.violations`: no text is cleaned, no repair is named."""
    table = table.unify_dictionaries().combine_chunks()
    columns = {name: table[name].combine_chunks() for name in table.column_names}

    def looked_up(name: str, rule: Any) -> tuple[list[Any], Any]:
        texts = columns[name].dictionary.to_pylist()
        return [rule(text) for text in [*texts, None]], indices_of(columns[name], len(texts))

    (dates, of_date), (times, of_time), (codes, of_code) = (
        looked_up(name, rule)
        for name, rule in (
            ("Issue Date", repair_date),
            ("Violation Time", repair_time),
            ("Violation Code", repair_code),
        )
    )
    summons, _, bad_summons, _ = summons_numbers(columns["Summons Number"])
    minutes = np.array([time.minutes for time in times], np.int64)[of_time]
    days = [day(date.value) if date.value else Day(0, 0, 0, 1 << 30, False) for date in dates]
    event_time, _, _ = to_utc(of_date, minutes, days)
    code = np.array([code.value or UNQUALIFIED for code in codes], np.int16)[of_code]
    good = bad_summons == 0
    for found, index in ((dates, of_date), (times, of_time), (codes, of_code)):
        good &= np.array([one.reason is None for one in found])[index]
    county, _, _ = counties(columns["Violation County"])
    made: dict[str, Any] = {
        "unit": constant(unit.name, table.num_rows),
        "record": pa.array(records),
        "event_time": pa.array(event_time, pa.timestamp("us", "UTC")),
        "violation_code": pa.array(code),
        "summons_number": summons,
        "issue_date_text": columns["Issue Date"],
        "violation_time_text": columns["Violation Time"],
        **{ours: columns[theirs] for ours, theirs in TEXT_COLUMNS.items()},
        **{ours: optional_numbers(columns[theirs])[0] for ours, theirs in NUMBER_COLUMNS.items()},
        "county": county,
        "area": county,
    }
    order = np.concatenate([np.flatnonzero(good & (code != UNQUALIFIED)), np.flatnonzero(good & (code == UNQUALIFIED))])
    return pa.RecordBatch.from_pydict(made).take(pa.array(order))


if __name__ == "__main__":
    main(*sys.argv[1:])
