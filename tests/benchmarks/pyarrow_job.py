"""The bench's job in pyarrow and numpy, without Beam: a thread a core, each parses and writes cells of the file.

``python -m tests.benchmarks.pyarrow_job INPUT OUTPUT``

How: the file is mapped and cut into cells of CELL_BYTES at line ends; a thread parses, repairs and writes a cell on its
own (pyarrow's own threads would stop at the one-threaded steps between parsing and writing). Columns of few values are
parsed as dictionaries, whose distinct texts alone are repaired. One packed integer sorts a cell by branch and time. A
cell writes a file a month and branch, as the product does, so memory does not grow with the input. Street names are
kept as strings: a dictionary is written whole, with the streets of all months.

What is lost compared with the product: pyarrow, like polars, swallows the rows after a stray quote, so quotes are read
as ordinary characters. Rows of another width come to a handler with their text, which reads them again as CSV: quoted
commas and newlines are read as they should be. Lines that are no UTF-8 are made misfits to be read there as Latin-1.
What is missing:

- no repair says that a quote was stray or that the text was Latin-1;
- a quoted newline counts as two rows in the numbers of the rows after it, and is cut where a cell ends in it.
"""

import csv
import mmap
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from schemas.history import Reason, Repair
from tests.benchmarks import rules

CELL_BYTES = 64 << 20
PARSE_BYTES = 1 << 20
"""Blocks that fit in a core's cache are parsed a quarter faster than a cell in one piece."""
WORKERS = os.cpu_count() or 1
_QUOTED = '^"(?:[^"]|"")*"$'
_PIECE = 1 << 16
_STRINGS = ("summons", "plate_id", "house_number", "street")
_TEXT = pa.dictionary(pa.int32(), pa.string())
_DATASETS = ("qualified", "unqualified")
_DEAD = 2

Ints = npt.NDArray[np.int64]


class Cell(NamedTuple):
    """A piece of the file: whole lines, and the number of the first."""

    number: int
    first: int
    start: int
    end: int


class Misfit(NamedTuple):
    """A row of another width than the header's: its line in the cell and its text."""

    line: int
    text: str


def cells_of(file: mmap.mmap) -> Iterator[Cell]:
    """The cells of a file, its header left out."""
    start, first, number = file.find(b"\n") + 1, 0, 0
    while start < len(file):
        end = file.find(b"\n", start + CELL_BYTES) + 1 or len(file)
        yield Cell(number, first, start, end)
        first += sum(file[at : min(at + _PIECE, end)].count(b"\n") for at in range(start, end, _PIECE))
        start, number = end, number + 1


def run_cell(file: mmap.mmap, cell: Cell, columns: list[str], output: Path) -> None:
    """Parse a cell, repair, count and write its rows."""
    table, records, dead = _parse(file, cell, columns)
    _forget(file, cell)
    name = f"{cell.number:05d}.parquet"
    rows, branch, month, reasons, minute = _repaired(table, records)
    order = _order(branch, minute)
    ends = np.cumsum(np.bincount(branch, minlength=3))
    lost = order[ends[1] :]
    dead += _dead_letters(table.take(pa.array(lost)), records[lost], reasons[lost])
    if dead:
        _write(pa.Table.from_pylist(dead), output / "dead_letters/source=history" / name)
    rows = rows.take(pa.array(order[: ends[1]]))
    month = month[order]
    _write(_counts(rows), output / "stats/source=history" / name)
    for dataset, start, end in zip(_DATASETS, (0, ends[0]), ends[:2], strict=True):
        for label, first, last in _months(month, int(start), int(end)):
            path = output / dataset / f"source=history/month={label}" / name
            _write(rows.slice(first, last - first).select(list(rules.OUTPUT)), path)


