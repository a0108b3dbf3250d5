"""DuckDB, ClickHouse, Spark and Trino read the lake's tables as docs/tables.md says, and see what lake() shows.

The first three are installed like the services, pinned with checksums, each in a folder of its own. Trino is 0.8 GB and
needs a Java of its own: PRESTACOP_TRINO names the folder of trino-server-476.tar.gz (Maven Central,
io.trino:trino-server), unpacked; JAVA_HOME a Java 24 or newer.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from lake import lake
from lake.storage import storage
from runners.services import HOME
from runners.services.programs import PYTHON, TARGET, Program, missing
from runners.spark.cluster import SPARK
from tests.services import trino
from tests.tables import DUCKDB, EXAMPLE, VIEWS, Dialect, Filled, answers, examples, fill, text_of

pytestmark = [pytest.mark.services, pytest.mark.timeout(1800)]

FOLDER = Path(__file__).with_name("engines")
CLICKHOUSE = Dialect(
    table="deltaLakeLocal('{root}/{name}')",
    # The snapshot is a setting of the whole query. What a list does not have is its type's default value.
    first="if(empty({0}), NULL, {0}[1])",
    value="{}['{}']",
    microseconds="toUnixTimestamp64Micro({})",
    time="parseDateTime64BestEffort('{}', 6, 'UTC')",
)
_SPARK_TABLE = "delta.`{root}/{name}`"
SPARK_SQL = Dialect(table=_SPARK_TABLE, version=_SPARK_TABLE + " VERSION AS OF {version}")
TRINO = Dialect(
    table="delta.prestacop.{name}",
    version="delta.prestacop.{name} FOR VERSION AS OF {version}",
    hexadecimal="to_hex({})",
    microseconds="CAST(to_unixtime({}) * 1000000 AS BIGINT)",
    time="from_iso8601_timestamp_nanos('{}')",
)
_IN_DUCKDB = """
import duckdb, glob, json, sys
connection = duckdb.connect(config={"extension_directory": sys.argv[1]})
(extension,) = glob.glob(sys.path[1] + "/duckdb_extension_delta/extensions/*/delta.duckdb_extension")
connection.execute("SET enable_progress_bar = false")
connection.execute(f"INSTALL '{extension}'")
print(json.dumps([row for query in json.load(sys.stdin) for row in connection.execute(query).fetchall()], default=str))
"""
_IN_CLICKHOUSE = """
import chdb, json, sys
for query in json.load(sys.stdin):
    print(chdb.query(query, "JSONCompactEachRow"), end="")
