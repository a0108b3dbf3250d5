"""``python -m tests.benchmarks.floor``: what each obligation of the history costs, as a staircase from polars to the
pipeline (:mod:`tests.benchmarks.floor_job`). The steps alternate, each as a process with its start-up; medians."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks import engines, inputs
from tests.benchmarks.dated import save
from tests.benchmarks.measure import Usage, run
from tests.benchmarks.report import machine, medians

_ROOT: Final = Path(__file__).resolve().parents[2]
STEPS: Final = {
    "IMPORTS": "imports of the modules, and of Beam, alone",
    "COLUMNS": "pyarrow, two threads: parse, type, branch, count, sort, write by month",
    "IDENTITY": "+ identity: name by the hash of the bytes",
    "RECORDS": "+ records whatever the quotes, lines of column names",
    "REPAIRS": "+ texts cleaned, repairs named",
    "LETTERS": "+ dead letters with their bytes and offset",
    "LEDGER": "+ checksums, sync, reconciled rows of the ledger",
}
COLUMNS: Final = ["step", "wall s", "CPU s", "cores busy", "peak RSS MB"]


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.floor", description=__doc__)
    parser.add_argument("--rows", type=int, default=12_000_000, metavar="N", help="of the file (12 M)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="(3)")
    parser.add_argument("--data", type=Path, default=Path("bench-data"), metavar="DIR", help="of files (bench-data)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the result (docs/performance/DATE-floor.json)")
    arguments = parser.parse_args(argv)
    data = arguments.data.resolve()
    inputs.make(data, {arguments.rows})
    facts = machine()
    found = _measured(inputs.path_of(data, arguments.rows), data, arguments.rounds)
    rows = [[name, *medians(used)] for name, used in found.items()]
    command = f"python -m tests.benchmarks.floor --rows {arguments.rows} --rounds {arguments.rounds}"
    what = "History CSV to Parquet, each step a process with its start-up, medians of alternating rounds."
    save("floor", facts, command, what, COLUMNS, rows, arguments.json)


def _measured(source: Path, data: Path, rounds: int) -> dict[str, list[Usage]]:
    output = data / "output"
    commands = {
        "polars job of make bench": engines.POLARS.command(source, output),
        **{what: engines.floor(step)(source, output) for step, what in STEPS.items()},
        "+ Beam: the pipeline": engines.OURS.command(source, output),
    }
    found: dict[str, list[Usage]] = {name: [] for name in commands}
    for _ in range(rounds):
        inputs.warm(source)
        for name, command in commands.items():
            shutil.rmtree(output, ignore_errors=True)
            found[name].append(run(command, _ROOT, data / "floor.log"))
            print(f"{name:75}", *(f"{value:8.2f}" for value in found[name][-1]), file=sys.stderr, flush=True)
    shutil.rmtree(output, ignore_errors=True)
    return found


if __name__ == "__main__":
    main()