def _parse(file: mmap.mmap, cell: Cell, columns: list[str]) -> tuple[pa.Table, Ints, list[dict[str, Any]]]:
    """The columns of the rows that can be read, their numbers, and the dead letters among the others."""
    foreign = _hide_foreign_text(file, cell.start, cell.end)
    misfits: list[Misfit] = []

    def collect(row: pacsv.InvalidRow) -> str:
        misfits.append(Misfit(row.number - 1, foreign.get(row.text, row.text)))
        return "skip"

    table = pacsv.read_csv(
        pa.py_buffer(memoryview(file)[cell.start : cell.end]),
        read_options=pacsv.ReadOptions(column_names=columns, use_threads=False, block_size=PARSE_BYTES),
        parse_options=pacsv.ParseOptions(quote_char=False, ignore_empty_lines=False, invalid_row_handler=collect),
        convert_options=pacsv.ConvertOptions(
            include_columns=[*rules.TEXTS, *rules.INPUTS],
            column_types={name: pa.string() if name in _STRINGS else _TEXT for name in columns},
            null_values=[""],
            strings_can_be_null=True,
            check_utf8=False,  # what is no UTF-8 is hidden
        ),
    )
    records = np.delete(np.arange(table.num_rows + len(misfits)), [m.line for m in misfits])
    mended, dead = _mended(misfits, columns)
    dead = [row | {"record": cell.first + row["record"]} for row in dead]
    if mended:
        rows = [{name: row[columns.index(name)] or None for name in table.column_names} for _, row in mended]
        table = pa.concat_tables([table, pa.Table.from_pylist(rows, schema=table.schema)])
        records = np.append(records, [line for line, _ in mended])
    return _unquoted(table.unify_dictionaries().combine_chunks()), records + cell.first, dead