"""


def _pip(name: str, package: str) -> Program:
    """The packages of a file of pins with hashes, for this version of Python."""
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes")
    pins = FOLDER / f"{name}.txt"
    return Program(
        f"{name}-{sys.implementation.cache_tag}",
        (PYTHON, *pip, "--requirement", pins.name, "--target", TARGET),
        package,
        (pins,),
    )


JARS = Program("delta-jars", (PYTHON, "delta_jars.py", TARGET), ".", (FOLDER / "delta_jars.py",), tool="mvn")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """A lake that all engines are asked about."""
    return fill(tmp_path_factory.mktemp("tables"))


def in_python(packages: Path, code: str, queries: list[str], where: str, *arguments: str) -> str:
    """Run code in a Python that has these packages alone; gives what it prints.

    Args:
        queries: its standard input, as JSON.
        where: the current folder; chdb reads no file outside of it.
    """
    line = [sys.executable, "-S", "-c", code, *arguments]
    environment = {**os.environ, "PYTHONPATH": str(packages)}
    done = subprocess.run(
        line,
        cwd=where,
        env=environment,
        input=json.dumps(queries),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_duckdb_reads_the_tables(filled: Filled, tmp_path: Path) -> None:
    packages = _pip("duckdb", ".").install(HOME)

    def ask(queries: list[str]) -> Iterable[Iterable[Any]]:
        rows: list[list[Any]] = json.loads(in_python(packages, _IN_DUCKDB, queries, filled.root, str(tmp_path)))
        return rows

    assert answers(filled, DUCKDB, ask) == filled.expected()
    for example in [text for title in ("DuckDB", "Four questions") for text in examples(title, "sql")]:
        assert list(ask([example.replace(EXAMPLE, filled.root)])), example


def test_the_views_show_the_same_in_duckdb(filled: Filled, tmp_path: Path) -> None:
    packages = _pip("duckdb", ".").install(HOME)
    tables = [f"CREATE TEMPORARY VIEW {name} AS FROM delta_scan('{filled.root}/{name}')" for name in _VIEWED]
    statements = ["LOAD delta", "SET TimeZone = 'America/New_York'", *tables, *_statements(VIEWS.read_text("utf-8"))]
    rows = json.loads(in_python(packages, _IN_DUCKDB, [*statements, _HUMAN_WORK], filled.root, str(tmp_path)))
    assert text_of(rows) == _human_work(filled)


def test_clickhouse_reads_the_tables(filled: Filled) -> None:
    packages = _pip("clickhouse", ".").install(HOME)

    def ask(queries: list[str]) -> Iterable[Iterable[Any]]:
        return map(json.loads, in_python(packages, _IN_CLICKHOUSE, queries, filled.root).splitlines())

    expected = filled.expected()
    (was,) = expected.pop("an earlier version")
    assert answers(filled, CLICKHOUSE, ask) == expected
    table = CLICKHOUSE.table.format(root=filled.root, name="qualified")
    query = f"SELECT count(*) FROM {table} SETTINGS delta_lake_snapshot_version = {filled.version}"
    assert text_of(ask([query])) == [was]
    for example in examples("ClickHouse", "sql"):
        assert list(ask([example.replace(EXAMPLE, filled.root)])), example


def test_spark_reads_the_tables_and_the_views(filled: Filled, tmp_path: Path) -> None:
    if tools := missing("java", "mvn"):
        pytest.skip(f"needs {', '.join(tools)}")
    (launch,) = examples("Spark", "sh")
    program, jars = SPARK.install(HOME), JARS.install(HOME)
    _, packages, _, *flags = shlex.split(launch)
    assert packages == "--packages"  # what the page downloads is here the same jars, with their checksums
    queries = [f"SELECT '{name}', q.* FROM ({query}) AS q" for name, query in filled.questions(SPARK_SQL).items()]
    example = [text.replace(EXAMPLE, filled.root) for text in examples("Spark", "sql")]
    tables = [f"CREATE TEMPORARY VIEW {name} AS SELECT * FROM delta.`{filled.root}/{name}`" for name in _VIEWED]
    work = f"SELECT 'human work', q.* FROM ({_HUMAN_WORK}) AS q"
    script = tmp_path / "questions.sql"
    views = ["SET TIME ZONE 'America/New_York'", *tables, *_statements(VIEWS.read_text("utf-8")), work]
    script.write_text(";\n".join([*queries, *(text.rstrip("; \n") for text in example), *views, ""]), encoding="utf-8")
    done = subprocess.run(
        [str(program / "bin" / "spark-sql"), "--master", "local[1]", "--jars", ",".join(map(str, jars.glob("*.jar"))),
         "--conf", "spark.sql.shuffle.partitions=1", "--conf", "spark.ui.enabled=false",
         "--conf", "spark.databricks.delta.snapshotPartitions=1", *flags, "-f", str(script)],
        cwd=tmp_path,  # it keeps a metastore where it runs
        env=os.environ | {"SPARK_HOME": str(program), "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = text_of(line.split("\t") for line in done.stdout.splitlines())
    assert {name: [row[1:] for row in rows if row[0] == name] for name in filled.questions(SPARK_SQL)} == (
        filled.expected()
    )
    assert [row[1:] for row in rows if row[0] == "human work"] == _human_work(filled)


def test_trino_reads_the_tables(s3_server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "PRESTACOP_TRINO" not in os.environ:
        pytest.skip("PRESTACOP_TRINO does not name the folder of a Trino")
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    storage.cache_clear()
    filled = fill(tmp_path, "s3://prestacop/trino")
    with trino.server(Path(os.environ["PRESTACOP_TRINO"]), tmp_path / "trino", s3_server) as address:
        trino.ask(address, "CREATE SCHEMA delta.prestacop")
        (example,) = examples("Trino", "sql")
        register, *_ = _statements(example)
        for name in filled.expected():
            if name.startswith("rows of "):
                table = name.removeprefix("rows of ")
                statement = register.replace("s3://BUCKET/PREFIX", filled.root).replace("qualified", table)
                trino.ask(address, statement)
        found = answers(filled, TRINO, lambda queries: [row for query in queries for row in trino.ask(address, query)])
    assert found == filled.expected()
    storage.cache_clear()


_VIEWED = ("qualified", "unqualified")
_HUMAN_WORK = """
SELECT day, violation_code, violations, needed_officer, open, CAST(floor(p50_seconds) AS BIGINT)
FROM human_work
"""


def _human_work(filled: Filled) -> list[tuple[str, ...]]:
    return text_of(row.values() for row in lake(filled.root).sql(_HUMAN_WORK).to_pylist())


def _statements(text: str) -> list[str]:
    """SQL statements of a text, without comments."""
    return [one.strip() for one in re.sub(r"^--.*\n", "", text, flags=re.MULTILINE).split(";\n") if one.strip()]
