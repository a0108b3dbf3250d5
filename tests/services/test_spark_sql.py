"""docs/sql/spark.sql in a real Spark: its views show what the lake's reader shows, after a compaction too."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from lake import lake
from pipelines.compact import compact
from runners.services import HOME, Services
from runners.spark import cluster as spark
from tests.services.conftest import need
from tests.support import LOCAL, make_history, make_messages, run_graph

pytestmark = pytest.mark.services

SQL = Path(__file__).parents[2] / "docs" / "sql" / "spark.sql"
QUERY = """
    SELECT 'positions', count(*), count(DISTINCT message_id), NULL FROM positions
    UNION ALL SELECT 'qualified', count(*), count(DISTINCT event_time), sum(violation_code) FROM qualified
    UNION ALL SELECT 'unqualified', count(*), count(DISTINCT message_id), sum(violation_code) FROM unqualified
    UNION ALL SELECT 'dead_letters', count(*), count(DISTINCT reason), NULL FROM dead_letters
    UNION ALL SELECT 'stats', count(DISTINCT window_start), count(DISTINCT violation_code), sum(n) FROM stats
    UNION ALL SELECT 'units', count(*), sum(rows_in), sum(counted) FROM units
    ORDER BY 1
"""


def test_the_views_of_spark_show_what_the_lake_shows(tmp_path: Path) -> None:
    need(Services(group=spark.GROUP), "master")
    root = tmp_path / "lake"
    history = make_history(tmp_path / "tickets.csv", 3_000)
    for seed in ("1", "2"):
        dirt = ("--seed", seed, "--corrupt", "0.02")
        run_graph(root, history, make_messages(tmp_path / f"{seed}.jsonl", 20, 30, *dirt))
    assert compact(str(root), 1 << 20, LOCAL)

    script = tmp_path / "lake.sql"
    text = SQL.read_text(encoding="utf-8").replace("LAKE", f"file:{root}")
    script.write_text(text[: text.index("CREATE OR REPLACE TEMPORARY VIEW images_files")], encoding="utf-8")
    program = spark.SPARK.install(HOME)
    done = subprocess.run(
        [str(program / "bin" / "spark-sql"), "--master", "local[1]", "-i", str(script), "-e", QUERY],
        cwd=tmp_path,  # it keeps a metastore where it runs
        env=os.environ | {"SPARK_HOME": str(program), "SPARK_LOCAL_IP": "127.0.0.1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = [tuple(line.split("\t")) for line in done.stdout.splitlines() if re.match(r"\w+\t\d", line)]
    expected = lake(str(root)).sql(QUERY.replace("units", "ledger").replace("'ledger'", "'units'"))
    shown = [tuple("NULL" if cell is None else str(cell) for cell in row.values()) for row in expected.to_pylist()]
    assert len(found) == 6
    assert found == shown