def _forget(file: mmap.mmap, cell: Cell) -> None:
    """Give back the pages of a cell that has been parsed; those at its ends belong to its neighbours as well."""
    start, end = -(-cell.start // mmap.PAGESIZE) * mmap.PAGESIZE, cell.end // mmap.PAGESIZE * mmap.PAGESIZE
    if start < end:
        file.madvise(mmap.MADV_DONTNEED, start, end - start)


def _hide_foreign_text(file: mmap.mmap, start: int, end: int) -> dict[str, str]:
    """Make misfits of the lines that are no UTF-8, in this process's view of the file: from what the line is now to
    what it was, read as Latin-1."""
    hidden = {}
    for at in range(start, end, _PIECE):
        piece = file[at : min(at + _PIECE, end)]
        if piece.isascii():  # many times faster than a search for a byte
            continue
        for found in re.finditer(rb"[\x80-\xff]", piece):
            line_start = file.rfind(b"\n", 0, at + found.start()) + 1
            line_end = file.find(b"\n", line_start)
            line = file[line_start : line_end if line_end >= 0 else len(file)]
            try:
                line.decode()
            except UnicodeDecodeError:
                commas = re.sub(rb"[\x80-\xff]", b",", line)
                file[line_start : line_start + len(line)] = commas
                hidden[commas.decode().rstrip("\r")] = line.decode("latin-1").rstrip("\r")
    return hidden


def _mended(misfits: list[Misfit], columns: list[str]) -> tuple[list[tuple[int, list[str]]], list[dict[str, Any]]]:
    """The misfits that are whole rows as CSV has it, alone or with the next line, and dead letters of the others."""
    rows, dead = [], []
    waiting = deque(misfits)
    while waiting:
        line, text = waiting.popleft()
        fields = _fields(text)
        if len(fields) != len(columns) and waiting and waiting[0].line == line + 1:
            joined = _fields(f"{text}\n{waiting[0].text}")
            if len(joined) == len(columns):
                waiting.popleft()
                fields = joined
        if len(fields) == len(columns):
            rows.append((line, fields))
        else:
            reason = Reason.CUT_SHORT if text.count(",") < len(columns) else Reason.TOO_LONG
            dead.append({"record": line, "reason": reason, "row": text})
    return rows, dead


def _fields(text: str) -> list[str]:
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error:
        return []
    return rows[0] if rows else []


def _unquoted(table: pa.Table) -> pa.Table:
    """The table without the quotes around fields that needed none to be read."""
    for place, name in enumerate(table.column_names):
        column = table.column(place).chunk(0)
        is_dictionary = pa.types.is_dictionary(column.type)
        texts = column.dictionary if is_dictionary else column
        quoted = pc.match_substring_regex(texts, _QUOTED)
        if pc.any(quoted).as_py():
            inner = pc.replace_substring(pc.utf8_slice_codeunits(texts, 1, -1), '""', '"')
            texts = pc.if_else(quoted, inner, texts)
            if is_dictionary:  # without its quotes a text may be there already
                texts = pa.DictionaryArray.from_arrays(column.indices, texts).cast(pa.string()).dictionary_encode()
            table = table.set_column(place, name, texts)
    return table


def _lookup(column: pa.DictionaryArray, rule: Callable[[str | None], tuple[Any, ...]]) -> tuple[list[list[Any]], Ints]:
    """What the rule makes of the distinct texts, a missing one last, value by value, and the one that each row has."""
    rows = [rule(text) for text in [*column.dictionary.to_pylist(), None]]
    index = column.indices.fill_null(len(rows) - 1).to_numpy()
    return [list(values) for values in zip(*rows, strict=True)], index


def _repaired(
    table: pa.Table, records: Ints
) -> tuple[pa.Table, npt.NDArray[np.int8], npt.NDArray[np.int32], npt.NDArray[np.int8], Ints]:
    """The rows, and for each its branch, month, reason and minute."""

    def look_up(name: str, rule: Callable[[str | None], tuple[Any, ...]], *types: Any) -> list[npt.NDArray[Any]]:
        values, index = _lookup(table[name].chunk(0), rule)
        return [np.array(value, type_)[index] for value, type_ in zip(values, types, strict=True)]

    minutes, _, time_bits, time_reason = look_up("violation_time_text", rules.time_of, np.int64, str, np.int32, np.int8)
    start, before, after, switch, moved, month, date_bits, date_reason = look_up(
        "issue_date_text", rules.date_of, *[np.int64] * 3, *[np.int32] * 4, np.int8
    )
    code, code_reason = look_up("code", rules.code_of, np.int16, np.int8)
    later = minutes >= switch
    second = start + minutes * 60 - np.where(later, after, before)
    bits = time_bits | date_bits | np.where(~later & (minutes >= switch - 60), moved, 0)
    numbers = {}
    for name, text in (("precinct", "precinct_text"), ("vehicle_year", "year_text")):
        (values, masks), index = _lookup(table[text].chunk(0), rules.number_of)
        numbers[name] = pa.array(values, pa.int16()).take(pa.array(index))
        bits |= np.array(masks, np.int32)[index]
    (counties, masks), index = _lookup(table["county_text"].chunk(0), rules.county_of)
    codes = pa.array(counties, pa.string()).dictionary_encode()
    county = pa.DictionaryArray.from_arrays(codes.indices.take(pa.array(index)), codes.dictionary)
    bits |= np.array(masks, np.int32)[index]
    plate = table["plate_id"].chunk(0)
    blank, odd = pc.is_in(plate, pa.array(rules.BLANKS)), pc.match_substring_regex(plate, rules.ODD_PLATE)
    bits |= np.where(_mask(blank), rules.bit(Repair.PLATE_BLANK), np.where(_mask(odd), rules.bit(Repair.PLATE_ODD), 0))
    summons, summons_reason = _summons(table["summons"].chunk(0))
    reason = np.select(
        [summons_reason > 0, code_reason > 0, date_reason > 0], [summons_reason, code_reason, date_reason], time_reason
    )
    rows = pa.table(
        {
            "record": records,
            "event_time": pa.array(second * 1_000_000).cast(pa.timestamp("us", "UTC")),
            "violation_code": code,
            "area": county,
            **{name: table[name] for name in rules.TEXTS},
            "plate_id": pc.if_else(blank, None, plate),
            "repairs": _repair_lists(bits),
            "summons_number": summons,
            "county": county,
            **numbers,
        }
    )
    branch = np.where(reason > 0, _DEAD, code == 0).astype(np.int8)
    return rows, branch, month, reason, second // 60


def _summons(column: pa.StringArray) -> tuple[pa.Int64Array, npt.NDArray[np.int8]]:
    missing = _mask(column.is_null())
    reason = np.where(missing, rules.reason_number(Reason.SUMMONS_MISSING), 0).astype(np.int8)
    readable = pc.match_substring_regex(column, "^[0-9]{1,18}$")
    reason[~_mask(readable) & ~missing] = rules.reason_number(Reason.SUMMONS_UNREADABLE)
    return pc.if_else(readable, column, None).cast(pa.int64()), reason


def _mask(flags: pa.BooleanArray) -> npt.NDArray[np.bool_]:
    mask: npt.NDArray[np.bool_] = flags.fill_null(False).to_numpy(zero_copy_only=False)
    return mask


def _repair_lists(bits: npt.NDArray[np.int32]) -> pa.ListArray:
    rows = np.flatnonzero(bits)
    lists = [rules.repairs_of(mask) for mask in bits[rows].tolist()]
    lengths = np.zeros(len(bits) + 1, np.int32)
    lengths[rows + 1] = [len(names) for names in lists]
    names = pa.array([name for names in lists for name in names], pa.string())
    return pa.ListArray.from_arrays(np.cumsum(lengths, dtype=np.int32), names)


def _order(branch: npt.NDArray[np.int8], minute: Ints) -> Ints:
    """The order by branch and minute: a sort of integers that hold both and the row is faster than an argsort."""
    n = len(minute)
    first = minute.min(initial=0)
    span = minute.max(initial=0) - first + 1
    key = (branch * span + minute - first) * n + np.arange(n)
    key.sort()
    order: Ints = key % max(n, 1)
    return order


def _months(month: npt.NDArray[np.int32], start: int, end: int) -> Iterator[tuple[str, int, int]]:
    cuts = [start, *(np.flatnonzero(np.diff(month[start:end])) + start + 1).tolist(), end]
    if start < end:
        lengths = np.diff(cuts).tolist()
        for label, first, length in rules.month_runs(lengths, month[cuts[:-1]].tolist()):
            yield label, start + first, start + first + length


def _counts(rows: pa.Table) -> pa.Table:
    area = rows["area"].combine_chunks()
    hours = rows["event_time"].combine_chunks().cast(pa.int64()).to_numpy() // 3_600_000_000
    areas = len(area.dictionary) + 1
    index = area.indices.fill_null(areas - 1).to_numpy()
    group = (hours * 100 + rows["violation_code"].to_numpy()) * areas + index
    group, n = np.unique(group, return_counts=True)
    rest, index = np.divmod(group, areas)
    hours, code = np.divmod(rest, 100)
    start = pa.array(hours * 3_600_000_000).cast(pa.timestamp("us", "UTC"))
    local = pc.hour(start.cast(pa.timestamp("us", "America/New_York"))).to_numpy()
    part = np.where((local >= 6) & (local < 13), 0, np.where((local >= 13) & (local < 20), 1, 2))
    return pa.table(
        {
            "dataset": _named((code == 0).astype(np.int32), _DATASETS),
            "window_start": start,
            "violation_code": code.astype(np.int16),
            "part_of_day": _named(part.astype(np.int32), ("morning", "afternoon", "other")),
            "area": pa.DictionaryArray.from_arrays(
                pa.array(index, mask=index == areas - 1).cast(pa.int32()), area.dictionary
            ),
            "n": n,
        }
    )


def _named(index: npt.NDArray[np.int32], names: tuple[str, ...]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(index), pa.array(names))


def _dead_letters(table: pa.Table, records: Ints, reasons: npt.NDArray[np.int8]) -> list[dict[str, Any]]:
    texts = table.select(["summons", "issue_date_text", "violation_time_text", "code"]).to_pylist()
    return [
        {"record": record, "reason": rules.REASONS[reason - 1], **row}
        for row, record, reason in zip(texts, records.tolist(), reasons.tolist(), strict=True)
    ]


def _write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = [field.name for field in table.schema if pa.types.is_dictionary(field.type)] + ["street"]
    pq.write_table(table, path, compression="zstd", compression_level=1, use_dictionary=encoded)


def main(source: str, output: str) -> None:
    """Run the job."""
    columns = rules.columns_of(source)
    under_way: deque[Future[None]] = deque()
    with (
        open(source, "rb") as raw,
        mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_COPY) as file,
        ThreadPoolExecutor(WORKERS) as pool,
    ):
        for cell in cells_of(file):
            if len(under_way) == WORKERS:
                under_way.popleft().result()
            under_way.append(pool.submit(run_cell, file, cell, columns, Path(output)))
        for future in under_way:
            future.result()


if __name__ == "__main__":
    main(*sys.argv[1:])
