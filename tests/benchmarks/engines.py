"""The jobs that ``make bench`` runs, and their command lines."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple


class Engine(NamedTuple):
    """One way to do the job."""

    name: str
    command: Callable[[Path, Path], list[str]]
    """Gives the command line for an input and an output."""
    exact: bool
    """Whether each row must be in the dataset that the truth names, even where its structure is broken."""


def _ours(source: Path, output: Path) -> list[str]:
    module = [sys.executable, "-m", "prestacop", "run"]
    return [*module, "--history", str(source), "--lake", str(output), "--quiet"]


def _polars(source: Path, output: Path) -> list[str]:
    return [sys.executable, "-m", "tests.benchmarks.polars_job", str(source), str(output)]


def floor(step: str) -> Callable[[Path, Path], list[str]]:
    """The command line of :mod:`tests.benchmarks.floor_job` for a step, by input and output."""
    return lambda source, output: [
        sys.executable, "-m", "tests.benchmarks.floor_job", step, str(source), str(output)
    ]  # fmt: skip


OURS: Final = Engine("ours", _ours, exact=True)
POLARS: Final = Engine("polars", _polars, exact=False)
"""The fastest of the native engines; what pyarrow, DuckDB and Beam by row took is in docs/performance/."""
ALL: Final = (OURS, POLARS)
FLOOR: Final = Engine("pipeline without Beam", floor("LEDGER"), exact=True)
