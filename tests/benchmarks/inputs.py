"""The bench's files: made once, with their truth beside them, and read once before they are timed."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

INPUT_BYTES_A_ROW: Final = 340
"""A CSV of 51 columns has 300 bytes a row, its truth 40."""
OUTPUT_BYTES_A_ROW: Final = 250
"""A lake has 60 bytes a row; what DuckDB puts on disk while it works is the rest."""
_CHUNK: Final = 16 << 20


class DiskTooSmall(Exception):
    """There is no room for the files and the outputs."""


def path_of(data: Path, rows: int) -> Path:
    """The file of so many rows."""
    return data / f"history-{rows}.csv"


def truth_of(source: Path) -> Path:
    """What the simulator says about the rows of a file."""
    return source.with_name(source.name + ".truth.parquet")


def make(data: Path, sizes: set[int]) -> None:
    """Make the files that are not there yet.

    Raises DiskTooSmall, or CalledProcessError where the simulator fails.
    """
    data.mkdir(parents=True, exist_ok=True)
    missing = sorted(
        rows for rows in sizes if not path_of(data, rows).exists() or not truth_of(path_of(data, rows)).exists()
    )
    needed = INPUT_BYTES_A_ROW * sum(missing) + OUTPUT_BYTES_A_ROW * max(sizes)
    free = shutil.disk_usage(data).free
    if free < needed:
        raise DiskTooSmall(
            f"{data} has {free / 1e9:.1f} GB free, the files and outputs need {needed / 1e9:.1f} GB; "
            "use --data for another disk, or fewer --rows"
        )
    for rows in missing:
        output = path_of(data, rows)
        print(f"making {output}", file=sys.stderr)
        simulator = [sys.executable, "-m", "prestacop", "simulate", "history", "--rows", str(rows), "--seed", "1"]
        subprocess.run([*simulator, "--output", str(output)], check=True)


def warm(source: Path) -> None:
    """Read a file, so that the first job finds it in memory as the others do."""
    with source.open("rb", buffering=0) as file:
        while file.read(_CHUNK):
            pass
