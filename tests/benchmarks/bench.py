"""``python -m tests.benchmarks.bench``: the pipeline against polars, the fastest native engine for the same job."""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks import engines, inputs, report
from tests.benchmarks.agreement import Truth, disagreements, outcome, truth
from tests.benchmarks.dated import made_by, save
from tests.benchmarks.engines import Engine
from tests.benchmarks.measure import JobFailed, run

DISAGREE, JOB_FAILED, DISK_TOO_SMALL, INTERRUPTED = 1, 3, 5, 130
EXAMPLES: Final = """\
Each engine reads the history CSV, repairs it, and writes qualified rows, unqualified rows, dead letters and counts as
Parquet, in a process of its own, start-up included. In each round every engine runs once, one after the other; the
files were read before, and outputs are removed between runs.

examples:
  python -m tests.benchmarks.bench                                  2 M and 12 M rows, three rounds
  python -m tests.benchmarks.bench --rows 2000000 --runs 1          a first look
  python -m tests.benchmarks.bench --rows 200000 2000000 --data /mnt/disk/bench

exit codes: 0 measured (also where a target is missed), 1 the engines disagree about the rows, 2 wrong usage,
3 a job failed, 5 the disk is too small, 130 interrupted
"""
_ROOT: Final = Path(__file__).resolve().parents[2]


def main(argv: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.bench",
        description="Time the pipeline against polars doing the same job.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rows",
        type=_positive,
        nargs="+",
        default=[2_000_000, 12_000_000],
        metavar="N",
        help="sizes of the files (2 M and 12 M)",
    )
    parser.add_argument("--runs", type=_positive, default=3, metavar="N", help="rounds for each size (3)")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("bench-data"),
        metavar="DIR",
        help="where files are made and kept (bench-data)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="the result (docs/performance/DATE-history.json)")
    arguments = parser.parse_args(argv)
    try:
        sizes, command = sorted(set(arguments.rows)), made_by("bench", argv)
        return _bench(sizes, arguments.runs, arguments.data.resolve(), command, arguments.json)
    except inputs.DiskTooSmall as error:
        return _fail(str(error), DISK_TOO_SMALL)
    except JobFailed as error:
        return _fail(str(error), JOB_FAILED)
    except subprocess.CalledProcessError as error:
        return _fail(f"the file could not be made: {error}", JOB_FAILED)
    except KeyboardInterrupt:
        return _fail("interrupted; the files that were made are kept", INTERRUPTED)


def _bench(sizes: list[int], rounds: int, data: Path, command: str, path: Path | None) -> int:
    facts = report.machine()
    inputs.make(data, set(sizes))
    truths = {rows: truth(inputs.truth_of(inputs.path_of(data, rows))) for rows in sizes}
    runs: list[report.Run] = []
    wrong: list[str] = []
    for size in sizes:
        for number in range(1, rounds + 1):
            inputs.warm(inputs.path_of(data, size))
            for engine in engines.ALL:
                done = _run(engine, size, number, data)
                _say(done, rounds)
                runs.append(done)
                found = disagreements(done.outcome, truths[size], engine.exact)
                wrong += [f"{engine.name}, {size:,} rows: {what}" for what in found]
    ratios = report.ratios(runs)
    wrong = list(dict.fromkeys(wrong))
    print(f"{report.machine_line(facts)}\n\n{report.table(runs)}\n\n{report.ratio_lines(ratios)}\n")
    print("\n".join(wrong) if wrong else f"Both agree on the rows. {_allowance(truths, sizes)}")
    if not wrong:
        _save(facts, command, runs, ratios, path)
    return DISAGREE if wrong else 0


def _run(engine: Engine, size: int, number: int, data: Path) -> report.Run:
    output = data / "output"
    shutil.rmtree(output, ignore_errors=True)
    usage = run(engine.command(inputs.path_of(data, size), output), _ROOT, data / "bench.log")
    found = outcome(output)
    shutil.rmtree(output)
    return report.Run(size, number, engine.name, usage, found)


def _allowance(truths: dict[int, Truth], sizes: list[int]) -> str:
    rows = ", ".join(f"{truths[size].structural:,} of {size:,}" for size in sizes)
    return f"(Rows of broken structure, which a native engine may read in its own way: {rows}.)"


def _say(done: report.Run, rounds: int) -> None:
    wall, cpu, peak = done.usage
    what = f"round {done.round}/{rounds}  {done.size:>12,} rows  {done.engine:8}"
    print(f"{what}  {wall:7.2f} s  {cpu:7.1f} CPU s  {peak:6,.0f} MB", file=sys.stderr, flush=True)


def _save(
    facts: dict[str, str], command: str, runs: list[report.Run], ratios: list[dict[str, object]], path: Path | None
) -> None:
    what = (
        "History CSV to Parquet, each engine a process of its own with start-up, files in the page cache, median of "
        f"{max(run.round for run in runs)} alternating rounds. All parse, repair times and dates, branch, sort, write "
        "zstd Parquet by month, count by hour, code and county."
    )
    columns = ["engine", "rows", "wall s", "CPU s", "cores busy", "peak RSS MB"]
    results = [
        [engine, size, *report.medians([run.usage for run in runs if (run.engine, run.size) == (engine, size)])]
        for engine, size in dict.fromkeys((run.engine, run.size) for run in runs)
    ]
    save("history", facts, command, what, columns, results, path, ratios=ratios)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1")
    return value


def _fail(message: str, code: int) -> int:
    print(f"bench: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
