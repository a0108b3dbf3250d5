"""``make bench-runners``: the graph on the DirectRunner, Flink and Spark in one run.

Each job reads the same history CSV and does the same work, as a process of its own, start-up included; the clusters run
already, on this machine. Parallelism 1 and 2: threads of the DirectRunner, subtasks of Flink, cores of Spark.
"""

import argparse
import itertools
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from runners.flink import cluster as flink
from runners.services import Services, free_port
from runners.services.services import Group
from runners.spark import cluster as spark
from tests.benchmarks import inputs
from tests.benchmarks.agreement import disagreements, outcome, truth
from tests.benchmarks.dated import made_by, save
from tests.benchmarks.measure import run
from tests.benchmarks.report import machine

_ROOT = Path(__file__).resolve().parents[2]
JOBS = ("direct", "flink", "spark")
COLUMNS = ["job", "rows", "parallelism", "wall s", "rows/s"]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; 1 where a job's rows are not those of the truth."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.runners",
        description=__doc__,
        epilog="examples:\n  make bench-runners\n  make bench-runners ARGS='--rows 1000000 12000000 --rounds 1'",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[4_000_000], metavar="N", help="of the files (4000000)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="(3)")
    parser.add_argument("--parallelism", type=int, nargs="+", default=[1, 2], metavar="P", help="(1 2)")
    parser.add_argument("--jobs", nargs="+", choices=JOBS, default=JOBS, help=f"({' '.join(JOBS)})")
    parser.add_argument("--data", type=Path, default=Path("bench-data"), metavar="DIR", help="of files (bench-data)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the result (docs/performance/DATE-runners.json)")
    arguments = parser.parse_args(argv)
    facts = machine()
    inputs.make(arguments.data, set(arguments.rows))
    with (
        tempfile.TemporaryDirectory(prefix="prestacop-runners-") as folder,
        _clusters(Path(folder), arguments.parallelism, arguments.jobs) as data,
    ):
        found, wrong = _measured(arguments, Path(folder), data)
    results = [
        [*key, round(statistics.median(walls), 1), round(key[1] / statistics.median(walls))]
        for key, walls in found.items()
    ]
    if not wrong:
        what = (
            "History CSV to Parquet, each job a process with its start-up, the clusters on the same machine and "
            f"running already, median of {arguments.rounds} rounds in which jobs and parallelism alternate."
        )
        save("runners", facts, made_by("bench-runners", argv), what, COLUMNS, results, arguments.json)
    return 1 if wrong else 0


def _measured(
    arguments: argparse.Namespace, folder: Path, data: dict[str, Path]
) -> tuple[dict[tuple[str, int, int], list[float]], bool]:
    """The wall seconds of each job, number of rows and parallelism, and whether one had other rows than the truth."""
    found: dict[tuple[str, int, int], list[float]] = {}
    wrong = False
    for rows in arguments.rows:
        source = inputs.path_of(arguments.data, rows).resolve()
        expected = truth(inputs.truth_of(source))
        for number in range(1, arguments.rounds + 1):
            for job, parallelism in itertools.product(arguments.jobs, arguments.parallelism):
                output = folder / "output"
                inputs.warm(source)
                used = run(_command(job, source, output, parallelism, data), _ROOT, folder / "log")
                found.setdefault((job, rows, parallelism), []).append(used.wall_s)
                differences = disagreements(outcome(output), expected, exact=True)
                wrong = wrong or bool(differences)
                what = f"round {number}  {job:8}{rows:>12,} rows, parallelism {parallelism}: {used.wall_s:.1f} s"
                print(what, *differences, sep="\n", file=sys.stderr, flush=True)
                shutil.rmtree(output)
    return found, wrong


def _command(job: str, source: Path, output: Path, parallelism: int, data: dict[str, Path]) -> list[str]:
    flags = ["--history", str(source), "--lake", str(output), "--quiet"]
    if job == "direct":
        return [sys.executable, "-m", "prestacop", "run", *flags, f"--direct_num_workers={parallelism}"]
    if job == "flink":
        submit = ["-m", "prestacop", "flink", "submit", "--data", str(data["flink"]), f"--parallelism={parallelism}"]
        return [sys.executable, *submit, *flags]
    submit = ["-m", "prestacop", "spark", "submit", "--data", str(data[f"spark-{parallelism}"])]
    return [sys.executable, *submit, *flags, f"--sdk_worker_parallelism={parallelism}"]


@contextmanager
def _clusters(folder: Path, parallelism: Sequence[int], jobs: Sequence[str]) -> Iterator[dict[str, Path]]:
    """The clusters that the jobs need: a Flink, and for each parallelism a Spark with so many cores."""
    data: dict[str, Path] = {}
    with ExitStack() as stack:

        def start(name: str, group: Group) -> None:
            data[name] = folder / name
            cluster = Services(data=data[name], ports={kind.name: free_port() for kind in group.kinds}, group=group)
            stack.callback(cluster.down, clean=True)
            cluster.up()

        if "flink" in jobs:
            start("flink", flink.GROUP)
        for cores in parallelism if "spark" in jobs else ():
            os.environ["SPARK_WORKER_CORES"] = str(cores)
            start(f"spark-{cores}", spark.GROUP)
        yield data


if __name__ == "__main__":
    sys.exit(main())
