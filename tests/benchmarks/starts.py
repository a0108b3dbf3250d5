"""``python -m tests.benchmarks.starts``: how long small commands take, most of which is their start.

They alternate, each as a process; medians. The second run of ``make run-local`` is measured: the first one makes its
input and fills its lake.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.dated import save
from tests.benchmarks.measure import Usage, run
from tests.benchmarks.report import machine, medians

_ROOT = Path(__file__).resolve().parents[2]
_PRESTACOP = (sys.executable, "-m", "prestacop")
_FLEET = ("simulate", "drones", "--drones", "10", "--seconds", "100", "--quiet")
GOALS = {"prestacop --help": 0.3, "run --dry-run": 1.5, "run, 1,000 messages": 2.0, "second run-local": 3.0}
"""Seconds, at most."""


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.starts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="(5)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the result (docs/performance/DATE-starts.json)")
    arguments = parser.parse_args(argv)
    facts = machine()
    with tempfile.TemporaryDirectory(prefix="prestacop-starts-") as folder:
        found = _measured(Path(folder), arguments.rounds)
    columns = ["command", "wall s", "CPU s", "goal wall s"]
    rows = [[name, *medians(used)[:2], GOALS[name]] for name, used in found.items()]
    command = f"python -m tests.benchmarks.starts --rounds {arguments.rounds}"
    what = "Small commands, each a process of its own, medians of alternating rounds."
    save("starts", facts, command, what, columns, rows, arguments.json)


def _measured(folder: Path, rounds: int) -> dict[str, list[Usage]]:
    messages, lake, local = folder / "messages.jsonl", folder / "lake", folder / "local"
    reads = ("run", "--messages", f"file:{messages}", "--lake", str(lake))
    run_local = ("run-local", "--data", str(local), "--quiet")
    commands = dict(zip(GOALS, (("--help",), (*reads, "--dry-run"), reads, run_local), strict=True))
    run([*_PRESTACOP, *_FLEET, "--output", f"file:{messages}"], _ROOT, folder / "log")
    run([*_PRESTACOP, *run_local], _ROOT, folder / "log")
    found: dict[str, list[Usage]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            shutil.rmtree(lake, ignore_errors=True)
            found[name].append(run([*_PRESTACOP, *command], _ROOT, folder / "log"))
    return found


if __name__ == "__main__":
    main()
