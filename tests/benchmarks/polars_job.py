"""The bench's job in polars: one streaming scan, chunks of half a million rows, repairs on distinct values.

``python -m tests.benchmarks.polars_job INPUT OUTPUT``

How: the streaming engine parses the CSV with all cores and hands on chunks; two threads repair, count, sort and write
them while it parses on. Columns of few values are parsed as Categoricals of the process, whose codes look up in small
tables what the rules make of each distinct text; they are also written as dictionaries without being hashed again.
(Street names have too many values: parsed as Categorical they cost more than they save.) One gather sorts a chunk by
branch and time at once. A chunk writes a file a month and branch, as the product does, so memory does not grow with
the input. Tried and slower or larger: one lazy plan with partitioned sinks, which sorts the whole year in memory.

What is lost compared with the product: polars stops at a stray quote or swallows the rows after it, and has no way to
hand over a row that it cannot place. Quotes are therefore read as ordinary characters, which keeps every line:

- a row with a quoted comma keeps its branch, its time and its code; a street is cut off at the comma and keeps its
  quotes, vehicle colour and year come from the column before;
- a quoted newline makes two rows of one, the second is a dead letter;
- a row that is too long is not noticed, one that is cut short only where a mandatory column is missing;
- text that is no UTF-8 has a replacement character, and no repair says so; no repair names a stray quote;
- dead letters have reason, row number and the mandatory columns, not the text of the row.
"""

import sys
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from schemas.history import Reason, Repair
from tests.benchmarks import rules

CHUNK_ROWS = 500_000
WORKERS = 2
_STRINGS = ("summons", "plate_id", "house_number", "street")
_MICROSECONDS = 1_000_000
_MAX_CODES, _MAX_COUNTIES = 100, 1 << 16
_QUALIFIED, _UNQUALIFIED, _DEAD = 1 << 40, 2 << 40, 3 << 40
"""Added to the minute by which rows are sorted (before 1970 it is negative): the branches follow one another."""


class Lookup:
    """What a rule makes of each distinct text of a categorical column, by the text's code."""

    def __init__(self, rule: Callable[[str | None], tuple[Any, ...]], **columns: Any) -> None:
        self._rule = rule
        self._columns = columns
        self._values: dict[int, tuple[Any, ...]] = {}
        self._lock = threading.Lock()

    def __call__(self, column: pl.Series) -> list[pl.Series]:
        """The values of the rule for each row, as columns."""
        distinct = column.unique().drop_nulls()
        with self._lock:
            for code, text in zip(distinct.to_physical(), distinct.cast(pl.String), strict=True):
                if code not in self._values:
                    self._values[code] = self._rule(text)
            missing = max(self._values, default=-1) + 1
            nothing = self._rule(None)
            rows = [self._values.get(code, nothing) for code in range(missing + 1)]
        index = column.to_physical().fill_null(missing)
        return [
            pl.Series(name, values, dtype=type_).gather(index)
            for (name, type_), values in zip(self._columns.items(), zip(*rows, strict=True), strict=True)
        ]


