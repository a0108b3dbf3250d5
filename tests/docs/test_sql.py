"""docs/sql: the macros of DuckDB answer, the tables of Athena and Spark have the lake's columns."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from lake import lake
from lake.changes import vacuum
from lake.layout import partitions
from lake.ledger import commit
from pipelines.analysis import answers
from pipelines.compact import compact
from schemas.lake import LEDGER_ROW, SCHEMAS, Dataset
from tests.lakes import Said, write
from tests.support import LOCAL

FOLDER = Path(__file__).parents[2] / "docs" / "sql"
TABLES = {"ledger_rows": LEDGER_ROW} | {f"{d}_files": SCHEMAS[d] for d in Dataset}


def macros(root: str) -> duckdb.DuckDBPyConnection:
    """DuckDB as the page says."""
    connection = duckdb.connect()
    connection.execute("SET VARIABLE lake = $lake", {"lake": root})
    connection.execute((FOLDER / "duckdb.sql").read_text(encoding="utf-8"))
    return connection


def test_the_macros_see_what_the_lake_shows_before_and_after_a_compaction(tmp_path: Path) -> None:
    root = str(tmp_path)
    for number in range(3):
        mine = [Said(f"{number}-{n}", 1_420_000_000 + 40_000 * n, code=(None, 21, 0, 38)[n % 4]) for n in range(9)]
        commit(root, [write(root, f"u{number}", [*mine, Said(f"{number - 1}-1")])])
    write(root, "not committed", [Said("never")])
    for step in ("before", "after", "vacuumed"):
        lk = lake(root)
        with macros(root) as connection:
            for view in ("positions", "qualified", "unqualified"):
                query = "SELECT message_id FROM {} ORDER BY ALL"
                shown = connection.sql(query.format(f"once('{view}')")).fetchall()
                assert shown == connection.sql("SELECT unnest($1)", params=[
                    lk.sql(query.format(view))["message_id"].to_pylist()
                ]).fetchall(), step  # fmt: skip
            found = answers(root, PipelineOptions([]))
            parts: dict[str, int] = dict(connection.sql("FROM parts_of_day()").fetchall())
            assert parts == {name: share.n for name, share in found.parts_of_day.items() if share.n}
            days: dict[str, int] = dict(connection.sql("FROM working_days()").fetchall())
            assert days == {"working days": found.working_days.n, "weekends": found.weekends.n}
            quarters: dict[str, int] = dict(connection.sql("FROM quarters()").fetchall())
            assert quarters == {name: share.n for name, share in found.quarters.items() if share.n}
            codes: dict[int, int] = dict(connection.sql("FROM codes()").fetchall())
            assert {code: n for code, n in codes.items() if code} == {c: share.n for c, share in found.codes.items()}
        if step == "before":
            assert compact(root, 1 << 20, LOCAL)
        else:
            vacuum(root, timedelta(0))


def test_the_macros_see_the_lake_as_it_was_whatever_comes_meanwhile(tmp_path: Path) -> None:
    root = str(tmp_path)
    for number in range(2):
        others = [Said(f"p{number}", code=None), Said(f"u{number}", code=0)]
        commit(root, [write(root, f"u{number}", [Said("twice"), Said(str(number)), *others])])
    query = "SELECT message_id FROM once('qualified') ORDER BY ALL"
    with macros(root) as connection:
        before = connection.sql(query).fetchall()
        commit(root, [write(root, "a unit before the others", [Said("twice")])])
        assert connection.sql(query).fetchall() == before == [("0",), ("1",), ("twice",)]
        assert compact(root, 1 << 20, LOCAL)
        assert connection.sql(query).fetchall() == before
        vacuum(root, timedelta(0))
        with pytest.raises(duckdb.IOException, match="qualified"):
            connection.sql(query).fetchall()
    with macros(root) as connection:
        assert connection.sql(query).fetchall() == before


def type_name(of: pa.DataType) -> str:
    """The name that Hive, Athena and Spark have for a type."""
    if pa.types.is_dictionary(of):
        return "string"
    if pa.types.is_struct(of):
        return "struct<" + ",".join(f"{f.name}:{type_name(f.type)}" for f in of) + ">"
    if pa.types.is_map(of):
        return f"map<{type_name(of.key_type)},{type_name(of.item_type)}>"
    if pa.types.is_list(of):
        return f"array<{type_name(of.value_type)}>"
    if pa.types.is_timestamp(of):
        return "timestamp"
    return {"int16": "smallint", "int32": "int", "int64": "bigint"}.get(str(of), str(of))


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("engine", ["athena", "spark"])
def test_the_tables_have_the_columns_of_the_schemas(engine: str, name: str) -> None:
    text = (FOLDER / f"{engine}.sql").read_text(encoding="utf-8")
    (body,) = re.findall(rf"(?:TABLE|VIEW) {name} \((.*?)\n\)", text, re.DOTALL)
    found = dict(re.findall(r"`(\w+)` (\S+?),?\n", body.lower() + "\n"))
    expected: dict[str, Any] = {field.name: type_name(field.type) for field in TABLES[name]}
    columns = ("source",) if name == "ledger_rows" else partitions(Dataset(name.removesuffix("_files")))
    if engine == "spark":
        expected |= dict.fromkeys(columns, "string")
    else:
        expected = {column: of for column, of in expected.items() if column not in columns}
    assert found == expected
