"""Whether a job did the job: its rows by branch, and its counts, against the truth beside the file."""

from pathlib import Path
from typing import Final, NamedTuple

import pyarrow.compute as pc
import pyarrow.parquet as pq

STRUCTURAL: Final = (
    "quoted_comma", "quoted_newline", "quoted_quote", "stray_quote_inside", "stray_quote_open", "row_cut_short",
    "row_too_long", "encoding_latin1",
)  # fmt: skip
"""The dirt of a row's structure, which a native engine may read in its own way."""
BRANCHES: Final = ("qualified", "unqualified", "dead_letters")


class Truth(NamedTuple):
    """What should come out of a file."""

    rows: dict[str, int]
    structural: int


class Outcome(NamedTuple):
    """What came out of a job."""

    rows: dict[str, int]
    counted: int
    """The sum of its counts."""
    files: int
    bytes: int


def truth(path: Path) -> Truth:
    """The rows of each branch, and how many rows have dirt of structure."""
    table = pq.ParquetFile(path).read(columns=["branch", "dirt"])
    rows = {branch: pc.sum(pc.equal(table["branch"], branch)).as_py() for branch in BRANCHES}
    return Truth(rows, pc.sum(pc.is_in(table["dirt"], value_set=pc.cast(STRUCTURAL, "string"))).as_py() or 0)


def outcome(output: Path) -> Outcome:
    """Count what a job wrote."""
    files = list(output.rglob("*.parquet"))
    rows = dict.fromkeys(BRANCHES, 0)
    counted = 0
    for file in files:
        dataset = file.relative_to(output).parts[0]
        if dataset in rows:
            rows[dataset] += pq.read_metadata(file).num_rows
        elif dataset == "stats":
            counted += pc.sum(pq.ParquetFile(file).read(columns=["n"])["n"]).as_py() or 0
    return Outcome(rows, counted, len(files), sum(file.stat().st_size for file in files))


def disagreements(found: Outcome, expected: Truth, exact: bool) -> list[str]:
    """What is wrong with an outcome: nothing, where the list is empty.

    Args:
        exact: no row may go another way than in the truth; else as many as have dirt of structure.
    """
    allowed = 0 if exact else expected.structural
    wrong = [
        f"{branch}: {found.rows[branch]:,} rows, {expected.rows[branch]:,} expected, {allowed:,} may differ"
        for branch in BRANCHES
        if abs(found.rows[branch] - expected.rows[branch]) > allowed
    ]
    counted = found.rows["qualified"] + found.rows["unqualified"]
    if found.counted != counted:
        wrong.append(f"counts: their sum is {found.counted:,}, rows with a time are {counted:,}")
    total, rows = sum(found.rows.values()), sum(expected.rows.values())
    if abs(total - rows) > allowed:
        wrong.append(f"all: {total:,} rows came out, {rows:,} went in")
    return wrong
