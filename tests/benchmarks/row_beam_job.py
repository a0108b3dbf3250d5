"""The bench's job in Beam as it is usually written: one element a row, a dict, on the DirectRunner.

``python -m tests.benchmarks.row_beam_job INPUT OUTPUT [BEAM OPTIONS]``

How: a line is an element from its reading to the file of its month; counts are a combine, files a group a month and
branch. Only the columns that are needed get into the dict, rules are cached by text, and what would be pickled on its
way to a group (an instant) is a number until it is written. One process: two of them
(``--direct_running_mode=multi_processing``) took as long and more CPU, with the rows shuffled to them and without.

What is lost compared with the product: a month's rows of a branch are in memory at once; the repairs of stray quotes
and Latin-1 are made but not named; dead letters have no offset.
"""

import csv
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions

from schemas.history import Reason, Repair
from tests.benchmarks import rules

Row = dict[str, Any]

_HOUR = 3_600_000_000
_UTC = pa.timestamp("us", "UTC")
_SCHEMA = pa.schema(
    [
        ("record", pa.int64()), ("event_time", _UTC), ("violation_code", pa.int16()), ("area", pa.string()),
        ("plate_id", pa.string()), ("repairs", pa.list_(pa.string())), ("summons_number", pa.int64()),
        ("issue_date_text", pa.string()), ("violation_time_text", pa.string()), ("county", pa.string()),
        ("precinct", pa.int16()), ("street", pa.string()), ("house_number", pa.string()), ("agency", pa.string()),
        ("registration_state", pa.string()), ("plate_type", pa.string()), ("vehicle_body", pa.string()),
        ("vehicle_make", pa.string()), ("vehicle_color", pa.string()), ("vehicle_year", pa.int16()),
    ]
)  # fmt: skip
_COUNTS = pa.schema(
    [
        ("dataset", pa.string()), ("window_start", _UTC), ("violation_code", pa.int16()), ("part_of_day", pa.string()),
        ("area", pa.string()), ("n", pa.int64()),
    ]
)  # fmt: skip
_PLATE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 -")
_BLANKS = frozenset(rules.BLANKS)
_SUMMONS_DIGITS = 18


def read_rows(source: str) -> Iterator[Row]:
    """The rows of a file as dicts of the wanted columns; one that cannot be cut into them has its text and a reason."""
    columns = rules.columns_of(source)
    wanted = [(name, columns.index(name)) for name in (*rules.TEXTS, *rules.INPUTS)]
    with open(source, "rb") as file:
        file.readline()
        for record, line in enumerate(file):
            text = _text(line)
            fields = text.split(",") if '"' not in text else _quoted_fields(text, file, len(columns))
            if len(fields) == len(columns):
                yield {"record": record} | {name: fields[place] or None for name, place in wanted}
            else:
                reason = Reason.CUT_SHORT if len(fields) < len(columns) else Reason.TOO_LONG
                yield {"record": record, "reason": reason, "row": text}


def _text(line: bytes) -> str:
    try:
        return line.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        return line.decode("latin-1").rstrip("\r\n")


def _quoted_fields(text: str, file: Iterator[bytes], columns: int) -> list[str]:
    try:
        fields = next(csv.reader([text], strict=True))
    except csv.Error:
        fields = []
    if len(fields) == columns:
        return fields
    plain = text.split(",")
    if len(plain) == columns:  # a stray quote
        return plain
    return next(csv.reader([f"{text}\n{_text(next(file, b''))}"]))


