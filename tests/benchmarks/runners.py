"""``make bench-runners``: the graph on the DirectRunner, Flink and Spark in one run.

Each job reads the same history CSV and does the same work, as a process of its own, start-up included; the clusters run
already, on this machine. Parallelism 1 and 2: threads of the DirectRunner, subtasks of Flink, cores of Spark.
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runners.flink import cluster as flink
from runners.services import Services, free_port
from runners.services.services import Group
from runners.spark import cluster as spark
from tests.benchmarks import inputs
from tests.benchmarks.agreement import disagreements, outcome, truth
from tests.benchmarks.measure import run

_ROOT = Path(__file__).resolve().parents[2]
JOBS = ("direct", "flink", "spark")


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 1 where a job's rows are not those of the truth."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.runners",
        description=__doc__,
        epilog="examples:\n  make bench-runners\n  make bench-runners ARGS='--rows 500000 --rounds 1 --parallelism 2'",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=2_000_000, metavar="N", help="of the file (2000000)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="(3)")
    parser.add_argument("--parallelism", type=int, nargs="+", default=[1, 2], metavar="P", help="(1 2)")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS, help=f"({' '.join(JOBS)})")
    parser.add_argument("--data", type=Path, default=Path("bench-data"), metavar="DIR", help="of the file (bench-data)")
    arguments = parser.parse_args(argv)
    inputs.make(arguments.data, {arguments.rows})
    source = inputs.path_of(arguments.data, arguments.rows).resolve()
    expected = truth(inputs.truth_of(source))
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="prestacop-runners-") as folder:
        for parallelism in arguments.parallelism:
            rates: dict[str, list[float]] = {job: [] for job in arguments.jobs}
            with _clusters(Path(folder), parallelism, arguments.jobs) as data:
                for _ in range(arguments.rounds):
                    for job in arguments.jobs:
                        output = Path(folder) / "output"
                        inputs.warm(source)
                        used = run(_command(job, source, output, parallelism, data), _ROOT, Path(folder) / "log")
                        rates[job].append(arguments.rows / used.wall_s)
                        found = disagreements(outcome(output), expected, exact=True)
                        wrong += len(found)
                        print(f"  {job}, {parallelism}: {rates[job][-1]:,.0f} rows/s", *found, sep="\n", flush=True)
                        shutil.rmtree(output)
            for job, seen in rates.items():
                print(
                    f"parallelism {parallelism}  {job:8}{statistics.median(seen):>12,.0f} rows/s (median)", flush=True
                )
    return 1 if wrong else 0


def _command(job: str, source: Path, output: Path, parallelism: int, data: dict[str, Path]) -> list[str]:
    flags = ["--history", str(source), "--lake", str(output), "--quiet"]
    if job == "direct":
        return [sys.executable, "-m", "prestacop", "run", *flags, f"--direct_num_workers={parallelism}"]
    if job == "flink":
        submit = ["-m", "prestacop", "flink", "submit", "--data", str(data["flink"]), f"--parallelism={parallelism}"]
        return [sys.executable, *submit, *flags]
    submit = ["-m", "prestacop", "spark", "submit", "--data", str(data["spark"])]
    return [sys.executable, *submit, *flags, f"--sdk_worker_parallelism={parallelism}"]


@contextmanager
def _clusters(folder: Path, parallelism: int, jobs: Sequence[str]) -> Iterator[dict[str, Path]]:
    """The clusters that the jobs need; of Spark with so many cores."""
    os.environ["SPARK_WORKER_CORES"] = str(parallelism)
    groups: dict[str, Group] = {}
    if "flink" in jobs:
        groups["flink"] = flink.GROUP
    if "spark" in jobs:
        groups["spark"] = spark.GROUP
    data = {name: folder / name for name in groups}
    services = [
        Services(data=data[name], ports={kind.name: free_port() for kind in group.kinds}, group=group)
        for name, group in groups.items()
    ]
    try:
        for cluster in services:
            cluster.up()
        yield data
    finally:
        for cluster in services:
            cluster.down(clean=True)


if __name__ == "__main__":
    sys.exit(main())
