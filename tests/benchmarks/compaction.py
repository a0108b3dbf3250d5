"""``python -m tests.benchmarks.compaction``: what compaction takes and gives, and how long a lake takes to open.

Makes a lake of a stream (a unit a second) and one of a history, and compacts both, each time in a process of its own.
Then it makes ledgers of many units, whose files a compaction has merged. Times of queries are medians of three; what
takes long, of the ledger before its rows are merged, is done once.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

from lake import lake
from lake.changes import Change, put_change
from lake.files import WrittenFile
from lake.ledger import commit
from pipelines.maintenance.compaction_graph import with_ledger
from runners.services import Services, free_port
from schemas.lake import Dataset
from tests.benchmarks import inputs
from tests.benchmarks.loader import measured
from tests.benchmarks.measure import run
from tests.lakes import Said, write

ROOT: Final = Path(__file__).resolve().parents[2]
MESSAGES: Final = 20
"""Of a unit of the stream, a tenth of them violations; one stands in the unit before too."""
AT_ONCE: Final = 500
"""Units that are committed together."""
ROUNDS: Final = 3
QUERIES: Final = {
    "the first codes": "SELECT violation_code, count(*) FROM qualified GROUP BY ALL ORDER BY 2 DESC LIMIT 5",
    "a day": "SELECT count(*) FROM qualified WHERE event_time BETWEEN '2015-01-07' AND '2015-01-08'",
}


def stream_units(root: str, units: int) -> Iterator[dict[str, Any]]:
    """Writes the files of so many small units, a second apart; gives their rows of the ledger."""
    for unit in range(units):
        again = [_said(unit - 1, 0)] if unit else []
        yield write(root, f"drones-{unit:06d}", [*again, *(_said(unit, n) for n in range(MESSAGES))])


def _said(unit: int, n: int) -> Said:
    code = None if n > 1 else 0 if unit % 100 == n else 21 + unit % 20
    return Said(f"{unit}-{n}", 1_420_070_400 + unit, code)


def merged_units(root: str, units: int) -> Iterator[dict[str, Any]]:
    """Gives the rows of so many units, whose files are not there any more; puts a change that has merged them."""
    change = Change(1, "00000000", "compaction")
    one = write(root, change.file_name(1), [_said(0, n) for n in range(MESSAGES)])
    written = [WrittenFile(**f, sha256=checksum) for f, checksum in zip(one["files"], one["sha256"], strict=True)]
    replaced: list[str] = []
    for unit in range(units):
        name = f"{unit:032x}"  # as long as a unit's name is
        files = [{**file, "path": file["path"].replace(change.file_name(1), name)} for file in one["files"]]
        replaced += [file["path"] for file in files]
        yield {**one, "unit": name, "files": files}
    put_change(root, change._replace(files=written, replaces=replaced))


def commit_all(root: str, rows: Iterator[dict[str, Any]]) -> None:
    """Commit units, some at a time."""
    while some := list(islice(rows, AT_ONCE)):
        commit(root, some)


def compacted(what: str, root: str) -> None:
    """Compact a lake and remove what was replaced; prints what that took, and its queries before and after."""
    before = _figures(root)
    command = [sys.executable, "-m", "prestacop", "compact", "--lake", root, "--quiet"]
    usage = measured(command)
    after = _figures(root)
    vacuum = measured([*command, "--vacuum", "--older-than", "0s"])
    took = f"{usage.wall_s:.1f} | {usage.cpu_s:.1f} | {usage.peak_mb:,.0f} | {vacuum.wall_s:.1f}"
    print(f"| {what} | {' | '.join(f'{a} → {b}' for a, b in zip(before, after, strict=True))} | {took} |", flush=True)


def _figures(root: str) -> list[str]:
    lk = lake(root)
    files = lk.entries(*Dataset)
    held = [f"{len(files):,}", f"{sum(file.bytes for file in files) / 1e6:,.1f}"]
    return held + [f"{seconds(partial(_ask, root, query)):.2f}" for query in QUERIES.values()]


def _ask(root: str, query: str) -> None:
    lake(root).sql(query)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes, the median of some times."""
    taken = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def opened(where: str, root: str, units: int) -> None:
    """Make a ledger of so many units; print how long the lake takes to open before and after its rows are merged."""
    commit_all(root, merged_units(root, units))
    began = time.perf_counter()
    lk = lake(root)
    one_by_one = time.perf_counter() - began
    put_change(root, with_ledger(lk, Change(2, "00000000", "compaction")))
    query = partial(_ask, root, QUERIES["the first codes"])
    after = f"{seconds(partial(lake, root)):.2f} | {seconds(query):.2f}"
    print(f"| {where} | {units:,} | {one_by_one:.2f} → {after} |", flush=True)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.compaction", description=__doc__)
    parser.add_argument("--stream", type=int, default=10_000, metavar="N", help="units of the stream; 0: none (10000)")
    parser.add_argument("--history", type=int, default=12_000_000, metavar="N", help="rows; 0: none (12000000)")
    parser.add_argument("--ledger", type=int, nargs="*", default=[1_000, 10_000, 50_000], metavar="N", help="units")
    parser.add_argument(
        "--s3-ledger", type=int, nargs="*", default=[10_000], metavar="N", help="units, on an S3 server"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="where the history's file is, or is made and stays")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="prestacop-compaction-") as name:
        folder = Path(name)
        log = folder / "log"
        print("| lake | files | MB | " + " | ".join(f"{query}, s" for query in QUERIES), end="")
        print(" | compaction: s | CPU s | peak RSS MB | vacuum: s |\n|---|" + "---:|" * (len(QUERIES) + 6))
        if arguments.stream:
            root = str(folder / "stream")
            commit_all(root, stream_units(root, arguments.stream))
            compacted(f"{arguments.stream:,} units of a stream", root)
        if arguments.history:
            root = str(folder / "history")
            data = arguments.data or folder
            inputs.make(data, {arguments.history})
            line = ["--history", str(inputs.path_of(data, arguments.history)), "--output", root, "--quiet"]
            run([sys.executable, "-m", "prestacop", "run", *line], ROOT, log)
            compacted(f"{arguments.history:,} rows of a history", root)
        print("\n| ledger on | units | opening, s | then opening and a query, s |\n|---|---:|---:|---:|")
        for units in arguments.ledger:
            opened("a local disk", str(folder / f"ledger-{units}"), units)
        if arguments.s3_ledger:
            services = Services(data=folder / "services", ports={"s3": free_port()})
            services.up("s3")
            os.environ |= services.environment("s3")
            try:
                for units in arguments.s3_ledger:
                    opened("S3", f"s3://prestacop/ledger-{units}", units)
            finally:
                services.down(clean=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
