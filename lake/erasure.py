"""Erasure: files of the lake are written again without the rows that tombstones name, and the old ones are deleted.

Every way by which rows come into the tables passes here (publication, replay, undo --back), so what a worker wrote
before it knew of a tombstone is erased when it is published. :mod:`pipelines.maintenance.forget` passes all files of
the tables.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from lake.changes import Change, Move, attempted_change
from lake.files import parquet_dataset, write_unit
from lake.layout import is_object, unit_of
from lake.merge import ROW_GROUP, counts_of, less, read_checked, summed
from lake.reader import Lake, LakeFile
from lake.storage import storage
from lake.tables import LOG
from lake.tombstones import COLUMNS, Tombstones, now, put_tombstones, read_tombstones
from schemas.errors import NotReconciled
from schemas.lake import ERASED, SCHEMAS, STATS, Dataset, Source, plain, value_counts

_OBJECTS: Final = {Dataset.IMAGES: "object", Dataset.DEAD_LETTERS: "payload_object"}
"""The columns with paths of objects."""
_SURE: Final = 3_600.0
"""A temporary file that is so old, in seconds, is left of a killed process."""
_MESSAGES: Final = (Dataset.QUALIFIED, Dataset.UNQUALIFIED, Dataset.POSITIONS)
_COUNTED: Final = ["unit", "event_time", "violation_code", "area", "status"]


def without_erased(
    lk: Lake, change: Change, files: list[LakeFile], on_read: Callable[[int], None] = lambda _: None
) -> Change:
    """A change that replaces those of the files which have erased rows; what it writes has none of them.

    The tombstones of pictures of erased rows are written first. The paths of objects that erased rows name are among
    what the change replaces.

    Args:
        files: that are in the lake, or will be after the change.
        on_read: gets the bytes of each file that was looked at.
    """
    tombstones = read_tombstones(lk.root)
    if not tombstones:
        return change
    of = {dataset: [file for file in files if file.dataset == dataset] for dataset in Dataset}
    holding = [file for dataset in _MESSAGES for file in of[dataset] if _holds(lk.root, tombstones, file, on_read)]
    images = (image for file in holding for image in pictures(tombstones, _scan(lk.root, file.path)))
    tombstones = bury_pictures(lk.root, tombstones, images)
    others = (*of[Dataset.IMAGES], *of[Dataset.DEAD_LETTERS])
    holding += [file for file in others if _holds(lk.root, tombstones, file, on_read)]
    return _rewritten(lk, change, tombstones, holding, of[Dataset.STATS]) if holding else change


def bury_pictures(root: str, tombstones: Tombstones, images: Iterable[str]) -> Tombstones:
    """Write tombstones of these pictures; gives all."""
    if new := tombstones.without_known(sorted(set(images)), now()):
        put_tombstones(root, new, "prestacop", "the picture of an erased row")
    return tombstones.with_more(new)


def _scan(root: str, path: str) -> pa.Table:
    """What tombstones look at in a file."""
    dataset = Dataset(path.partition("/")[0])
    columns = [name for name in COLUMNS if name in SCHEMAS[dataset].names]
    return parquet_dataset(root, dataset, [path]).to_table(columns=columns, cache_metadata=False)


def _holds(root: str, tombstones: Tombstones, file: LakeFile, on_read: Callable[[int], None]) -> bool:
    found = bool(tombstones.erased(_scan(root, file.path)).any())
    on_read(file.bytes)
    return found


def pictures(tombstones: Tombstones, rows: pa.Table) -> list[str]:
    """The pictures of the erased ones among rows of messages."""
    if "image_id" not in rows.column_names or "object" in rows.column_names:
        return []
    found: list[str] = rows.filter(pa.array(tombstones.erased(rows)))["image_id"].drop_null().to_pylist()
    return found


def _rewritten(
    lk: Lake, change: Change, tombstones: Tombstones, holding: list[LakeFile], stats: list[LakeFile]
) -> Change:
    files, replaces = list(change.files), list(change.replaces)
    part = max((int(unit_of(file.path).rpartition("-")[2]) for file in files), default=0)
    removed: Counter[tuple[str, str]] = Counter()
    to_count: dict[Dataset, list[pa.Table]] = {}

    def replace(file: LakeFile, kept: pa.Table) -> None:
        nonlocal part
        part += 1
        replaces.append(file.path)
        if kept.num_rows:
            name, dataset, source = change.file_name(part), Dataset(file.dataset), Source(file.source)
            files.extend(write_unit(lk.root, dataset, source, name, kept.to_batches(), ROW_GROUP))

    for file in lk.with_checksums(holding):
        dataset, table = Dataset(file.dataset), read_checked(lk.root, file)
        erased = pa.array(tombstones.erased(table))
        gone = table.filter(erased)
        for unit, n in value_counts(gone["unit"].cast(pa.string())).items():
            removed[unit, file.dataset] += n
        if dataset in _OBJECTS:
            replaces += gone[_OBJECTS[dataset]].drop_null().unique().to_pylist()
        else:
            to_count.setdefault(dataset, []).append(gone.select([n for n in _COUNTED if n in gone.column_names]))
        replace(file, table.filter(pc.invert(erased)))
    counted = _less_counts(lk, stats, to_count)
    for file in lk.with_checksums(stats) if counted.num_rows else ():
        kept, counted = less(lk.root, file, counted)
        if kept is not None:
            replace(file, kept)
    if counted.num_rows:
        raise NotReconciled(f"{lk.root}: the statistics do not have what is erased; run prestacop reconcile")
    moves = [Move(unit, dataset, ERASED, rows) for (unit, dataset), rows in sorted(removed.items())]
    return change._replace(files=files, replaces=replaces, moves=[*change.moves, *moves])


def _less_counts(lk: Lake, stats: list[LakeFile], rows: dict[Dataset, list[pa.Table]]) -> pa.Table:
    """What the statistics lose."""
    found = [STATS.empty_table()]
    for dataset, tables in rows.items():
        gone = pa.concat_tables([table.cast(plain(table.schema)) for table in tables])
        paths = {file.path for file in (*lk.entries(Dataset.STATS), *stats)}
        of_units = pads.field("unit").cast(pa.string()).isin(gone["unit"].unique())
        before = parquet_dataset(lk.root, Dataset.STATS, sorted(paths)).to_table(filter=of_units)
        counts = counts_of(before, dataset, gone)
        place = counts.schema.get_field_index("n")
        found.append(counts.set_column(place, STATS.field("n"), pc.negate(counts["n"])))
    return summed(pa.concat_tables(found).unify_dictionaries())


def has_erased(moves: Iterable[Move]) -> bool:
    """Whether a change has erased rows."""
    return any(move.into == ERASED for move in moves)


def delete_erased(lk: Lake, replaced: Iterable[str]) -> int:
    """Delete what changes with erased rows have replaced: files, and objects that no row names any more; gives the
    number of files and objects that were there.

    Args:
        lk: after these changes.
    """
    store = storage(lk.root)
    paths = sorted(set(replaced))
    named = _named_objects(lk) if any(map(is_object, paths)) else set()
    paths = [path for path in paths if path not in named and store.is_file(path)]
    store.delete_all(paths)
    return len(paths)


def _named_objects(lk: Lake) -> set[str]:
    found: set[str] = set()
    for dataset, column in _OBJECTS.items():
        found.update(lk.dataset(dataset).to_table(columns=[column])[column].drop_null().unique().to_pylist())
    return found


def erased_by_changes(changes: pa.Table) -> Iterator[str]:
    """The paths that changes with erased rows have replaced."""
    for change in changes.select(["replaces", "moves"]).to_pylist():
        if any(move["into"] == ERASED for move in change["moves"]):
            yield from change["replaces"]


class LeftOver(NamedTuple):
    """Files that readers do not open and that have erased rows, or may have: paths below the root."""

    done: list[str]
    """Replaced ones, those of changes that lost, and temporary files of killed processes."""
    open: list[str]
    """Of units that are not committed, or may be in the making."""


def left_over(lk: Lake) -> LeftOver:
    """Lists and reads all files of the datasets that are not live; reads the rows of the ledger of all time."""
    store, tombstones = storage(lk.root), read_tombstones(lk.root)
    units = set(lk.as_committed["unit"].to_pylist())
    found = LeftOver([], [])
    for dataset in (*_MESSAGES, *_OBJECTS):
        live = set(lk.files(dataset))
        for info in store.list(str(dataset)):
            path = store.relative(info.path)
            is_data = path.endswith(".parquet") and f"/{LOG}/" not in path
            if path in live or not is_data or not _has(lk.root, tombstones, path):
                continue
            number = attempted_change(path)
            is_done = unit_of(path) in units if number is None else number <= lk.number
            (found.done if is_done else found.open).append(path)
    for info in store.temporaries():
        is_old = time.time() - info.mtime_ns / 1e9 > _SURE
        (found.done if is_old else found.open).append(store.relative(info.path))
    return found


def _has(root: str, tombstones: Tombstones, path: str) -> bool:
    try:
        return bool(tombstones.erased(_scan(root, path)).any())
    except FileNotFoundError:  # another process has deleted it
        return False


def preview(lk: Lake, tombstones: Tombstones, on_read: Callable[[int], None]) -> Counter[str]:
    """How many rows of each dataset these tombstones erase, pictures of erased rows included.

    Args:
        on_read: gets the bytes of each file that was looked at.
    """
    found: Counter[str] = Counter()
    images: set[str] = set()
    for dataset in (*_MESSAGES, *_OBJECTS):
        tombstones = tombstones.with_more(tombstones.without_known(images, 0))
        for file in lk.entries(dataset):
            rows = _scan(lk.root, file.path)
            found[str(dataset)] += int(tombstones.erased(rows).sum())
            images.update(pictures(tombstones, rows))
            on_read(file.bytes)
    return +found
