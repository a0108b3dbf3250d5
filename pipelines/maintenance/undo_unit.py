"""Undo: units are taken out of the lake, and put back, each by one change of its files.

The ledger's rows of the units stay, so that what they were made from is not read again; their counts are moved to
``undone``. Files of changes that hold rows of them are written again without these.
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
from lake.reader import LakeFile, counted
from lake.storage import storage
from pipelines.maintenance.compaction_graph import commit_change
from schemas.errors import InputUnusable, NotReconciled
from schemas.lake import SCHEMAS, STATS, UNDONE, UTC, Dataset, Source
from sources.progress import progress
from sources.units import DUPLICATES
from transforms.outputs import OUTPUT_DATASETS
from transforms.qualify import BRANCHES


class Standing(NamedTuple):
    """Units of a lake, as they are now."""

    units: dict[str, dict[str, Any]]
    """Those that are in the lake: the ledger's rows, with the counts of now."""
    undone: dict[str, Undone]


def standing(lk: Lake, wanted: Sequence[str]) -> Standing:
    """The units that have these names, or were made from the input of that path.

    Raises InputUnusable where there is none.
    """
    names = pa.array(sorted(set(wanted)), pa.string())
    column = pc.or_(pc.is_in(lk.ledger["unit"], names), pc.is_in(lk.ledger["path"], names))
    rows = lk.ledger.filter(column).to_pylist()
    found = {row["unit"] for row in rows} | {row["path"] for row in rows}
    if missing := [name for name in names.to_pylist() if name not in found]:
        raise InputUnusable(
            f"{lk.root}: {', '.join(missing)}: neither a unit of the ledger nor the path of one; nothing was changed. "
            "--list shows all units"
        )
    gone = undone(lk.changes)
    units = {row["unit"]: row for row in rows}
    return Standing(
        {name: row for name, row in units.items() if name not in gone},
        {name: gone[name] for name in units if name in gone},
    )


def undo(root: str, wanted: Sequence[str], what: str) -> dict[str, Any] | None:
    """Take units out of the lake.

    Args:
        wanted: their names, or the paths of what they were made from.
        what: who does it and why, for people.

    Returns:
        The change's row of the ledger; None where all were undone before.

    Raises:
        InputUnusable: where one is not in the ledger; where it cannot be taken out exactly any more.
        NotReconciled: where the files do not hold the rows that the ledger says.
        InputChanged: where it was held for so long that a vacuum removed what it was to read.
    """

    def attempt(lk: Lake, change: Change) -> None:
        units = {name: row for name, row in standing(lk, wanted).units.items() if row["rows_in"]}
        if units:
            put_change(root, _without(lk, units, change._replace(what=what)))

    return commit_change(root, "undo", attempt)


def put_back(root: str, wanted: Sequence[str], what: str) -> dict[str, Any] | None:
    """Take the undoing of units back: the same rows are in the lake again. The rest is as of :func:`undo`.

    Raises InputUnusable also where a vacuum has removed their files.
    """

    def attempt(lk: Lake, change: Change) -> None:
        if gone := standing(lk, wanted).undone:
            put_change(root, _again(lk, gone, change._replace(what=what)))

    return commit_change(root, "undo --back", attempt)


def read_again(root: str, wanted: Sequence[str], what: str) -> dict[str, Any] | None:
    """Let undone units be read again, as other units, by the next run that finds their bytes. The rest is as of
    :func:`undo`.

    Raises InputUnusable also for units of a topic: behind what a stream has read it does not go back.
    """

    def attempt(lk: Lake, change: Change) -> None:
        gone = standing(lk, wanted).undone
        paths = dict(zip(lk.ledger["unit"].to_pylist(), lk.ledger["path"].to_pylist(), strict=True))
        if of_topics := [name for name in sorted(gone) if paths[name].startswith(_TOPICS)]:
            raise InputUnusable(
                f"{root}: {', '.join(of_topics)}: made from a topic, which is not read again; nothing was changed. "
                "--back puts the same rows back, as long as no vacuum has removed them"
            )
        if moves := [Move(name, UNDONE, UNDONE, of.rows) for name, of in gone.items() if not of.again]:
            put_change(root, change._replace(what=what, moves=moves))

    change = commit_change(root, "undo --again", attempt)
    allow(root, (name for name, of in standing(Lake(root), wanted).undone.items() if of.again))
    return change


