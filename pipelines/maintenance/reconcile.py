"""``prestacop reconcile``: check that every input row is in the lake exactly once, and that no file is damaged.

For each unit: rows in = positions + qualified + unqualified + dead letters + images + duplicates, after compaction and
replay; the files that the ledger names exist, have their checksums and hold as many rows of the unit; its statistics
sum up to its violations and positions. Over the lake: the statistics that readers see sum up to the rows that they see.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from lake import Lake, lake
from lake.changes import check_not_removed, reading
from lake.reader import no_lake
from lake.uploads import unnamed_pictures
from lake.vacuum import lost_files
from pipelines.cli.app import run
from pipelines.maintenance import flags
from pipelines.maintenance.integrity import (
    LakeState,
    check_file,
    named_files,
    object_faults,
    orphan_faults,
    read_state,
    replaced_faults,
    uncommitted_changes,
    without_checksum,
)
from pipelines.maintenance.stream_integrity import notices, plan_faults, spool_faults
from pipelines.maintenance.table_integrity import differing, lagging, read_tables
from pipelines.violations.summary import conflicts
from schemas.errors import LakeDamaged
from schemas.history import TIME_ZONE
from schemas.lake import ANSWERS, BRANCHES, LEDGER_ROW, ROWS_IN, ROWS_OUT, Dataset
from terminal.bars import Bar
from terminal.printing import number_of
from transforms.outputs import OUTPUT_DATASETS

RECONCILIATION = "reconciliation"
_ON_THE_WAY_SECONDS = 3_600.0
SHOWN = 3
"""Differing statistics of a unit that are printed."""


RowCounts = Counter[tuple[str, str]]
"""Rows in files, by unit and dataset."""


def unit_faults(state: LakeState, unit: dict[str, Any], in_changes: RowCounts) -> Iterator[str]:
    """Faults of a unit: its row of the ledger against its rows in files of changes and in its own live files."""
    out = sum(unit[what] for what in ROWS_OUT)
    if unit[ROWS_IN] != out:
        yield f"{unit[ROWS_IN]:,} rows in, {out:,} rows out"
    if unit["counted"] != sum(unit[branch] for branch in BRANCHES):
        yield f"{unit['counted']:,} counted, {sum(unit[branch] for branch in BRANCHES):,} rows"
    rows = {dataset: in_changes[unit["unit"], dataset] for dataset in OUTPUT_DATASETS}
    for file in named_files(unit):
        if file["path"] not in state.replaced:
            yield from check_file(state.root, file, unit["unit"]).faults
            rows[file["dataset"]] = rows.get(file["dataset"], 0) + file["rows"]
    for dataset in OUTPUT_DATASETS:
        if rows[dataset] != unit[dataset]:
            yield f"{rows[dataset]:,} rows in files of {dataset}, the ledger says {unit[dataset]:,}"


def change_faults(state: LakeState, change: dict[str, Any], in_changes: RowCounts) -> Iterator[str]:
    """Faults of the live files of a change; adds up the rows of each unit in them."""
    for file in named_files(change):
        if file["path"] not in state.replaced:
            checked = check_file(state.root, file, None)
            yield from checked.faults
            for unit, n in checked.units.items():
                in_changes[unit, file["dataset"]] += n


def lake_faults(lk: Lake) -> Iterator[str]:
    """Where a unit's statistics differ from its rows, by dataset, window, code, part of the day and area."""
    rows = " UNION ALL ".join(
        f"SELECT unit, '{b}' AS dataset, event_time, {'NULL' if b == Dataset.POSITIONS else 'violation_code'} AS code, "
        f"area, status FROM {b}_of_all_units"
        for b in BRANCHES
    )
    query = f"""
        WITH windows AS (
            SELECT unit, any_value(window_seconds)::BIGINT * 1000000 AS size, bool_or(dataset = '{ANSWERS}') AS apart
            FROM stats_of_all_units GROUP BY unit
        ), counted AS (
            SELECT unit, dataset, epoch_us(window_start) AS start, violation_code AS code, part_of_day, area, n,
                   0 AS rows
            FROM stats_of_all_units
            UNION ALL
            SELECT unit, if(apart AND dataset = '{Dataset.QUALIFIED}' AND status = 'officer', '{ANSWERS}', dataset),
                   t - ((t % size + size) % size), code,
                   CASE WHEN hour BETWEEN 6 AND 12 THEN 'morning' WHEN hour BETWEEN 13 AND 19 THEN 'afternoon'
                        ELSE 'other' END,
                   area, 0, 1
            FROM (
                SELECT *, epoch_us(event_time) AS t, hour(event_time AT TIME ZONE '{TIME_ZONE}') AS hour FROM ({rows})
            )
            LEFT JOIN windows USING (unit)
        ), differing AS (
            SELECT unit, dataset, make_timestamp(start) AS start, code, part_of_day, area, sum(n)::BIGINT AS n,
                   sum(rows)::BIGINT AS rows
            FROM counted GROUP BY ALL HAVING sum(n) <> sum(rows)
        )
        SELECT *, count(*) OVER (PARTITION BY unit) AS places FROM differing
        QUALIFY row_number() OVER (PARTITION BY unit ORDER BY dataset, start, code, part_of_day, area) <= {SHOWN}
        ORDER BY ALL
    """
    for fault in lk.sql(query).to_pylist():
        yield (
            f"unit {fault['unit']}: {fault['dataset']} in {fault['area']} from {fault['start']} UTC, "
            f"code {fault['code']}, {fault['part_of_day']}: the statistics count {fault['n']:,}, "
            f"the files hold {fault['rows']:,} rows ({fault['places']:,} such places)"
        )


