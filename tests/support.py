"""What several tests need: input with its truth, a lake compared with it, an S3 server."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from apache_beam.options.pipeline_options import PipelineOptions

from apps.simulator.command import main as simulate
from lake import lake
from pipelines.analysis.results import Share
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph as run

LOCAL = PipelineOptions([], direct_running_mode="multi_threading", direct_num_workers=2)


def wait_until(so: Callable[[], object], check: Callable[[], object] = lambda: None, seconds: float = 300) -> None:
    """Wait until something is so. A machine with much else to do is slow, so the time is long: it ends what hangs.

    Args:
        check: raises where it cannot become so any more, as when a process has ended.
    """
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        if so():
            return
        check()
        assert time.monotonic() < deadline, f"it did not happen within {seconds} s"
        # A check takes about a quarter of the time: what is waited for needs the processor itself.
        time.sleep(min(max(0.02, 3 * (time.monotonic() - began)), 1))


def make_history(path: Path, rows: int, *flags: str) -> Path:
    """A history file of the simulator, its truth beside it."""
    simulate(["history", "--rows", str(rows), "--output", str(path), "--quiet", *flags])
    return path


def make_messages(path: Path, drones: int, seconds: int, *flags: str) -> Path:
    """A recording of the simulator, its truth beside it."""
    fleet = ["--drones", str(drones), "--seconds", str(seconds), "--output", f"file:{path}", "--quiet"]
    simulate(["drones", *fleet, *flags])
    return path


def run_graph(
    root: Path | str,
    history: Path | str | None = None,
    messages: Path | None = None,
    options: PipelineOptions = LOCAL,
) -> None:
    """Run the graph as the command does."""
    asked = ReadOptions(str(history) if history else None, str(messages) if messages else None)
    run(asked, Settings(str(root), 3600), options)


SUMS = "(SELECT * EXCLUDE (unit, n), sum(n)::BIGINT AS n FROM stats GROUP BY ALL HAVING sum(n) <> 0)"
"""The statistics of all units: the view has a row of each."""


def content(root: Path | str) -> dict[str, list[tuple[object, ...]]]:
    """All rows that readers of the lake see, in an order of their own, without when they were committed; of the
    statistics the sums of all units."""
    with lake(str(root)).connect() as connection:
        found = {}
        for dataset in ("positions", "qualified", "unqualified", "dead_letters"):
            columns = connection.sql(f"DESCRIBE {dataset}").fetchall()
            names = ", ".join(f'"{name}"' for name, *_ in columns if name != "path")
            found[dataset] = connection.sql(f"SELECT {names} FROM {dataset} ORDER BY ALL").fetchall()
        found["stats"] = connection.sql(f"FROM {SUMS} ORDER BY ALL").fetchall()
        ledger = "SELECT * EXCLUDE (path, files, sha256, committed_at) FROM ledger ORDER BY unit"
        found["ledger"] = connection.sql(ledger).fetchall()
        return found


def truth_differs(root: Path | str, history: Path) -> pa.Table:
    """The records of a history whose truth is not what the lake has, with both sides."""
    with lake(str(root)).connect() as connection:
        connection.execute(f"""
            CREATE VIEW truth AS SELECT * FROM '{history}.truth.parquet';
            CREATE VIEW starts AS
                SELECT unit, sum(rows_in) OVER (ORDER BY range_start) - rows_in AS first FROM ledger
                WHERE source = 'history';
            CREATE VIEW got AS
                SELECT record + first AS record, summons_number, 'qualified' AS branch, NULL AS reason, event_time,
                       violation_code, county, plate_id, street, repairs FROM qualified JOIN starts USING (unit)
                UNION ALL
                SELECT record + first, summons_number, 'unqualified', NULL, event_time, violation_code, county,
                       plate_id, street, repairs FROM unqualified JOIN starts USING (unit)
                UNION ALL
                SELECT record + first, NULL, 'dead_letters', reason, NULL, NULL, NULL, NULL, NULL, []
                FROM dead_letters JOIN starts USING (unit);
        """)
        return _differences(connection)


def _differences(connection: duckdb.DuckDBPyConnection) -> pa.Table:
    return connection.sql("""
        SELECT record, t AS truth, g AS got FROM truth t FULL JOIN got g USING (record)
        QUALIFY count(*) OVER (PARTITION BY record) > 1
           OR t.branch IS DISTINCT FROM g.branch OR t.reason IS DISTINCT FROM g.reason
           OR t.event_time IS DISTINCT FROM g.event_time OR t.violation_code IS DISTINCT FROM g.violation_code
           OR t.county IS DISTINCT FROM g.county OR t.plate_id IS DISTINCT FROM g.plate_id
           OR t.street IS DISTINCT FROM g.street OR t.repairs IS DISTINCT FROM g.repairs
           OR (g.branch <> 'dead_letters' AND t.summons_number IS DISTINCT FROM g.summons_number)
    """).to_arrow_table()


def together(shares: Iterable[Mapping[Any, Share]]) -> dict[Any, int]:
    """The violations of several sources' answers to one question, added up."""
    found = Counter[Any]()
    for each in shares:
        found.update({name: share.n for name, share in each.items() if share.n})
    return dict(found)
