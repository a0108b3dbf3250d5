"""``make bench-lake``: whether the lake stays fast, as ratios within one run."""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from runners.services import NAMES, Services, free_port
from schemas.lake import BRANCHES
from tests.benchmarks.dated import made_by, save
from tests.benchmarks.inputs import DiskTooSmall
from tests.benchmarks.lake_maker import FIRST_NEW, add_unit, check_room, make
from tests.benchmarks.measure import JobFailed, run
from tests.benchmarks.report import machine
from tests.benchmarks.stream import published, running, simulator, topic

EXAMPLES = """\
Two lakes are made, of many messages and many units and of few; what is measured alternates between them, and between
lake().sql and DuckDB over the same files. The result is printed, and written as JSON.

examples:
  make bench-lake
  make bench-lake ARGS='--messages 10000000 --units 100000'
  make bench-lake ARGS='--seconds 0'        without the stream, which needs Kafka and Prism

exit codes: 0 measured (also where a target is missed), 2 wrong usage, 3 a job failed, 5 the disk is too small
"""
JOB_FAILED, DISK_TOO_SMALL = 3, 5
_ROOT: Final = Path(__file__).resolve().parents[2]
DRAIN_SECONDS: Final = 300
"""Until the last message must be visible."""
NEW_MESSAGES: Final = 100_000
RECORDED: Final = 1_000
QUERIES: Final = {
    "violations by code": "SELECT violation_code, count(*) FROM qualified GROUP BY ALL",
    "count of positions": "SELECT count(*) FROM positions",
    "sum of statistics": "SELECT sum(n) FROM stats",
}


class Figure(NamedTuple):
    """A line of the result."""

    what: str
    value: float
    goal: float
    """The value must not exceed it."""
    details: str

    @property
    def line(self) -> str:
        verdict = "met" if self.value <= self.goal else "MISSED"
        return f"{self.what:62} {self.value:10,.2f}   goal {self.goal:8,.2f}   {verdict:6}  {self.details}"


class Lakes(NamedTuple):
    """The lakes of a run."""

    folder: Path
    big: str
    small: str
    numbers: Iterator[int]
    """Of new units."""


class Took(NamedTuple):
    """What a job took."""

    seconds: float
    mb: float


