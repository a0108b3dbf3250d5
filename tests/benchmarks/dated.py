"""The figures of a benchmark as a dated file of docs/performance/, of which docs/performance.md is made."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.report import machine_line

_ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = _ROOT / "docs" / "performance"


def made_by(target: str, argv: Sequence[str] | None) -> str:
    """The command by which a result can be had again; without arguments those of this process."""
    words = " ".join(sys.argv[1:] if argv is None else argv)
    return f"make {target} ARGS='{words}'" if words else f"make {target}"


def save(
    name: str,
    facts: dict[str, str],
    command: str,
    what: str,
    columns: Sequence[str],
    results: Sequence[Sequence[Any]],
    path: Path | None = None,
    **more: Any,
) -> None:
    """Write a table of figures, and say where it is.

    Args:
        name: of the benchmark; the file is DATE-name.json, unless ``path`` is given.
        facts: of :func:`tests.benchmarks.report.machine`, taken before the benchmark began.
        command: by which it can be repeated.
        what: what was measured, and how.
        more: what else belongs to it.
    """
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=_ROOT, capture_output=True, text=True, check=True
    )
    path = path or FOLDER / f"{facts['date']}-{name}.json"
    result = {
        "date": facts["date"],
        "commit": commit.stdout.strip(),
        "command": command,
        "machine": machine_line(facts),
        "what": what,
        "columns": columns,
        "results": results,
        **more,
    }
    path.write_text(json.dumps(result, indent=1) + "\n")
    print("\n".join(table(result)), f"written to {path}", sep="\n\n")


def newest(name: str) -> dict[str, Any]:
    """The newest result of a benchmark."""
    found: dict[str, Any] = json.loads(max(FOLDER.glob(f"????-??-??-{name}.json")).read_text())
    return found


def table(result: dict[str, Any]) -> list[str]:
    """A result as lines of Markdown, for docs/performance.md."""
    columns, rows = result["columns"], result["results"]
    aligned = ["---:" if all(isinstance(row[n], int | float) for row in rows) else "---" for n in range(len(columns))]
    return ["| " + " | ".join(cells) + " |" for cells in (columns, aligned, *(map(_cell, row) for row in rows))]


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)
