"""Whether the Delta tables agree with the lake: each has exactly the published files that the ledger has."""

from collections.abc import Iterator
from typing import NamedTuple

import pyarrow.compute as pc

from lake import Lake
from lake.changes import first_publication, live_files, published, replaced_by
from lake.layout import change_path
from lake.tables import LOG, find_table, form_of
from schemas.errors import LakeDamaged
from schemas.lake import Dataset


class Tables(NamedTuple):
    """The tables of a lake."""

    files: dict[Dataset, tuple[int, frozenset[str]]]
    """By dataset, the number of the table's last change, and its files; of no table, 0 and none."""
    faults: list[str]
    """Of tables that cannot be read."""


def read_tables(root: str) -> Tables:
    """The tables as they are now."""
    found = Tables({}, [])
    for dataset in Dataset:
        try:
            table = find_table(root, form_of(dataset))
            paths = table.files()["path"].to_pylist() if table else ()
            found.files[dataset] = table.number if table else 0, frozenset(paths)
        except LakeDamaged as error:
            found.faults.append(f"table {dataset}: {error}")
    return found


def differing(root: str, tables: Tables) -> Iterator[str]:
    """Faults of tables that have other files than the lake had after the table's last change."""
    lk = Lake(root)  # opened after the tables, which may be ahead of what was read before them
    for dataset, (number, files) in tables.files.items():
        if number > lk.number:
            yield (
                f"table {dataset}: it has change {number}, and the last one of the ledger is {lk.number}: "
                f"{change_path(number)} was removed; restore it from a copy"
            )
        elif not number and lk.merged.number:
            yield f"table {dataset}: its log, {dataset}/{LOG}, is missing: the next publication makes it anew"
        elif files not in (_expected(lk, dataset, lk.number), then := _expected(lk, dataset, number)):
            examples = [*sorted(files - then)[:1], *sorted(then - files)[:1]]
            yield (
                f"table {dataset}: of the files of change {number} it lacks {len(then - files):,} and has "
                f"{len(files - then):,} others, such as {', '.join(examples)}; remove {dataset}/_delta_log: "
                "the next publication makes it anew"
            )


def lagging(root: str, tables: Tables) -> Iterator[str]:
    """A notice on each table that a process that was killed has not brought to the last change."""
    lk = Lake(root)
    for dataset, (number, files) in tables.files.items():
        if number <= lk.number and files != _expected(lk, dataset, lk.number):
            yield (
                f"table {dataset} is at change {number} of {lk.number}: the next publication brings it up "
                "(prestacop compact)"
            )


def _expected(lk: Lake, dataset: Dataset, number: int) -> frozenset[str]:
    """The published files after the change of this number, by the rows of the ledger."""
    changes = lk.changes.slice(0, number)
    if first_publication(changes) is None:
        return frozenset()
    units = lk.as_committed.filter(pc.is_in(lk.as_committed["unit"], published(changes)))
    files = live_files((units, changes), replaced_by(changes))
    return frozenset(files.filter(pc.equal(files["dataset"], str(dataset)))["path"].to_pylist())
