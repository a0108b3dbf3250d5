"""Undo: remove units from the lake, or restore them, each by one change of its files.

The ledger keeps the units' rows, so that their input is not read again; their counts move to ``undone``. Files of
changes that hold rows of them are rewritten without these.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from lake import Lake, filled_lake
from lake.again import allow
from lake.changes import Change, Move, Undone, put_change, undone
from lake.copies import IDENTITIES
from lake.files import WrittenFile, parquet_dataset, write_unit
from lake.format import mark
from lake.layout import CHANGE, unit_of
from lake.merge import ROW_GROUP, counts_of, read_checked
from lake.publication import without_copies
from lake.reader import LakeFile, earlier
from lake.storage import storage
from lake.views import spilling
from pipelines.maintenance.committing import commit_change
from schemas.errors import InputUnusable, NotReconciled
from schemas.lake import BRANCHES, DUPLICATES, ROWS_OUT, SCHEMAS, UNDONE, Dataset, Source, value_counts
from sources.progress import progress
from sources.units import TOPICS
from transforms.outputs import OUTPUT_DATASETS


class FoundUnits(NamedTuple):
    """Units of a lake, as they are now."""

    units: dict[str, dict[str, Any]]
    """Those that are in the lake: the ledger's rows, with the counts of now."""
    undone: dict[str, Undone]


def find_units(lk: Lake, wanted: Sequence[str]) -> FoundUnits:
    """The units that have these names, or whose input has that path.

    Raises InputUnusable where there is none.
    """
    names = pa.array(sorted(set(wanted)), pa.string())
    column = pc.or_(pc.is_in(lk.ledger["unit"], names), pc.is_in(lk.ledger["path"], names))
    rows = lk.ledger.filter(column).to_pylist()
    found = {row["unit"] for row in rows} | {row["path"] for row in rows}
    if missing := [name for name in names.to_pylist() if name not in found]:
        raise InputUnusable(
            f"{lk.root}: {', '.join(missing)}: neither a unit nor the path of an input; nothing was changed. "
            "--list prints all units"
        )
    gone = undone(lk.changes)
    units = {row["unit"]: row for row in rows}
    return FoundUnits(
        {name: row for name, row in units.items() if name not in gone},
        {name: gone[name] for name in units if name in gone},
    )


def undo(root: str, wanted: Sequence[str], what: str) -> dict[str, Any] | None:
    """Remove units from the lake.

    Args:
        wanted: their names, or the paths of their inputs.
        what: who does it and why, for people.

    Returns:
        The change's row of the ledger; None where all were undone before.

    Raises:
        InputUnusable: a unit is not in the ledger, or a vacuum removed files that are needed to remove it exactly.
        NotReconciled: the files do not hold the rows that the ledger says.
        InputChanged: a vacuum removed files that were still to be read.
    """

    def attempt(lk: Lake, change: Change) -> None:
        units = {name: row for name, row in find_units(lk, wanted).units.items() if row["rows_in"]}
        if units:
            mark(root)
            unpublished = [name for name in lk.tail["unit"].to_pylist() if name in units]
            put_change(root, _without(lk, units, change._replace(what=what, units=unpublished)))

    return commit_change(root, "undo", attempt, find_units(filled_lake(root), wanted).units)


def put_back(root: str, wanted: Sequence[str], what: str) -> dict[str, Any] | None:
    """Restore the rows of undone units. Arguments, result and errors are those of :func:`undo`.

    Raises InputUnusable also where a vacuum has removed their files.
    """

    def attempt(lk: Lake, change: Change) -> None:
        if gone := find_units(lk, wanted).undone:
            put_change(root, without_copies(lk, _with_restored(lk, gone, change._replace(what=what))))

    return commit_change(root, "undo --back", attempt)


def read_again(root: str, wanted: Sequence[str], what: str) -> dict[str, Any] | None:
    """Let the next run read the input of undone units again, as other units. Arguments, result and errors are those of
    :func:`undo`.

    Raises InputUnusable also for units of a topic: a stream does not go back behind its committed offsets.
    """

    def attempt(lk: Lake, change: Change) -> None:
        gone = find_units(lk, wanted).undone
        paths = dict(zip(lk.ledger["unit"].to_pylist(), lk.ledger["path"].to_pylist(), strict=True))
        if of_topics := [name for name in sorted(gone) if paths[name].startswith(TOPICS)]:
            raise InputUnusable(
                f"{root}: {', '.join(of_topics)}: come from a topic, which is not read again; nothing was changed. "
                "--back restores the same rows, until a vacuum removes their files"
            )
        if moves := [Move(name, UNDONE, UNDONE, of.rows) for name, of in gone.items() if not of.again]:
            put_change(root, change._replace(what=what, moves=moves))

    change = commit_change(root, "undo --again", attempt)
    allow(root, (name for name, of in find_units(Lake(root), wanted).undone.items() if of.again))
    return change


