"""docs/sql: the macros of DuckDB run, the tables of Athena, Trino and Spark have the columns of the schemas."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from lake import lake
from lake.layout import partitions
from lake.ledger import commit
from lake.vacuum import vacuum
from pipelines.analysis.command import answers
from pipelines.maintenance.compact import compact
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
        claims = [Said("claimed", code=21, published=9 - number, drone=str(number)), Said("signed", published=number)]
        commit(root, [write(root, f"u{number}", [*mine, *claims, Said(f"{number - 1}-1")])])
    commit(root, [write(root, "v", [Said("signed", code=0, answers="2-2", published=99)])])
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


def test_the_tables_of_duckdb_have_the_columns_of_the_schemas(tmp_path: Path) -> None:
    with macros(str(tmp_path)) as connection, lake(str(tmp_path)).connect() as ours:
        for name in (*map(str, Dataset), "ledger"):
            found = connection.sql(f"DESCRIBE no_{name}").fetchall()
            view = name if name == "ledger" else f"{name}_of_all_units"
            assert [row[:2] for row in found] == [row[:2] for row in ours.sql(f"DESCRIBE {view}").fetchall()], name


PROJECTION = {"source": ("type", "values"), "month": ("type", "format", "range", "interval", "interval.unit")}
"""https://docs.aws.amazon.com/athena/latest/ug/partition-projection-supported-types.html."""
RESERVED = {"rows", "into"}
"""Names of fields that are words of Athena's DDL: https://docs.aws.amazon.com/athena/latest/ug/reserved-words.html."""
_HIVE = {"int16": "smallint", "int32": "int", "int64": "bigint"}
_TRINO = {"int32": "integer", "string": "varchar", "binary": "varbinary", "timestamp": "timestamp(6)"}
FLAT = {"athena": _HIVE, "spark": _HIVE, "trino": _HIVE | _TRINO}


def hive_type(of: pa.DataType, engine: str) -> str:
    """The name that Athena and Spark have for a type."""
    if pa.types.is_struct(of):
        names = [f"`{f.name}`" if engine == "athena" and f.name in RESERVED else f.name for f in of]
        return "struct<" + ",".join(f"{n}:{hive_type(f.type, engine)}" for n, f in zip(names, of, strict=True)) + ">"
    if pa.types.is_map(of):
        return f"map<{hive_type(of.key_type, engine)},{hive_type(of.item_type, engine)}>"
    if pa.types.is_list(of):
        return f"array<{hive_type(of.value_type, engine)}>"
    return flat_type(of, engine)


def trino_type(of: pa.DataType) -> str:
    """The name that Trino has for it."""
    if pa.types.is_struct(of):
        return "row(" + ", ".join(f'"{f.name}" {trino_type(f.type)}' for f in of) + ")"
    if pa.types.is_map(of):
        return f"map({trino_type(of.key_type)}, {trino_type(of.item_type)})"
    if pa.types.is_list(of):
        return f"array({trino_type(of.value_type)})"
    return flat_type(of, "trino")


def flat_type(of: pa.DataType, engine: str) -> str:
    """The same for one without parts."""
    name = "string" if pa.types.is_dictionary(of) else "timestamp" if pa.types.is_timestamp(of) else str(of)
    return FLAT[engine].get(name, name)


def partition_columns(table: str) -> tuple[str, ...]:
    """Of a table or view of files."""
    return ("source",) if table == "ledger_rows" else partitions(Dataset(table.removesuffix("_files")))


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("engine", FLAT)
def test_the_tables_have_the_columns_of_the_schemas(engine: str, name: str) -> None:
    text = (FOLDER / f"{engine}.sql").read_text(encoding="utf-8")
    (body,) = re.findall(rf"(?:TABLE|VIEW) {name} \((.*?)\n\)", text, re.DOTALL)
    found = dict(re.findall(r"^  [`\"](\w+)[`\"] (.+?),?$", body.lower() if engine == "spark" else body, re.MULTILINE))
    expected: dict[str, Any] = {
        field.name: trino_type(field.type) if engine == "trino" else hive_type(field.type, engine)
        for field in TABLES[name]
    }
    for column in (*partition_columns(name), "year"):  # Athena declares them apart, Trino has years
        expected.pop(column, None)
        found.pop(column, None)
    assert found == expected


@pytest.mark.parametrize("name", TABLES)
def test_athena_has_every_property_of_partition_projection(name: str) -> None:
    text = (FOLDER / "athena.sql").read_text(encoding="utf-8")
    (statement,) = re.findall(rf"TABLE {name} \((.*?);\n", text, re.DOTALL)
    for column in partition_columns(name):
        for key in PROJECTION[column]:
            assert f"'projection.{column}.{key}' = '" in statement
        assert f"/{column}=${{{column}}}" in statement