_TOPICS = ("kafka:", "pubsub:")
"""How the paths of units begin that were made from one."""


class _Writer:
    """Writes files of a change, and remembers them."""

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
    """The change that takes the units out; its files are written."""
    files = lk.entries(*Dataset)
    progress.planned(sum(file.bytes for file in files))
    copies = _left_out(lk, units)
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


def _left_out(lk: Lake, units: dict[str, dict[str, Any]]) -> dict[Dataset, pa.Table]:
    """Copies of the units' messages that stood in other units, and that compactions have left out because these had
    them: without the units they are the messages. With the statistics that count them.

    Raises InputUnusable where a vacuum has removed the files that say which these are.
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
        before = Lake(lk.root, changes=number - 1)
        if not there.issuperset(before.files(Dataset.STATS) + [p for branch in BRANCHES for p in before.files(branch)]):
            raise InputUnusable(
                f"{lk.root}: compactions have left out copies of messages, and a vacuum has removed the files with "
                f"them: whether other units had messages of {', '.join(sorted(units))} too, nobody can say any more. "
                "Nothing was changed. Load what is to stay into a new lake"
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
"""What statistics are made of."""


def _dropped(
    before: Lake, ids: pa.Array, others: set[str], seen: set[tuple[str, int]]
) -> Iterator[tuple[Dataset, pa.Table]]:
    """The rows of other units with these ids that are not there any more, and their counts; they are seen then."""
    told = []
    for branch in BRANCHES:
        rows = _claiming(before, branch, ids, others)
        places = list(zip(rows["unit"].to_pylist(), rows["record"].to_pylist(), strict=True))
        rows = rows.filter(pa.array([place not in seen for place in places], pa.bool_()))
        seen.update(places)
        if rows.num_rows:
            yield branch, rows
            told += [{"dataset": str(branch), **row} for row in rows.to_pylist()]
    if told:
        with before.connect() as connection:
            connection.register("left_out", pa.Table.from_pylist(told, schema=_COUNTED))
            counts = connection.sql(f"SELECT {', '.join(STATS.names)} FROM ({counted('left_out')})").to_arrow_table()
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


def _again(lk: Lake, gone: dict[str, Undone], change: Change) -> Change:
    """The change that puts undone units back; its files are written."""
    by_name = {row["unit"]: (number, row) for number, row in enumerate(lk.changes.to_pylist(), 1)}
    if read := [name for name, of in sorted(gone.items()) if of.again]:
        raise InputUnusable(
            f"{lk.root}: {', '.join(read)}: may be read again, and then the rows would be there twice; nothing was "
            "changed. Read the input again"
        )
    writer, there = _Writer(lk.root, change), _files(lk.root)
    moves: list[Move] = []
    for name in sorted({of.change for of in gone.values()}):
        units = {unit for unit, of in gone.items() if of.change == name}
        number, undoing = by_name[name]
        replaced = set(undoing["replaces"])
        back = [Move(**move) for move in undoing["moves"] if move["unit"] in units and move["into"] == UNDONE]
        moves += [Move(move.unit, UNDONE, move.out_of, move.rows) for move in back]
        held: Counter[tuple[str, str]] = Counter()
        parts: dict[tuple[Dataset, Source], list[pa.Table]] = {}
        for file in Lake(lk.root, changes=number - 1).entries(*Dataset):
            if file.path not in replaced or not (unit_of(file.path) in units or _is_of_a_change(file)):
                continue
            if file.path not in there:
                raise InputUnusable(
                    f"{lk.root}: a vacuum has removed {file.path}, which held rows of {', '.join(sorted(units))}. "
                    "Nothing was changed. Let their input be read again (--again), unless it is a topic"
                )
            table = read_checked(lk.root, file)
            rows = table.filter(_of(table, units))
            held.update({(unit, file.dataset): n for unit, n in _by_unit(rows).items()})
            parts.setdefault((Dataset(file.dataset), Source(file.source)), []).append(rows)
        for (dataset, source), tables in parts.items():
            writer.write(dataset, source, pa.concat_tables(tables).unify_dictionaries())
        for move in back:
            if move.out_of != DUPLICATES and held[move.unit, move.out_of] != move.rows:
                raise NotReconciled(
                    f"unit {move.unit}: {held[move.unit, move.out_of]:,} rows of {move.out_of} are left of "
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
