"""Undo: remove units from the lake, or restore them, each by one change of its files.

The ledger keeps the units' rows, so that their input is not read again; their counts move to ``undone``. Files of
changes that hold rows of them are rewritten without these.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from lake import Lake
from lake.again import allow
from lake.changes import CHANGE, Change, Move, Undone, put_change, undone
from lake.files import WrittenFile, write_unit
from lake.layout import unit_of
from lake.merge import ROW_GROUP, read_checked
from lake.reader import LakeFile, earlier
from lake.storage import storage
from lake.views import counted
from pipelines.maintenance.compaction_graph import commit_change
from schemas.errors import InputUnusable, NotReconciled
from schemas.lake import DUPLICATES, SCHEMAS, STATS, UNDONE, UTC, Dataset, Source
from sources.progress import progress
from transforms.outputs import OUTPUT_DATASETS
from transforms.qualify import BRANCHES


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
            put_change(root, _without(lk, units, change._replace(what=what)))

    return commit_change(root, "undo", attempt)


def put_back(root: str, wanted: Sequence[str], what: str) -> dict[str, Any] | None:
    """Restore the rows of undone units. Arguments, result and errors are those of :func:`undo`.

    Raises InputUnusable also where a vacuum has removed their files.
    """

    def attempt(lk: Lake, change: Change) -> None:
        if gone := find_units(lk, wanted).undone:
            put_change(root, _with_restored(lk, gone, change._replace(what=what)))

    return commit_change(root, "undo --back", attempt)


def read_again(root: str, wanted: Sequence[str], what: str) -> dict[str, Any] | None:
    """Let the next run read the input of undone units again, as other units. Arguments, result and errors are those of
    :func:`undo`.

    Raises InputUnusable also for units of a topic: a stream does not go back behind its committed offsets.
    """

    def attempt(lk: Lake, change: Change) -> None:
        gone = find_units(lk, wanted).undone
        paths = dict(zip(lk.ledger["unit"].to_pylist(), lk.ledger["path"].to_pylist(), strict=True))
        if of_topics := [name for name in sorted(gone) if paths[name].startswith(_TOPICS)]:
            raise InputUnusable(
                f"{root}: {', '.join(of_topics)}: come from a topic, which is not read again; nothing was changed. "
                "--back restores the same rows, until a vacuum removes their files"
            )
        if moves := [Move(name, UNDONE, UNDONE, of.rows) for name, of in gone.items() if not of.again]:
            put_change(root, change._replace(what=what, moves=moves))

    change = commit_change(root, "undo --again", attempt)
    allow(root, (name for name, of in find_units(Lake(root), wanted).undone.items() if of.again))
    return change


_TOPICS = ("kafka:", "pubsub:")
"""How the paths of units of topics begin."""


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
    moves = [Move(name, what, UNDONE, row[what]) for name, row in units.items() for what in _COUNTS if row[what]]
    for dataset, rows in copies.items():
        writer.write(dataset, Source.DRONES, rows)
        if dataset != Dataset.STATS:
            moves += [Move(unit, DUPLICATES, str(dataset), n) for unit, n in sorted(_by_unit(rows).items())]
    return change._replace(files=writer.files, replaces=replaces, moves=moves)


_COUNTS = (*map(str, OUTPUT_DATASETS), DUPLICATES)


def _removed_duplicates(lk: Lake, units: dict[str, dict[str, Any]]) -> dict[Dataset, pa.Table]:
    """Rows of other units that compactions removed as duplicates of the units' messages, and that must be restored
    when these units go; with the statistics that count them.

    Raises InputUnusable where a vacuum has removed the files that hold them.
    """
    if not any(row["source"] == Source.DRONES for row in units.values()):
        return {}
    gone = {*units, *undone(lk.changes)}
    after: dict[int, set[str]] = {}
    for number, moves in enumerate(lk.changes["moves"].to_pylist(), 1):
        others = {move["unit"] for move in moves if move["into"] == DUPLICATES} - gone
        if others:
            after[number] = others
    if not after:
        return {}
    ids = pa.concat_arrays([_ids(lk, branch, units) for branch in BRANCHES])
    found: dict[Dataset, list[pa.Table]] = {}
    seen = {(row["unit"], row["record"]) for branch in BRANCHES for row in _claiming(lk, branch, ids, None).to_pylist()}
    there = _files(lk.root)
    for number, others in after.items():
        before = earlier(lk, number - 1)
        if not there.issuperset(before.files(Dataset.STATS) + [p for branch in BRANCHES for p in before.files(branch)]):
            raise InputUnusable(
                f"{lk.root}: compactions removed duplicates, and a vacuum removed their files, so that duplicates of "
                f"messages of {', '.join(sorted(units))} in other units cannot be restored. Nothing was changed. Load "
                "the inputs that are to stay into a new lake"
            )
        for branch, rows in _dropped(before, ids, others, seen):
            found.setdefault(branch, []).append(rows)
    return {dataset: pa.concat_tables(tables) for dataset, tables in found.items()}


def _files(root: str) -> set[str]:
    """The paths of all files that are there."""
    store = storage(root)
    return {info.path.removeprefix(f"{store.base}/") for folder in Dataset for info in store.list(folder)}


_COUNTED = pa.schema(
    [
        ("dataset", pa.string()), ("unit", pa.string()), ("event_time", UTC), ("violation_code", pa.int16()),
        ("area", pa.string()), ("status", pa.string()),
    ]
)  # fmt: skip
"""The columns that statistics count."""


def _dropped(
    before: Lake, ids: pa.Array, others: set[str], seen: set[tuple[str, int]]
) -> Iterator[tuple[Dataset, pa.Table]]:
    """The removed rows of other units with these ids, and the statistics that count them; adds them to ``seen``."""
    restored: list[dict[str, Any]] = []
    for branch in BRANCHES:
        rows = _claiming(before, branch, ids, others)
        places = list(zip(rows["unit"].to_pylist(), rows["record"].to_pylist(), strict=True))
        rows = rows.filter(pa.array([place not in seen for place in places], pa.bool_()))
        seen.update(places)
        if rows.num_rows:
            yield branch, rows
            restored += [{"dataset": str(branch), **row} for row in rows.to_pylist()]
    if restored:
        with before.connect() as connection:
            connection.register("restored", pa.Table.from_pylist(restored, schema=_COUNTED))
            counts = connection.sql(f"SELECT {', '.join(STATS.names)} FROM ({counted('restored')})").to_arrow_table()
        yield Dataset.STATS, counts.cast(STATS)


def _ids(lk: Lake, branch: Dataset, units: Iterable[str]) -> pa.Array:
    """The message_ids of the units' rows."""
    rows = lk.dataset(branch).to_table(columns=["message_id"], filter=_in("unit", units))
    return rows["message_id"].combine_chunks().drop_null()


def _claiming(lk: Lake, branch: Dataset, ids: pa.Array, units: Iterable[str] | None) -> pa.Table:
    """The rows of units, all if None, that have one of these ids."""
    wanted = pads.field("message_id").isin(ids)
    if units is not None:
        wanted &= _in("unit", units)
    return lk.dataset(branch).to_table(columns=SCHEMAS[branch].names, filter=wanted).unify_dictionaries()


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
    found = rows["unit"].cast(pa.string()).value_counts()
    return dict(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True))


def _of(table: pa.Table, units: Iterable[str]) -> pa.ChunkedArray:
    return pc.is_in(table["unit"].cast(pa.string()), pa.array(sorted(units), pa.string()))