class _Writer:
    """Writes the files of a change and collects them."""

    def __init__(self, root: str, change: Change) -> None:
        self._root, self._change = root, change
        self.files: list[WrittenFile] = []
        self._part = 0

    def write(self, dataset: Dataset, source: Source, rows: pa.Table) -> None:
        """Write rows of one dataset and source."""
        if rows.num_rows:
            self._part += 1
            name = self._change.file_name(self._part)
            self.files += write_unit(self._root, dataset, source, name, rows.to_batches(), ROW_GROUP)


def _without(lk: Lake, units: dict[str, dict[str, Any]], change: Change) -> Change:
    """The change that removes the units; its files are written."""
    files = lk.with_checksums(lk.entries(*Dataset))
    progress.planned(sum(file.bytes for file in files))
    copies = _removed_duplicates(lk, units)
    writer = _Writer(lk.root, change)
    replaces, taken = [], Counter[tuple[str, str]]()
    for file in files:
        name = unit_of(file.path)
        if name in units:
            replaces.append(file.path)
            taken[name, file.dataset] += file.rows
        elif _is_of_a_change(file) and _holds(lk.root, file, units):
            table = read_checked(lk.root, file)
            mine = _of(table, units)
            writer.write(Dataset(file.dataset), Source(file.source), table.filter(pc.invert(mine)))
            replaces.append(file.path)
            taken.update({(unit, file.dataset): n for unit, n in _by_unit(table.filter(mine)).items()})
        progress.advance(file.bytes)
    for name, row in units.items():
        for dataset in OUTPUT_DATASETS:
            if taken[name, dataset] != row[dataset]:
                raise NotReconciled(
                    f"unit {name}: files of {dataset} hold {taken[name, dataset]:,} rows, the ledger says "
                    f"{row[dataset]:,}; nothing was changed; run prestacop reconcile"
                )
    moves = [Move(name, what, UNDONE, row[what]) for name, row in units.items() for what in ROWS_OUT if row[what]]
    sources = dict(zip(lk.ledger["unit"].to_pylist(), lk.ledger["source"].to_pylist(), strict=True))
    for dataset, rows in copies.items():
        for source in sorted({sources[unit] for unit in _by_unit(rows)}):
            of_source = [unit for unit in _by_unit(rows) if sources[unit] == source]
            writer.write(dataset, Source(source), rows.filter(_of(rows, of_source)))
        if dataset != Dataset.STATS:
            moves += [Move(unit, DUPLICATES, str(dataset), n) for unit, n in sorted(_by_unit(rows).items())]
    return change._replace(files=writer.files, replaces=replaces, moves=moves)


def _removed_duplicates(lk: Lake, units: dict[str, dict[str, Any]]) -> dict[Dataset, pa.Table]:
    """Rows of other units that changes dropped as copies of the units' rows, one for each, which must be restored when
    these units go; with the statistics that count them.

    Raises InputUnusable where a vacuum has removed the files that hold them.
    """
    gone = {*units, *undone(lk.changes)}
    found: dict[Dataset, list[pa.Table]] = {}
    known: set[Dataset] = set()
    there = _files(lk.root)
    with spilling(duckdb.connect()) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for number, change in enumerate(lk.changes.to_pylist(), 1):
            dropped: dict[str, set[str]] = {}
            for move in change["moves"]:
                if move["into"] == DUPLICATES and move["unit"] not in gone:
                    dropped.setdefault(move["out_of"], set()).add(move["unit"])
            for dataset in (Dataset(name) for name in dropped):
                if dataset not in known:
                    mine = lk.dataset(dataset).to_table(columns=SCHEMAS[dataset].names, filter=_in("unit", units))
                    connection.register("rows_that_go", mine)
                    connection.execute(f"CREATE TABLE {dataset}_gone AS FROM rows_that_go")
                    known.add(dataset)
                if not connection.sql(f"FROM {dataset}_gone LIMIT 1").fetchall():
                    continue
                paths = _before(lk, number, change, dataset)
                stats = _before(lk, number, change, Dataset.STATS) if dataset in BRANCHES else []
                if not there.issuperset([*paths, *stats]):
                    raise InputUnusable(
                        f"{lk.root}: duplicates were removed, and a vacuum removed their files, so that duplicates of "
                        f"rows of {', '.join(sorted(units))} in other units cannot be restored. Nothing was changed. "
                        "Load the inputs that are to stay into a new lake"
                    )
                rows = parquet_dataset(lk.root, dataset, paths)
                connection.register("candidates", rows.scanner(filter=_in("unit", dropped[dataset])).to_reader())
                if (restored := _first_copies(connection, dataset)).num_rows:
                    found.setdefault(dataset, []).append(restored)
                    if dataset in BRANCHES:
                        found.setdefault(Dataset.STATS, []).append(
                            counts_of(parquet_dataset(lk.root, Dataset.STATS, stats), dataset, restored)
                        )
    return {dataset: pa.concat_tables(tables) for dataset, tables in found.items()}


