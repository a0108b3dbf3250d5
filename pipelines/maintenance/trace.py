"""``prestacop trace ID``: where a message or summons came from, and what became of it.

Its place in the source, its unit, repairs, dataset and files, the officer's answer, and later changes; once for each
unit that holds it.
"""

import json
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as pads

from lake import Lake, filled_lake
from lake.changes import reading, undone, writer_of
from lake.merge import may_hold
from lake.storage import storage
from pipelines.analysis.cross_unit import VIOLATIONS
from pipelines.cli.app import run
from pipelines.maintenance import flags
from pipelines.violations.summary import visible
from schemas.errors import InputUnusable
from schemas.lake import Dataset
from schemas.messages import OFFICER
from schemas.violation_codes import code_name
from sources.files.csv_records import is_utf8

_FOUND = "SELECT * FROM {dataset}_of_all_units WHERE {where}"
_WHERE = {
    Dataset.POSITIONS: "message_id = $id",
    Dataset.QUALIFIED: "message_id = $id OR summons_number = try_cast($id AS BIGINT) OR image_id = $id",
    Dataset.UNQUALIFIED: "message_id = $id OR summons_number = try_cast($id AS BIGINT) OR image_id = $id",
    Dataset.IMAGES: "image_id = $id",
    Dataset.DEAD_LETTERS: "source_id = $id OR contains(payload::VARCHAR, $id)",
}
_BY_PLACE = " OR (unit || '/' || record = $id)"
_ANSWERS = "SELECT * FROM answers WHERE alert_id = $id ORDER BY answered_at, message_id"
_COPY = "SELECT 1 FROM duplicates WHERE unit = $unit AND record = $record"
_CLAIMS = "SELECT * FROM conflicts WHERE message_id = $id ORDER BY unit, record"
_QUERIES = " ".join([_ANSWERS, _COPY, _CLAIMS, *(_FOUND.format(dataset=d, where="") for d in _WHERE)])
_OWN_LINES = {"unit", "record", "event_time", "violation_code", "answers", "officer_id", "repairs", "source", "month"}


def trace(lk: Lake, given: str) -> Iterator[str]:
    """The report, line by line; none where nothing has this ID."""
    if not is_utf8(os.fsencode(given)):
        return  # all IDs in a lake are UTF-8
    units = {row["unit"]: row for row in lk.ledger.to_pylist()}
    with lk.connect(query=_QUERIES) as connection:
        for dataset, where in _WHERE.items():
            query = _FOUND.format(dataset=dataset, where=where + _BY_PLACE) + " ORDER BY unit, record"
            for row in _rows(connection, query, id=given):
                yield from _story(lk, connection, dataset, row, units[row["unit"]])
        for answer in _rows(connection, _ANSWERS, id=given):
            again = "" if answer["counts_as"] == "first" else " again (not counted)"
            yield f"answered{again} · {_code(answer['violation_code'])}"
            when, officer = _time(answer["answered_at"]), answer["officer_id"]
            yield f"  officer    {officer}, {when}, in message {answer['message_id']}"


def _story(
    lk: Lake, connection: duckdb.DuckDBPyConnection, dataset: Dataset, row: dict[str, Any], unit: dict[str, Any]
) -> Iterator[str]:
    yield f"{dataset} · {row['unit']}/{row['record']}"
    yield f"  source     {unit['path']}, record {row['record']:,} of {unit['rows_in']:,} from {unit['range_start']:,}"
    yield f"  unit       {row['unit']}, committed {_time(unit['committed_at'])}"
    if dataset == Dataset.DEAD_LETTERS:
        yield f"  refused    {row['reason']}" + (f" ({row['detail']})" if row["detail"] else "")
        yield f"  payload    at {row['offset']:,} of {row['path']}: {visible(row['payload'])}"
    else:
        yield f"  event      {_time(row['event_time'])}"
        yield from _branch(dataset, row)
    if _rows(connection, _COPY, unit=row["unit"], record=row["record"]):
        yield "  duplicate  not shown to readers: another row holds the same message"
    elif row.get("message_id"):
        yield from _claimed(_rows(connection, _CLAIMS, id=row["message_id"]), row)
    changes = {change["unit"]: change for change in lk.changes.to_pylist()}
    for path in _files(lk, dataset, row):
        change = changes.get(writer_of(path))
        by = f", by {change['path']} {_time(change['committed_at'])}" if change else ""
        yield f"  file       {path}{by}"
    for change in changes.values():
        for move in change["moves"]:
            if (move["unit"], move["into"]) == (row["unit"], dataset):
                when = f"{change['path']}, {_time(change['committed_at'])}"
                yield f"  changed    {when}: {move['rows']:,} rows of the unit came here from {move['out_of']}"


def _claimed(claims: list[dict[str, Any]], row: dict[str, Any]) -> Iterator[str]:
    """A line where several messages have the row's message_id."""
    places = [f"{claim['unit']}/{claim['record']}" for claim in claims]
    here = f"{row['unit']}/{row['record']}"
    if others := [place for place in places if place != here]:
        yield f"  conflict   other messages have its message_id and other content: {', '.join(others)}"


def _branch(dataset: Dataset, row: dict[str, Any]) -> Iterator[str]:
    if dataset in VIOLATIONS:
        is_qualified = dataset == Dataset.QUALIFIED
        why = _code(row["violation_code"]) if is_qualified else "a police officer must look at it"
        yield f"  branch     {dataset}: {why}"
        if row["answers"] and row["status"] == OFFICER:  # earlier versions kept a drone's own text there
            yield f"  answers    {row['answers']}, by {row['officer_id']}"
        yield f"  repairs    {', '.join(row['repairs'] or ()) or 'none'}"
    values = {name: value for name, value in row.items() if name not in _OWN_LINES and value not in (None, {})}
    yield "  values     " + visible(json.dumps(values, default=str, ensure_ascii=False).encode(), 2_000)


def _code(code: int) -> str:
    """The name of a qualified violation's code; 0 is an officer's answer."""
    return code_name(code) if code else "no violation"


def _files(lk: Lake, dataset: Dataset, row: dict[str, Any]) -> Iterator[str]:
    """The live files that hold the row: its unit's own, or one of a change."""
    store = storage(lk.root)
    at = (pads.field("unit").cast(pa.string()) == row["unit"]) & (pads.field("record") == row["record"])
    for file in lk.entries(dataset):
        if may_hold(file, {row["unit"]}):
            rows = pads.dataset(store.full(file.path), format="parquet", filesystem=store.filesystem)
            if rows.count_rows(filter=at):
                yield file.path


def _rows(connection: duckdb.DuckDBPyConnection, query: str, **parameters: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = connection.sql(query, params=parameters).to_arrow_table().to_pylist()
    return found


def _time(value: datetime) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC"


def main(argv: Sequence[str]) -> None:
    """The command."""
    parser = flags.trace()
    arguments = parser.parse_args(argv)
    run(lambda: _command(arguments.lake, arguments.id), "Nothing was changed; run it again.")


def _command(root: str, given: str) -> int:
    with reading(root, "trace"):
        lk = filled_lake(root)
        lines = list(trace(lk, given))
    if of := undone(lk.changes).get(given.partition("/")[0]):
        print(f"unit {of.unit} was undone: {of.what}, {_time(of.at)}, {of.rows:,} rows")
    print(
        "\n".join(
            lines or [f"{given} is not in {root}: not a message_id, summons number, image_id or UNIT/RECORD there"]
        )
    )
    return 0 if lines else InputUnusable.exit_code