class Repaired(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    """Rows -> qualified ones, and by tag unqualified ones and dead letters."""

    def process(self, row: Row) -> Iterator[Any]:
        """Apply the rules to one row."""
        reason = row.get("reason") or _reason(row)
        if reason:
            yield beam.pvalue.TaggedOutput("dead_letters", row | {"reason": reason})
            return
        time, date = rules.time_of(row["violation_time_text"]), rules.date_of(row["issue_date_text"])
        precinct, year, county = (
            rules.number_of(row["precinct_text"]),
            rules.number_of(row["year_text"]),
            rules.county_of(row["county_text"]),
        )
        bits = time.bits | date.bits | precinct.bits | year.bits | county.bits
        if date.switch - 60 <= time.minutes < date.switch:
            bits |= date.moved
        plate = row["plate_id"]
        if plate in _BLANKS:
            plate, bits = None, bits | rules.bit(Repair.PLATE_BLANK)
        elif plate and not _PLATE.issuperset(plate):
            bits |= rules.bit(Repair.PLATE_ODD)
        offset = date.before if time.minutes < date.switch else date.after
        second = date.start + time.minutes * 60 - offset
        repaired = {name: row[name] for name in rules.TEXTS} | {
            "record": row["record"],
            "summons_number": int(row["summons"]),
            "event_time": second * 1_000_000,  # a datetime would be pickled on its way to its month
            "violation_code": rules.code_of(row["code"]).code,
            "area": county.county,
            "county": county.county,
            "plate_id": plate,
            "repairs": rules.repairs_of(bits),
            "precinct": precinct.number,
            "vehicle_year": year.number,
            "part_of_day": time.part,
            "month": date.month,
        }
        yield repaired if repaired["violation_code"] else beam.pvalue.TaggedOutput("unqualified", repaired)


def _reason(row: Row) -> str | None:
    summons = row["summons"]
    if summons is None:
        return Reason.SUMMONS_MISSING
    if not (summons.isascii() and summons.isdigit() and len(summons) <= _SUMMONS_DIGITS):
        return Reason.SUMMONS_UNREADABLE
    found = (
        rules.code_of(row["code"]).reason
        or rules.date_of(row["issue_date_text"]).reason
        or rules.time_of(row["violation_time_text"]).reason
    )
    return rules.REASONS[found - 1] if found else None


class WriteMonth(beam.DoFn):  # type: ignore[misc]
    """The rows of a month -> a file, sorted by time."""

    def __init__(self, output: str, dataset: str) -> None:
        self._directory = Path(output, dataset)

    def process(self, element: tuple[int, Iterable[Row]]) -> Iterator[str]:
        """Write one file."""
        month, rows = element
        path = Path(self._directory, f"source=history/month={month // 12}-{month % 12 + 1:02d}/data.parquet")
        path.parent.mkdir(parents=True, exist_ok=True)
        table = pa.Table.from_pylist(sorted(rows, key=lambda row: row["event_time"]), schema=_SCHEMA)
        pq.write_table(table, path, compression="zstd", compression_level=1)
        yield str(path)


def _count_key(row: Row) -> tuple[int, int, str, str | None]:
    return row["event_time"] // _HOUR, row["violation_code"], row["part_of_day"], row["area"]


def _count_row(element: tuple[tuple[Any, ...], int], dataset: str) -> Row:
    (hour, *others), n = element
    return dict(zip(_COUNTS.names, (dataset, hour * _HOUR, *others, n), strict=True))


def _dead_letter(row: Row) -> Row:
    return {name: row.get(name) for name in _DEAD.names}


_DEAD = pa.schema(
    [("record", pa.int64())]
    + [(name, pa.string()) for name in ("reason", "row", "summons", "issue_date_text", "violation_time_text", "code")]
)


def build(pipeline: beam.Pipeline, source: str, output: str) -> None:
    """The graph."""
    branches = (
        pipeline
        | "File" >> beam.Create([source])
        | "Rows" >> beam.FlatMap(read_rows)
        | "Repair" >> beam.ParDo(Repaired()).with_outputs("unqualified", "dead_letters", main="qualified")
    )
    parquet = {"codec": "zstd", "file_name_suffix": ".parquet", "shard_name_template": ""}
    counts = []
    for dataset in ("qualified", "unqualified"):
        rows = branches[dataset]
        (
            rows
            | f"Month of {dataset}" >> beam.Map(lambda row: (row["month"], row))
            | f"{dataset} by month" >> beam.GroupByKey()
            | f"Write {dataset}" >> beam.ParDo(WriteMonth(output, dataset))
        )
        counts.append(
            rows
            | f"Key of {dataset}" >> beam.Map(_count_key)
            | f"Count {dataset}" >> beam.combiners.Count.PerElement()
            | f"Count row of {dataset}" >> beam.Map(_count_row, dataset)
        )
    (
        counts
        | "All counts" >> beam.Flatten()
        | "Write counts" >> beam.io.WriteToParquet(f"{output}/stats/source=history/data", _COUNTS, **parquet)
    )
    (
        branches["dead_letters"]
        | "Dead letter" >> beam.Map(_dead_letter)
        | "Write dead letters" >> beam.io.WriteToParquet(f"{output}/dead_letters/source=history/data", _DEAD, **parquet)
    )


def main(source: str, output: str, *options: str) -> None:
    """Run the job."""
    with beam.Pipeline(options=PipelineOptions(list(options))) as pipeline:
        build(pipeline, source, output)


if __name__ == "__main__":
    main(*sys.argv[1:])
