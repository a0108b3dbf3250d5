"""``python -m pipelines.reconcile``: does the ledger add up, and is the lake what the ledger says?

For each unit: rows in = positions + qualified + unqualified + dead letters + images + duplicates; each of its files is
there and holds the rows that the ledger says; its statistics sum up to its violations and positions. Over the
lake: the statistics that readers see sum up to the rows that they see.
"""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow.parquet as pq
from tqdm import tqdm

from lake import Lake, lake
from lake.storage import storage
from pipelines.command import run
from schemas.errors import InputUnusable
from schemas.lake import Dataset
from sources.units import DUPLICATES
from transforms.qualify import BRANCHES
from transforms.write import DOORS

EXAMPLES = """\
examples:
  python -m pipelines.reconcile --output data/lake
  python -m pipelines.reconcile --output s3://prestacop/lake

exit codes: 0 everything adds up, 1 it does not (each unit is named), 3 there is no lake, 4 service unavailable
"""


def unit_faults(root: str, unit: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a unit: its row of the ledger against its files."""
    out = sum(unit[what] for what in (*map(str, DOORS), DUPLICATES))
    if unit["rows_in"] != out:
        yield f"{unit['rows_in']:,} rows in, {out:,} rows out"
    if unit["counted"] != sum(unit[branch] for branch in BRANCHES):
        yield f"{unit['counted']:,} counted, {sum(unit[branch] for branch in BRANCHES):,} rows"
    held = dict.fromkeys(Dataset, 0)
    for file in unit["files"]:
        try:
            rows = _rows_of(root, file["path"])
        except FileNotFoundError:
            yield f"{file['path']} is not there"
            continue
        if rows != file["rows"]:
            yield f"{file['path']} holds {rows:,} rows, the ledger says {file['rows']:,}"
        held[Dataset(file["dataset"])] += rows
    for door in DOORS:
        if held[door] != unit[door]:
            yield f"{held[door]:,} rows in files of {door}, the ledger says {unit[door]:,}"


def lake_faults(lk: Lake) -> Iterator[str]:
    """Where the statistics that readers see differ from the rows that they see."""
    rows = " UNION ALL ".join(f"SELECT '{b}' AS dataset, count(*) AS n FROM {b}" for b in BRANCHES)
    query = f"""
        SELECT dataset, coalesce(s.n, 0) AS counted, r.n AS rows
        FROM ({rows}) r LEFT JOIN (SELECT dataset, sum(n) AS n FROM stats GROUP BY dataset) s USING (dataset)
        WHERE coalesce(s.n, 0) <> r.n
    """
    for fault in lk.sql(query).to_pylist():
        yield f"{fault['dataset']}: the statistics count {fault['counted']:,}, readers see {fault['rows']:,} rows"


def reconcile(root: str, quiet: bool = True) -> list[str]:
    """Check the lake; a line for each fault, none when all adds up. Raises InputUnusable where there is no lake."""
    lk = lake(root)
    units = lk.ledger.to_pylist()
    if not units:
        raise InputUnusable(f"{root}: no unit is in the ledger; run python -m pipelines.violations first")
    faults = [
        f"unit {unit['unit']} ({unit['path']}): {fault}"
        for unit in tqdm(units, desc="units", unit=" units", disable=quiet)
        for fault in unit_faults(root, unit)
    ]
    # A lake whose files are gone cannot be queried; the units' faults say it all.
    return faults or list(lake_faults(lk))


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
    ledger = lake(root).ledger
    total = {what: sum(ledger[what].to_pylist()) for what in ("rows_in", *map(str, DOORS), DUPLICATES)}
    print(f"{ledger.num_rows:,} units: " + ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in total.items()))
    print(f"{len(faults)} faults" if faults else "everything adds up")
    return 1 if faults else 0


def _rows_of(root: str, path: str) -> int:
    store = storage(root)
    with store.filesystem.open_input_file(store.full(path)) as file:
        return int(pq.read_metadata(file).num_rows)


if __name__ == "__main__":
    main()
