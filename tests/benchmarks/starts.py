"""``python -m tests.benchmarks.starts``: how long small commands take, most of which is their start.

They alternate, each as a process; medians. The second run of ``make run-local`` is measured: the first one makes its
input and fills its lake.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.measure import Usage, run
from tests.benchmarks.report import machine, machine_line

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
    rows = [
        [
            name,
            *(round(statistics.median(values), 2) for values in zip(*(u[:2] for u in used), strict=True)),
            GOALS[name],
        ]
        for name, used in found.items()
    ]
    print(machine_line(facts))
    for row in [columns, *rows]:
        print(f"{row[0]:22}" + "".join(f"{cell:>14}" for cell in row[1:]))
    path = arguments.json or _ROOT / "docs" / "performance" / f"{facts['date']}-starts.json"
    command = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, check=True).stdout.strip()
    result = {
        "date": facts["date"],
        "commit": commit,
        "command": f"python -m tests.benchmarks.starts --rounds {arguments.rounds}",
        "machine": machine_line(facts),
        "what": "Small commands, each a process of its own, medians of alternating rounds.",
        "columns": columns,
        "results": rows,
    }
    path.write_text(json.dumps(result, indent=1) + "\n")


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
