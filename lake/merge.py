"""Many small files of one directory become one: sorted, without the rows that readers do not see anyway."""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from lake.changes import CHANGE, Move
from lake.files import WrittenFile, write_unit
from lake.layout import unit_of
from lake.reader import LakeFile
from lake.storage import storage
from schemas.errors import NotReconciled
from schemas.lake import SCHEMAS, STATS, Dataset, Source, empty

ROW_GROUP = 1 << 17
MAX_ROWS = 1 << 20
"""Of a merged file: it is made in memory."""
MAX_FILES = 2_000
"""That become one: each takes 50 kB while they are merged."""
_RECORDS = 1 << 40

Drop = dict[str, list[int]]
"""By unit the numbers of the records that are left out."""


class Bin(NamedTuple):
    """Files of one directory that become one file."""

    dataset: Dataset
    source: Source
    files: tuple[LakeFile, ...]
    drop: Drop
    add: pa.Table | None = None
    """Of statistics: further rows of :data:`schemas.lake.STATS`, which take off what is dropped elsewhere."""


class Merged(NamedTuple):
    """What became of a bin."""

    files: list[WrittenFile]
    replaces: list[str]
    moves: list[Move]


def bins(files: list[LakeFile], drop: Drop, target: int) -> list[Bin]:
    """Which files of a directory to merge: those much smaller than ``target`` bytes, and those with rows to drop.

    Args:
        files: of one directory.
        drop: of all its files.
    """
    touched = {file.path for file in files if _units(file, drop)}
    chosen: list[list[LakeFile]] = []
    rows = size = 0
    for file in sorted(files, key=lambda f: f.path):
        small = file.bytes < target // 2 and file.rows < MAX_ROWS // 2
        if not small and file.path not in touched:
            continue
        full = not chosen or size + file.bytes > target or rows + file.rows > MAX_ROWS
        if full or len(chosen[-1]) == MAX_FILES:
            chosen.append([])
            rows = size = 0
        chosen[-1].append(file)
        rows, size = rows + file.rows, size + file.bytes
    found = []
    for together in chosen:
        if len(together) > 1 or together[0].path in touched:
            first = together[0]
            units = sorted({unit for file in together for unit in _units(file, drop)})
            dropped = {unit: drop[unit] for unit in units}
            found.append(Bin(Dataset(first.dataset), Source(first.source), tuple(together), dropped))
    return found


def _units(file: LakeFile, drop: Drop) -> set[str]:
    """The units among those of ``drop`` that the file may have rows of."""
    name = unit_of(file.path)
    return set(drop) if name.startswith(CHANGE) else {name} & drop.keys()


def merge(root: str, piece: Bin, name: str) -> Merged | None:
    """Write the bin's rows as one file of this name; None where that would change nothing.

    Raises NotReconciled where a file does not hold the rows that the ledger says.
    """
    table = _read(root, piece)
    expected = sum(file.rows for file in piece.files)
    if table.num_rows != expected:
        names = ", ".join(file.path for file in piece.files)
        raise NotReconciled(f"{table.num_rows} rows in files of {expected}: {names}; run python -m pipelines.reconcile")
    table, moves = _without(table, piece)
    if piece.dataset == Dataset.STATS:
        table = _summed(table if piece.add is None else pa.concat_tables([table, piece.add]))
    if len(piece.files) == 1 and not moves and piece.add is None:
        return None
    batches = table.to_batches() if table.num_rows else [empty(SCHEMAS[piece.dataset])]
    files = write_unit(root, piece.dataset, piece.source, name, batches, ROW_GROUP)
    return Merged(files, [file.path for file in piece.files], moves)


def _read(root: str, piece: Bin) -> pa.Table:
    schema = SCHEMAS[piece.dataset]
    store = storage(root)
    paths = [store.full(file.path) for file in piece.files]
    files = pads.dataset(paths, schema=schema, format="parquet", filesystem=store.filesystem)
    return files.to_table(cache_metadata=False).unify_dictionaries()


def _without(table: pa.Table, piece: Bin) -> tuple[pa.Table, list[Move]]:
    """The table without the rows that are to be dropped, which count as duplicates from now on."""
    if not any(piece.drop.values()):
        return table, []
    units = list(piece.drop)
    column = table["unit"].combine_chunks().cast(pa.string())
    place = pc.index_in(column, value_set=pa.array(units)).fill_null(len(units)).to_numpy().astype(np.int64)
    wanted = [np.array(records, np.int64) + number * _RECORDS for number, records in enumerate(piece.drop.values())]
    dropped = np.isin(place * _RECORDS + table["record"].to_numpy(), np.concatenate(wanted))
    gone = Counter(place[dropped].tolist())
    moves = [Move(units[number], str(piece.dataset), "duplicates", rows) for number, rows in sorted(gone.items())]
    return table.filter(pa.array(~dropped)), moves


def _summed(table: pa.Table) -> pa.Table:
    """Statistics with one row a unit and what is counted."""
    keys = [name for name in STATS.names if name != "n"]
    plain = pa.schema(
        [field.with_type(pa.string()) if pa.types.is_dictionary(field.type) else field for field in STATS]
    )
    sums = table.cast(plain).group_by(keys).aggregate([("n", "sum")]).rename_columns({"n_sum": "n"}).select(STATS.names)
    return sums.filter(pc.not_equal(sums["n"], 0)).sort_by("window_start").cast(STATS)