def _before(lk: Lake, number: int, change: dict[str, Any], dataset: Dataset) -> list[str]:
    """The files that have the rows which a change dropped: those before it, and its own that it replaced itself."""
    own = {file["path"] for file in change["files"] if file["dataset"] == dataset} & set(change["replaces"])
    return [*earlier(lk, number - 1).files(dataset), *sorted(own)]


def _first_copies(connection: duckdb.DuckDBPyConnection, dataset: Dataset) -> pa.Table:
    """Of the candidates, the first copy of each row that goes; from then on, this row needs no other one."""
    key, columns = IDENTITIES[dataset]
    names = [name for name in columns if name in SCHEMAS[dataset].names]
    equal = " AND ".join(f"c.{name} IS NOT DISTINCT FROM g.{name}" for name in names)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE copies AS
        SELECT {", ".join(f'"{name}"' for name in SCHEMAS[dataset].names)} FROM candidates c SEMI JOIN {dataset}_gone g
            ON c.{key} = g.{key} AND {equal}
        QUALIFY row_number() OVER (
            PARTITION BY {", ".join(names)} ORDER BY published_at NULLS LAST, unit, record
        ) = 1"""
    )
    connection.execute(
        f"CREATE OR REPLACE TABLE {dataset}_gone AS SELECT g.* FROM {dataset}_gone g ANTI JOIN copies c "
        f"ON c.{key} = g.{key} AND {equal}"
    )
    return connection.sql("FROM copies").to_arrow_table().cast(SCHEMAS[dataset])


def _files(root: str) -> set[str]:
    """The paths of all files that are there."""
    store = storage(root)
    return {store.relative(info.path) for folder in Dataset for info in store.list(folder)}


def _in(name: str, values: Iterable[str]) -> pads.Expression:
    return pads.field(name).cast(pa.string()).isin(pa.array(sorted(values), pa.string()))


def _with_restored(lk: Lake, gone: dict[str, Undone], change: Change) -> Change:
    """The change that restores undone units; its files are written."""
    by_name = {row["unit"]: (number, row) for number, row in enumerate(lk.changes.to_pylist(), 1)}
    if read := [name for name, of in sorted(gone.items()) if of.again]:
        raise InputUnusable(
            f"{lk.root}: {', '.join(read)}: will be read again, and the rows would be duplicated; nothing was changed. "
            "Read the input again"
        )
    writer, there = _Writer(lk.root, change), _files(lk.root)
    moves: list[Move] = []
    for name in sorted({of.change for of in gone.values()}):
        units = {unit for unit, of in gone.items() if of.change == name}
        number, undoing = by_name[name]
        replaced = set(undoing["replaces"])
        back = [Move(**move) for move in undoing["moves"] if move["unit"] in units and move["into"] == UNDONE]
        moves += [Move(move.unit, UNDONE, move.out_of, move.rows) for move in back]
        restored: Counter[tuple[str, str]] = Counter()
        parts: dict[tuple[Dataset, Source], list[pa.Table]] = {}
        for file in earlier(lk, number - 1).entries(*Dataset):
            if file.path not in replaced or not (unit_of(file.path) in units or _is_of_a_change(file)):
                continue
            if file.path not in there:
                raise InputUnusable(
                    f"{lk.root}: a vacuum removed {file.path}, which had rows of {', '.join(sorted(units))}. "
                    "Nothing was changed. Read their input again (--again), unless it is a topic"
                )
            table = read_checked(lk.root, file)
            rows = table.filter(_of(table, units))
            restored.update({(unit, file.dataset): n for unit, n in _by_unit(rows).items()})
            parts.setdefault((Dataset(file.dataset), Source(file.source)), []).append(rows)
        for (dataset, source), tables in parts.items():
            writer.write(dataset, source, pa.concat_tables(tables).unify_dictionaries())
        for move in back:
            if move.out_of != DUPLICATES and restored[move.unit, move.out_of] != move.rows:
                raise NotReconciled(
                    f"unit {move.unit}: {restored[move.unit, move.out_of]:,} rows of {move.out_of} were found, of "
                    f"{move.rows:,}; nothing was changed; run prestacop reconcile"
                )
    return change._replace(files=writer.files, moves=moves)


def _is_of_a_change(file: LakeFile) -> bool:
    return unit_of(file.path).startswith(CHANGE)


def _holds(root: str, file: LakeFile, units: Iterable[str]) -> bool:
    """Whether a file has a row of the units, by its statistics and that column alone."""
    store = storage(root)
    files = pads.dataset([store.full(file.path)], format="parquet", filesystem=store.filesystem)
    return bool(files.count_rows(filter=_in("unit", units)))


def _by_unit(rows: pa.Table) -> dict[str, int]:
    return value_counts(rows["unit"].cast(pa.string()))


def _of(table: pa.Table, units: Iterable[str]) -> pa.ChunkedArray:
    return pc.is_in(table["unit"].cast(pa.string()), pa.array(sorted(units), pa.string()))