def reconcile(root: str) -> list[str]:
    """Check the lake; gives a line for each fault.

    Raises InputUnusable where there is no lake, InputChanged where a vacuum removed files that were still to be read.
    """
    return _reconciled(root, quiet=True)[1]


def _reconciled(root: str, quiet: bool) -> tuple[LakeState, list[str]]:
    try:
        state, faults = read_state(root)
    except LakeDamaged as error:  # the log of the ledger's table: without it nothing else can be judged
        none = LEDGER_ROW.empty_table()
        return LakeState(root, none, none, none, frozenset()), [str(error)]
    return state, _faults(state, faults, quiet)


def _faults(state: LakeState, faults: list[str], quiet: bool) -> list[str]:
    units = state.ledger.to_pylist()
    if not units and not faults and not any((*plan_faults(state), *spool_faults(state), *orphan_faults(state))):
        raise no_lake(state.root)
    ledger_is_sound = not faults
    in_changes: RowCounts = Counter()
    changes = state.changes.to_pylist()
    faults += [
        f"{change['unit']} ({change['path']}): {fault}"
        for change in Bar(changes, desc="changes", unit=" changes", quiet=quiet or not changes)
        for fault in change_faults(state, change, in_changes)
    ]
    faults += [
        f"unit {unit['unit']} ({unit['path']}): {fault}"
        for unit in Bar(units, desc="units", unit=" units", quiet=quiet)
        for fault in unit_faults(state, unit, in_changes)
    ]
    faults += [*replaced_faults(state), *plan_faults(state), *spool_faults(state)]
    tables = read_tables(state.root)
    faults += [*orphan_faults(state), *object_faults(state), *tables.faults]
    if faults:
        # A lake whose files are gone cannot be queried; the units' faults name them.
        if ledger_is_sound:
            check_not_removed(state.root, RECONCILIATION, state.changes.num_rows)
        return faults
    with reading(state.root, RECONCILIATION):
        return [*differing(state.root, tables), *lake_faults(lake(state.root))]


def _lost(root: str) -> Iterator[str]:
    """A notice on files that a vacuum does not find."""
    if files := lost_files(root):
        yield (
            f"{len(files):,} files, {sum(file.bytes for file in files) / 1e6:,.2f} MB, of changes that were killed or "
            "lost to others: no reader opens them; prestacop compact --deep deletes them"
        )


def _unnamed(root: str) -> Iterator[str]:
    """A notice on uploaded pictures without a row; of the last hour the messages may be on their way."""
    if pictures := unnamed_pictures(root, _ON_THE_WAY_SECONDS):
        yield (
            f"{len(pictures):,} pictures, {sum(picture.bytes for picture in pictures) / 1e6:,.2f} MB, that no message "
            f"has named, such as {pictures[0].path}; prestacop compact --deep deletes those older than --keep-uploads"
        )


def main(argv: Sequence[str]) -> None:
    """The command."""
    parser = flags.reconcile()
    arguments = parser.parse_args(argv)
    run(lambda: _command(arguments.lake, arguments.quiet), "Nothing was changed; run it again.")


def _command(root: str, quiet: bool) -> int:
    state, faults = _reconciled(root, quiet)
    for fault in faults:
        print(fault)
    total = {what: sum(state.ledger[what].to_pylist()) for what in (ROWS_IN, *ROWS_OUT)}
    if state.changes.num_rows:
        print(f"{state.changes.num_rows:,} changes of files: " + ", ".join(state.changes["path"].to_pylist()))
    if unhashed := without_checksum(state):
        print(
            f"{unhashed:,} files of earlier versions have no checksum in the ledger: their sizes and pages were "
            "checked. A compaction writes checksums for the files that it merges"
        )
    print(
        f"{number_of(state.ledger.num_rows, 'unit')}: "
        + ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in total.items())
    )
    for line in conflicts(lake(root)) if not faults else ():
        print(line)
    for notice in (
        *notices(state),
        *uncommitted_changes(state),
        *((*lagging(root, read_tables(root)), *_lost(root), *_unnamed(root)) if not faults else ()),
    ):
        print(f"notice: {notice}")
    print(f"{len(faults)} faults" if faults else "everything adds up")
    return 1 if faults else 0