def main(argv: Sequence[str] | None = None) -> int:
    """The command; gives its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.bench_lake",
        description="Measure queries, increments, publication and compaction of an old lake against a new one.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--messages", type=int, default=100_000_000, metavar="N", help="of the big lake (100000000)")
    add("--small", type=int, default=1_000_000, metavar="N", help="messages of the small lake (1000000)")
    add("--units", type=int, default=1_000_000, metavar="N", help="that the big lake's ledger has folded (1000000)")
    add("--rounds", type=int, default=3, metavar="N", help="of each measurement (3)")
    add("--seconds", type=int, default=120, metavar="T", help="of the stream; 0 leaves it out (120)")
    add("--rate", type=int, default=10_000, metavar="R", help="messages per second of the stream (10000)")
    add("--data", type=Path, default=Path("bench-data"), metavar="DIR", help="where the lakes are made (bench-data)")
    add("--json", type=Path, metavar="FILE", help="the result (docs/performance/DATE-lake.json)")
    arguments = parser.parse_args(argv)
    arguments.data.mkdir(parents=True, exist_ok=True)
    facts, figures = machine(), list[Figure]()
    try:
        check_room(arguments.data, arguments.messages)
        with tempfile.TemporaryDirectory(prefix="lake-", dir=arguments.data.resolve()) as folder:
            for figure in _figures(arguments, Path(folder)):
                print(figure.line, flush=True)
                figures.append(figure)
    except DiskTooSmall as error:
        print(f"bench-lake: {error}", file=sys.stderr)
        return DISK_TOO_SMALL
    except JobFailed as error:
        print(f"bench-lake: {error}", file=sys.stderr)
        return JOB_FAILED
    finally:
        if figures:  # those before a failure are worth keeping
            keep(arguments, made_by("bench-lake", argv), facts, figures)
    return 0


def _figures(arguments: argparse.Namespace, folder: Path) -> Iterator[Figure]:
    big, small = (str(folder / name) for name in ("big", "small"))
    began = time.perf_counter()
    make(small, arguments.small, 0)
    number = make(big, arguments.messages, arguments.units)
    size = sum(file.stat().st_size for file in Path(big).rglob("*") if file.is_file()) / 1e9
    took = time.perf_counter() - began
    print(f"{arguments.messages:,} messages and {arguments.units:,} further units: {size:.1f} GB in {took:.0f} s")
    lakes = Lakes(folder, big, small, iter(range(number, 1 << 31)))
    rounds = arguments.rounds
    for what, query in QUERIES.items():
        yield from _query(lakes, what, query, rounds)
    yield _increment(lakes, rounds)
    yield from _publication(lakes, rounds)
    yield _compaction(lakes, rounds)
    yield from _opening(lakes, rounds)
    if arguments.seconds:
        yield _freshness(folder, arguments.rate, arguments.seconds)


def _query(lakes: Lakes, what: str, query: str, rounds: int) -> Iterator[Figure]:
    """A query of the big lake against DuckDB on the same files, warm."""
    _job(lakes, "scan", lakes.big, query)
    by_lake, by_scan = _alternately(
        rounds, lambda: _job(lakes, "query", lakes.big, query), lambda: _job(lakes, "scan", lakes.big, query)
    )
    seconds, bare = (statistics.median(took.seconds for took in some) for some in (by_lake, by_scan))
    memory, of_scan = (statistics.median(took.mb for took in some) for some in (by_lake, by_scan))
    details = f"{seconds:.2f} s against {bare:.2f} s"
    yield Figure(f"{what}: seconds beyond 1.5x the bare scan", seconds - 1.5 * bare, 0.3, details)
    details = f"{memory:.0f} MB against {of_scan:.0f} MB"
    yield Figure(f"{what}: MB beyond the bare scan", memory - of_scan, 300, details)


def _increment(lakes: Lakes, rounds: int) -> Figure:
    """A recording into the big lake against one into an empty one."""

    def into(root: str) -> Took:
        recording = _recording(lakes.folder / "messages.jsonl", next(lakes.numbers))
        return _command(lakes, "run", "--messages", f"file:{recording}", "--lake", root)

    def into_empty() -> Took:
        took = into(str(lakes.folder / "empty"))
        shutil.rmtree(lakes.folder / "empty")
        return took

    return _ratio(f"{RECORDED:,} messages into the big lake: x an empty one", 1.3, rounds,
                  lambda: into(lakes.big), into_empty)  # fmt: skip


def _publication(lakes: Lakes, rounds: int) -> Iterator[Figure]:
    def into(root: str) -> Took:
        number = next(lakes.numbers)
        add_unit(root, number, NEW_MESSAGES, FIRST_NEW + 100 * number, 100)
        return _job(lakes, "publish", root)

    big, small = _alternately(rounds, lambda: into(lakes.big), lambda: into(lakes.small))
    for name, some in (("seconds", 0), ("memory", 1)):
        values = [statistics.median(took[some] for took in found) for found in (big, small)]
        details = f"{values[0]:.2f} against {values[1]:.2f} {'MB' if some else 's'}"
        what = f"publishing {NEW_MESSAGES:,} messages into the big lake: {name}, x the small one"
        yield Figure(what, values[0] / values[1], 1.3, details)


def _compaction(lakes: Lakes, rounds: int) -> Figure:
    """After both were compacted, with one more unit each."""
    for root in (lakes.big, lakes.small):
        print(f"the first compaction of {Path(root).name}: {_command(lakes, 'compact', '--lake', root).seconds:.1f} s")

    def after_one_more(root: str) -> Took:
        number = next(lakes.numbers)
        add_unit(root, number, NEW_MESSAGES, FIRST_NEW + 100 * number, 100)
        return _command(lakes, "compact", "--lake", root)

    return _ratio("compact after one more unit of the big lake: x the small one", 1.3, rounds,
                  lambda: after_one_more(lakes.big), lambda: after_one_more(lakes.small))  # fmt: skip


def _opening(lakes: Lakes, rounds: int) -> Iterator[Figure]:
    took = [_job(lakes, "open", lakes.big) for _ in range(rounds)]
    details = f"{statistics.median(some.mb for some in took):.0f} MB"
    yield Figure("opening the big lake: seconds", statistics.median(some.seconds for some in took), 0.5, details)
    for folder in ("ledger", "plans"):
        there = Path(lakes.big, folder)
        yield Figure(f"objects under {folder}/", sum(path.is_file() for path in there.rglob("*")), 2_000, "")


def _freshness(folder: Path, rate: int, seconds: int) -> Figure:
    """From publishing to the moment in which a reader of the Delta tables saw as many messages."""
    root = folder / "live"
    services = Services(data=folder / "services", ports={name: free_port() for name in NAMES})
    try:
        services.up("kafka")
        url = topic(services.environment("kafka")["KAFKA_BOOTSTRAP_SERVERS"], "freshness")
        command = [sys.executable, "-m", "prestacop", "run", "--mode", "unbounded", "--messages", url]
        command += ["--lake", str(root), "--prism_location", str(services.prism())]
        tables = _Tables(root)
        looks: list[tuple[float, int]] = []
        with (folder / "live.log").open("wb") as log, running(command, log.fileno()) as pipeline:
            time.sleep(5)
            with running(simulator(url, rate, seconds, "--live"), log.fileno()) as publisher:
                ends, there = float("inf"), 0
                while time.time() < ends and (not there or tables.rows() < there):
                    if pipeline.poll() is not None:
                        said = (folder / "live.log").read_text(errors="replace")[-4000:]
                        raise JobFailed(f"the pipeline ended with {pipeline.returncode}:\n{said}")
                    rows = tables.rows()
                    looks.append((time.time(), rows))
                    if publisher.poll() is not None and not there:
                        times = published(url)
                        ends, there = time.time() + DRAIN_SECONDS, len(times)
                    time.sleep(0.2)
                looks.append((time.time(), tables.rows()))
    finally:
        services.down(clean=True)
    counts = np.array([rows for _, rows in looks])
    if counts[-1] < len(times):
        raise JobFailed(f"{len(times):,} messages were published, the tables have {counts[-1]:,}")
    seen = np.array([at for at, _ in looks])[np.searchsorted(counts, np.arange(1, len(times) + 1))]
    p50, p99 = np.percentile(seen - times, [50, 99])
    what = f"event to visible in the tables at {rate:,} messages/s: p99 seconds"
    return Figure(what, float(p99), 15, f"{len(times):,} messages, p50 {p50:.1f} s")


class _Tables:
    """The tables as another program sees them."""

    def __init__(self, root: Path) -> None:
        self._paths = [root / str(dataset) for dataset in BRANCHES]
        self._open: dict[Path, DeltaTable] = {}

    def rows(self) -> int:
        """How many rows they have now."""
        for path in self._paths:
            if path in self._open:
                self._open[path].update_incremental()
            elif (path / "_delta_log").is_dir():
                try:
                    self._open[path] = DeltaTable(path)
                except TableNotFoundError:
                    continue
        return sum(sum(table.get_add_actions()["num_records"].to_pylist()) for table in self._open.values())


def _job(lakes: Lakes, job: str, root: str, *arguments: str) -> Took:
    command = [sys.executable, "-m", "tests.benchmarks.lake_jobs", job, root, *arguments]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise JobFailed(f"{' '.join(command)} ended with code {done.returncode}:\n{done.stderr[-2000:]}")
    found = json.loads(done.stdout)
    return Took(found["seconds"], found["mb"])


def _command(lakes: Lakes, *words: str) -> Took:
    usage = run([sys.executable, "-m", "prestacop", *words, "--quiet"], _ROOT, lakes.folder / "command.log")
    return Took(usage.wall_s, usage.peak_mb)


def _ratio(what: str, goal: float, rounds: int, one: Callable[[], Took], other: Callable[[], Took]) -> Figure:
    pair = _alternately(rounds, one, other)
    seconds, base = (statistics.median(took.seconds for took in some) for some in pair)
    return Figure(what, seconds / base, goal, f"{seconds:.2f} s against {base:.2f} s")


def _alternately(rounds: int, one: Callable[[], Took], other: Callable[[], Took]) -> tuple[list[Took], list[Took]]:
    pairs = [(one(), other()) for _ in range(rounds)]
    return [first for first, _ in pairs], [second for _, second in pairs]


def _recording(path: Path, number: int) -> Path:
    start = FIRST_NEW + 100 * number
    with path.open("w") as file:
        for n in range(RECORDED):
            when = datetime.fromtimestamp(start + n / 100, UTC).isoformat().replace("+00:00", "Z")
            message = {
                "schema_version": 1, "message_id": f"r-{number}-{n}", "drone_id": f"d{n % 50}", "sequence": n,
                "event_time": when, "latitude": 40.75, "longitude": -73.99, "altitude_m": 30.0, "battery_pct": 50.0,
                "kind": "violation" if n % 4 == 0 else "position", "status": "raw",
            }  # fmt: skip
            file.write(json.dumps(message | ({"violation_code": 14} if n % 4 == 0 else {})) + "\n")
    return path


def keep(arguments: argparse.Namespace, command: str, facts: dict[str, str], figures: list[Figure]) -> None:
    """Write the result."""
    what = f"{arguments.messages:,} messages and {arguments.units:,} folded units against {arguments.small:,} messages"
    what += f"; medians of {arguments.rounds} alternating rounds."
    rows = [[figure.what, round(figure.value, 3), figure.goal, figure.details] for figure in figures]
    save("lake", facts, command, what, ["figure", "value", "goal", "details"], rows, arguments.json)


if __name__ == "__main__":
    sys.exit(main())
