"""``python -m pipelines.reconcile``: does the ledger add up, and is the lake what the ledger says?

For each unit, whatever its source: rows in = positions + qualified + unqualified + dead letters + images + duplicates,
as these are after compaction and replay; its own files and those of changes are there, and hold as many rows of it; its
statistics sum up to its violations and positions. Over the lake: the statistics that readers see sum up to the rows
that they see.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from lake import Lake, lake
from lake.changes import check_not_removed, reading
from lake.storage import storage
from pipelines.command import run
from pipelines.summary import conflicts
from schemas.errors import InputUnusable
from schemas.lake import Dataset
from sources.units import DUPLICATES
from transforms.qualify import ANSWERS, BRANCHES
from transforms.write import DOORS

EXAMPLES = """\
examples:
  python -m pipelines.reconcile --output data/lake
  python -m pipelines.reconcile --output s3://prestacop/lake

exit codes: 0 everything adds up, 1 it does not (each unit is named), 3 there is no lake, 4 service unavailable,
6 a vacuum removed what it was to read: run it again
"""
RECONCILIATION = "reconciliation"


Held = Counter[tuple[str, str]]
"""By unit and dataset, how many rows files hold."""


def unit_faults(lk: Lake, unit: dict[str, Any], held: Held) -> Iterator[str]:
    """What is wrong with a unit: its row of the ledger against the rows that files of changes hold of it, and against
    those of its own files that are still read."""
    out = sum(unit[what] for what in (*map(str, DOORS), DUPLICATES))
    if unit["rows_in"] != out:
        yield f"{unit['rows_in']:,} rows in, {out:,} rows out"
    if unit["counted"] != sum(unit[branch] for branch in BRANCHES):
        yield f"{unit['counted']:,} counted, {sum(unit[branch] for branch in BRANCHES):,} rows"
    rows = {door: held[unit["unit"], door] for door in DOORS}
    for file in unit["files"]:
        if file["path"] not in lk.replaced:
            yield from file_faults(lk.root, file)
            rows[file["dataset"]] = rows.get(file["dataset"], 0) + file["rows"]
    for door in DOORS:
        if rows[door] != unit[door]:
            yield f"{rows[door]:,} rows in files of {door}, the ledger says {unit[door]:,}"


def change_faults(lk: Lake, change: dict[str, Any], held: Held) -> Iterator[str]:
    """What is wrong with the files of a change that are still read; the rows of each unit in them are added up."""
    for file in change["files"]:
        if file["path"] in lk.replaced:
            continue
        faults = list(file_faults(lk.root, file))
        yield from faults
        if not faults:
            seen = _columns_of(lk.root, file["path"], ["unit"])["unit"].value_counts()
            for unit, n in zip(seen.field("values").to_pylist(), seen.field("counts").to_pylist(), strict=True):
                held[unit, file["dataset"]] += n


def file_faults(root: str, file: dict[str, Any]) -> Iterator[str]:
    """Whether the file is there and holds the rows that the ledger says."""
    try:
        rows = _columns_of(root, file["path"], []).num_rows
    except FileNotFoundError:
        yield f"{file['path']} is not there"
        return
    if rows != file["rows"]:
        yield f"{file['path']} holds {rows:,} rows, the ledger says {file['rows']:,}"


def lake_faults(lk: Lake) -> Iterator[str]:
    """Where the statistics that readers see differ from the rows that they see."""
    rows = " UNION ALL ".join(f"SELECT '{b}' AS dataset, count(*) AS n FROM {b}" for b in BRANCHES)
    query = f"""
        SELECT dataset, coalesce(s.n, 0) AS counted, r.n AS rows
        FROM ({rows}) r LEFT JOIN (
            SELECT if(dataset = '{ANSWERS}', '{Dataset.QUALIFIED}', dataset) AS dataset, sum(n) AS n
            FROM stats GROUP BY ALL
        ) s USING (dataset)
        WHERE coalesce(s.n, 0) <> r.n
    """
    for fault in lk.sql(query).to_pylist():
        yield f"{fault['dataset']}: the statistics count {fault['counted']:,}, readers see {fault['rows']:,} rows"


def reconcile(root: str, quiet: bool = True) -> list[str]:
    """Check the lake; a line for each fault, none when all adds up. Raises InputUnusable where there is no lake,
    InputChanged where it was held for so long that a vacuum removed what it was to read."""
    with reading(root, RECONCILIATION):
        return _faults(lake(root), quiet)


def _faults(lk: Lake, quiet: bool) -> list[str]:
    units = lk.ledger.to_pylist()
    if not units:
        raise InputUnusable(f"{lk.root}: no unit is in the ledger; run python -m pipelines.violations first")
    held: Held = Counter()
    changes = lk.changes.to_pylist()
    faults = [
        f"{change['unit']} ({change['path']}): {fault}"
        for change in tqdm(changes, desc="changes", unit=" changes", disable=quiet or not changes)
        for fault in change_faults(lk, change, held)
    ]
    faults += [
        f"unit {unit['unit']} ({unit['path']}): {fault}"
        for unit in tqdm(units, desc="units", unit=" units", disable=quiet)
        for fault in unit_faults(lk, unit, held)
    ]
    if faults:
        # A lake whose files are gone cannot be queried; the units' faults say it all.
        check_not_removed(lk.root, RECONCILIATION, lk.changes.num_rows)
        return faults
    return list(lake_faults(lk))


def main(argv: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.reconcile",
        description="Check that rows in = rows out for every unit, and that the statistics add up.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--output", required=True, metavar="DIR_OR_S3_URL", help="the lake")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    arguments = parser.parse_args(argv)
    run(lambda: _command(arguments.output, arguments.quiet), "Nothing was changed; run it again.")


def _command(root: str, quiet: bool) -> int:
    faults = reconcile(root, quiet)
    for fault in faults:
        print(fault)
    lk = lake(root)
    ledger = lk.ledger
    total = {what: sum(ledger[what].to_pylist()) for what in ("rows_in", *map(str, DOORS), DUPLICATES)}
    if lk.changes.num_rows:
        print(f"{lk.changes.num_rows:,} changes of files: " + ", ".join(lk.changes["path"].to_pylist()))
    print(f"{ledger.num_rows:,} units: " + ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in total.items()))
    for line in conflicts(lk) if not faults else ():
        print(line)
    print(f"{len(faults)} faults" if faults else "everything adds up")
    return 1 if faults else 0


def _columns_of(root: str, path: str, columns: list[str]) -> pa.Table:
    store = storage(root)
    with store.filesystem.open_input_file(store.full(path)) as file:
        return pq.ParquetFile(file).read(columns)


if __name__ == "__main__":
    main()