class Job:
    """What the chunks of one run share."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self._lookups = {
            "violation_time_text": Lookup(
                rules.time_of,
                minutes=pl.Int32,
                part_of_day=_categorical("part"),
                time_bits=pl.Int32,
                time_reason=pl.Int8,
            ),
            "issue_date_text": Lookup(
                rules.date_of,
                start=pl.Int64,
                before=pl.Int64,
                after=pl.Int64,
                switch=pl.Int32,
                moved=pl.Int32,
                month=pl.Int32,
                date_bits=pl.Int32,
                date_reason=pl.Int8,
            ),
            "code": Lookup(rules.code_of, violation_code=pl.Int16, code_reason=pl.Int8),
            "precinct_text": Lookup(rules.number_of, precinct=pl.Int16, precinct_bits=pl.Int32),
            "year_text": Lookup(rules.number_of, vehicle_year=pl.Int16, year_bits=pl.Int32),
            "county_text": Lookup(rules.county_of, county=_categorical("county"), county_bits=pl.Int32),
        }

    def chunk(self, number: int, cells: pl.DataFrame) -> None:
        """Repair a chunk of rows, count them and write them."""
        name = f"{number:05d}.parquet"
        looked_up = [column for text, lookup in self._lookups.items() for column in lookup(cells[text])]
        rows = _repaired(cells.hstack(looked_up))
        order = rows["key"].arg_sort()
        qualified, end = (int((rows["key"] < branch - _QUALIFIED // 2).sum()) for branch in (_UNQUALIFIED, _DEAD))
        if end < rows.height:
            self._write(_dead_letters(rows[order[end:]]), f"dead_letters/source=history/{name}")
        rows = rows.select(*rules.OUTPUT, "month", "part_of_day")[order[:end]]
        self._write(_counts(rows), f"stats/source=history/{name}")
        for dataset, branch in (("qualified", rows[:qualified]), ("unqualified", rows[qualified:])):
            runs = branch["month"].rle()
            lengths, months = runs.struct.field("len").to_list(), runs.struct.field("value").to_list()
            for month, first, length in rules.month_runs(lengths, months):
                part = branch.slice(first, length).select(rules.OUTPUT)
                self._write(part, f"{dataset}/source=history/month={month}/{name}")

    def _write(self, rows: pl.DataFrame, path: str) -> None:
        whole = self._output / path
        whole.parent.mkdir(parents=True, exist_ok=True)
        rows.write_parquet(whole, compression="zstd", compression_level=1)


def _repaired(cells: pl.DataFrame) -> pl.DataFrame:
    """All rows of a chunk with what they mean, and the key by which they are sorted."""
    col, when = pl.col, pl.when
    minutes, switch, plate, summons = col("minutes"), col("switch"), col("plate_id"), col("summons")
    blank = plate.is_in(rules.BLANKS).fill_null(False)
    number = summons.cast(pl.Int64, strict=False)
    bits = (
        col("time_bits")
        | col("date_bits")
        | col("county_bits")
        | col("precinct_bits")
        | col("year_bits")
        | when((minutes >= switch - 60) & (minutes < switch)).then("moved").otherwise(0)
        | when(blank)
        .then(rules.bit(Repair.PLATE_BLANK))
        .when(plate.str.contains(rules.ODD_PLATE))
        .then(rules.bit(Repair.PLATE_ODD))
        .otherwise(0)
        .cast(pl.Int32)
    )
    missing, unreadable = (
        pl.lit(rules.reason_number(reason), pl.Int8) for reason in (Reason.SUMMONS_MISSING, Reason.SUMMONS_UNREADABLE)
    )
    reason = (
        when(summons.is_null())
        .then(missing)
        .when(number.is_null())
        .then(unreadable)
        .when(col("code_reason") > 0)
        .then("code_reason")
        .when(col("date_reason") > 0)
        .then("date_reason")
        .otherwise("time_reason")
    )
    second = col("start") + minutes * 60 - when(minutes < switch).then("before").otherwise("after")
    branch = (
        when(col("reason") > 0).then(_DEAD).when(col("violation_code") == 0).then(_UNQUALIFIED).otherwise(_QUALIFIED)
    )
    rows = cells.with_columns(
        second=second,
        bits=bits,
        reason=reason,
        summons_number=number,
        plate_id=when(~blank).then(plate),
        area=col("county"),
    ).with_columns(
        event_time=(col("second") * _MICROSECONDS).cast(pl.Datetime("us", "UTC")),
        key=col("second") // 60 + branch,
    )
    return rows.with_columns(_repair_lists(rows["bits"]))


def _repair_lists(bits: pl.Series) -> pl.Series:
    masks = bits.unique()
    lists = pl.Series("repairs", [rules.repairs_of(mask) for mask in masks], dtype=pl.List(pl.String))
    return lists.gather(bits.replace_strict(masks, pl.int_range(len(masks), dtype=pl.UInt32, eager=True)))


def _dead_letters(rows: pl.DataFrame) -> pl.DataFrame:
    reasons = pl.Series("reason", [rules.REASONS[number - 1] for number in rows["reason"]])
    return rows.select("record", reasons, "summons", "issue_date_text", "violation_time_text", "code")


def _counts(rows: pl.DataFrame) -> pl.DataFrame:
    # Dataset and part of the day follow from code and hour. Grouping by one number takes half the time.
    code, area = pl.col("violation_code"), pl.col("area").to_physical().cast(pl.Int64).fill_null(_MAX_COUNTIES - 1)
    hour = pl.col("event_time").to_physical() // (3600 * _MICROSECONDS)
    group = (hour * _MAX_CODES + code) * _MAX_COUNTIES + area
    counts = (
        rows.select(group.alias("group"), "violation_code", "area", "part_of_day")
        .group_by("group")
        .agg(pl.first("violation_code", "area", "part_of_day"), pl.len().alias("n"))
        .sort("group")
    )
    hour = pl.col("group") // (_MAX_CODES * _MAX_COUNTIES)
    return counts.select(
        pl.when(code > 0).then(pl.lit("qualified")).otherwise(pl.lit("unqualified")).alias("dataset"),
        (hour * 3600 * _MICROSECONDS).cast(pl.Datetime("us", "UTC")).alias("window_start"),
        "violation_code",
        "part_of_day",
        "area",
        "n",
    )


def _categorical(name: str) -> pl.Categorical:
    return pl.Categorical(pl.Categories(name))


def scan(source: str) -> pl.LazyFrame:
    """The columns of the file that the job needs, with the number of each row."""
    columns = rules.columns_of(source)
    needed = [*rules.TEXTS, *rules.INPUTS]
    types = {name: pl.String if name in _STRINGS or name not in needed else _categorical(name) for name in columns}
    return pl.scan_csv(
        source,
        has_header=False,
        skip_lines=1,
        schema=types,
        quote_char=None,
        truncate_ragged_lines=True,
        ignore_errors=True,
        encoding="utf8-lossy",
        row_index_name="record",
    ).select("record", *needed)


def main(source: str, output: str) -> None:
    """Run the job."""
    job = Job(Path(output))
    under_way: deque[Future[None]] = deque()
    with ThreadPoolExecutor(WORKERS) as pool:
        for number, cells in enumerate(scan(source).collect_batches(chunk_size=CHUNK_ROWS, engine="streaming")):
            if len(under_way) == WORKERS:
                under_way.popleft().result()
            under_way.append(pool.submit(job.chunk, number, cells))
        for future in under_way:
            future.result()


if __name__ == "__main__":
    main(*sys.argv[1:])
