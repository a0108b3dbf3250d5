"""docs/sql/spark.sql in a real Spark: its views show what the lake's reader shows."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from runners.services import HOME, Services
from runners.spark import cluster as spark
from tests.services.conftest import need
from tests.services.sql_views import QUERY, expected, fill, script

pytestmark = pytest.mark.services


def test_the_views_of_spark_show_what_the_lake_shows(tmp_path: Path) -> None:
    need(Services(group=spark.GROUP), "master")
    root = str(tmp_path / "lake")
    fill(root, tmp_path)

    views = tmp_path / "lake.sql"
    text = script("spark.sql").replace("LAKE", f"file:{root}")
    views.write_text(text[: text.index("CREATE OR REPLACE TEMPORARY VIEW images_files")], encoding="utf-8")
    program = spark.SPARK.install(HOME)
    done = subprocess.run(
        [str(program / "bin" / "spark-sql"), "--master", "local[1]", "-i", str(views), "-e", QUERY],
        cwd=tmp_path,  # it keeps a metastore where it runs
        env=os.environ | {"SPARK_HOME": str(program), "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = [tuple(line.split("\t")) for line in done.stdout.splitlines() if re.match(r"\w+\t\d", line)]
    assert set(found) == expected(root)
