"""docs/sql/athena.sql: Athena takes Hive's language for tables, and Spark brings Hive's parser."""

import subprocess
from pathlib import Path

import pytest

from runners.services import HOME, Services
from runners.spark import cluster as spark
from schemas.lake import Dataset
from tests.services.conftest import need
from tests.services.sql_views import script

pytestmark = pytest.mark.services

PARSE = Path(__file__).with_name("ParseHive.java")


def test_hive_takes_the_statements_for_athena(tmp_path: Path) -> None:
    need(Services(group=spark.GROUP), "master")
    tables = tmp_path / "athena.sql"
    tables.write_text(script("athena.sql"))
    jars = spark.SPARK.install(HOME) / "jars"
    line = ["java", "-cp", f"{jars}/*", str(PARSE), str(tables)]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    names = ["ledger_rows", *(f"{dataset}_files" for dataset in Dataset)]
    assert sorted(done.stdout.splitlines()) == sorted(f"CREATE EXTERNAL TABLE {name} (" for name in names)
