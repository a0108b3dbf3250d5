"""The jobs that the bench runs, and how."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple


class Engine(NamedTuple):
    """One way to do the job."""

    name: str
    command: Callable[[Path, Path], list[str]]
    """From the input and the output to the command line."""
    exact: bool
    """Whether every row must go the way that the truth says, whatever its structure."""


def _ours(source: Path, output: Path) -> list[str]:
    module = [sys.executable, "-m", "prestacop", "run"]
    return [*module, "--history", str(source), "--output", str(output), "--quiet"]


def _job(module: str) -> Callable[[Path, Path], list[str]]:
    def command(source: Path, output: Path) -> list[str]:
        return [sys.executable, "-m", f"tests.benchmarks.{module}", str(source), str(output)]

    return command


OURS: Final = Engine("ours", _ours, exact=True)
POLARS: Final = Engine("polars", _job("polars_job"), exact=False)
DUCKDB: Final = Engine("duckdb", _job("duckdb_job"), exact=False)
PYARROW: Final = Engine("pyarrow", _job("pyarrow_job"), exact=False)
ROW_BEAM: Final = Engine("row_beam", _job("row_beam_job"), exact=True)
"""Takes a smaller file: a large one takes a quarter of an hour."""
ALL: Final = (OURS, POLARS, DUCKDB, PYARROW, ROW_BEAM)
