"""``python -m tests.benchmarks.lake_jobs JOB ROOT ...``: a step of the benchmark of the lake, in its own process.

Prints its seconds, without the start of the process, and the highest memory of the process.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from lake import Lake
from lake.publication import publish
from lake.storage import storage
from schemas.lake import Dataset


def scan(root: str) -> Callable[[str], list[tuple[Any, ...]]]:
    """DuckDB over the same files, without a ledger."""
    lk, store = Lake(root), storage(root)
    connection = duckdb.connect()
    for dataset in (Dataset.POSITIONS, Dataset.QUALIFIED, Dataset.STATS):
        names = ", ".join(f"'{store.full(path)}'" for path in lk.files(dataset))
        connection.execute(f"CREATE VIEW {dataset} AS FROM read_parquet([{names}])")
    return lambda query: connection.sql(query).fetchall()


def main(job: str, root: str, query: str = "") -> None:
    """Run the job."""
    scanned = scan(root) if job == "scan" else None
    began = time.perf_counter()
    found: Any = None
    if scanned:
        found = scanned(query)
    elif job == "query":
        found = Lake(root).sql(query).to_pylist()
    elif job == "open":
        found = Lake(root).tail.num_rows
    else:
        found = publish(root)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "mb": _peak(), "rows": found if isinstance(found, int) else len(found)}))


def _peak() -> float:
    """The highest memory of this process, in MB; what getrusage gives is at least that of the parent."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1e3


if __name__ == "__main__":
    main(*sys.argv[1:])
