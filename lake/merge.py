"""Merge many small files of one directory into one, sorted."""

from collections.abc import Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import accumulate
from typing import Final, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from lake.changes import Move
from lake.checksums import sha256
from lake.faults import damaged
from lake.files import WrittenFile, write_unit
from lake.layout import CHANGE, is_part, part_name, unit_of
from lake.reader import LakeFile
from lake.storage import storage
from lake.views import counted
from schemas.errors import NotReconciled
from schemas.lake import SCHEMAS, STATS, Dataset, Source, empty, plain, with_all_columns

ROW_GROUP = 1 << 17
MAX_ROWS = 1 << 20
"""Rows of a merged file, which is built in memory."""
MAX_BYTES: Final = 256 << 20
"""Uncompressed bytes of a merged file: 64 MB of files may hold gigabytes of equal texts."""
BATCH_BYTES: Final = 8 << 20
"""Uncompressed bytes of a batch, about."""
FEW_ROWS, MANY_ROWS = 64, 1 << 16
"""Limits of the rows of a batch."""
MAX_FILES = 2_000
"""Files that are merged into one."""
GROWTH: Final = 2
"""A file is merged with smaller ones only where it has at most so many times their bytes."""
READS: Final = 8
"""Files that are read in parallel."""


class Bin(NamedTuple):
    """Files of one directory to merge into one file, or several parts of one."""

    dataset: Dataset
    source: Source
    files: tuple[LakeFile, ...]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


class Merged(NamedTuple):
    """The result of merging a bin."""

    files: list[WrittenFile]
    replaces: list[str]
    moves: list[Move]


def bins(files: list[LakeFile], target: int) -> list[Bin]:
    """Which files of a directory to merge: those much smaller than ``target`` bytes, but a file is only written again
    where this makes it grow by half. So a row is written a few times at most, however often new files are merged.

    Args:
        files: of one directory.
    """
    chosen: list[list[LakeFile]] = []
    rows = size = 0
    for file in sorted(_worth_merging(files, target), key=lambda f: f.path):
        full = not chosen or size + file.bytes > target or rows + file.rows > MAX_ROWS
        if full or len(chosen[-1]) == MAX_FILES:
            chosen.append([])
            rows = size = 0
        chosen[-1].append(file)
        rows, size = rows + file.rows, size + file.bytes
    several = (tuple(together) for together in chosen if len(together) > 1)
    return [Bin(Dataset(together[0].dataset), Source(together[0].source), together) for together in several]


def _worth_merging(files: list[LakeFile], target: int) -> list[LakeFile]:
    """The smallest of the files, up to the last that is at most :data:`GROWTH` times as large as all before it."""
    small = [file for file in files if file.bytes < target // 2 and file.rows < MAX_ROWS // 2 and not _is_full(file)]
    small.sort(key=lambda f: f.bytes)
    smaller = accumulate((file.bytes for file in small), initial=0)
    joins = [n for n, (file, size) in enumerate(zip(small, smaller, strict=False)) if file.bytes <= GROWTH * size]
    return small[: joins[-1] + 1] if joins else []


def _is_full(file: LakeFile) -> bool:
    """Whether it is a part that reached the limit of uncompressed bytes."""
    return unit_of(file.path).startswith(CHANGE) and is_part(file.path)


def merge(root: str, piece: Bin, name: str) -> Merged:
    """Write the bin's rows as one file of this name, or several parts above :data:`MAX_BYTES`.

    Raises NotReconciled where a file does not hold the rows that the ledger says, LakeDamaged where it was changed.
    """
    files: list[WrittenFile] = []
    for number, table in _tables(root, piece):
        rows = summed(table) if piece.dataset == Dataset.STATS else table
        batches = rows.to_batches() if rows.num_rows else [empty(SCHEMAS[piece.dataset])]
        files += write_unit(root, piece.dataset, piece.source, part_name(name, number), batches, ROW_GROUP)
    return Merged(files, [file.path for file in piece.files], [])


def _tables(root: str, piece: Bin) -> Iterator[tuple[int, pa.Table]]:
    """The bin's rows in tables of bounded size, each with its number: 0 for a single one, else from 1."""
    schema = SCHEMAS[piece.dataset]
    collected: list[pa.RecordBatch] = [empty(schema)]
    size = number = 0
    for batch in (batch for file, data in _contents(root, piece.files) for batch in _batches(file, data, schema)):
        more = _unpacked(batch)
        if size and size + more > MAX_BYTES:
            number += 1
            yield number, pa.Table.from_batches(collected, schema).unify_dictionaries()
            collected, size = [], 0
        collected.append(batch)
        size += more
    yield number + bool(number), pa.Table.from_batches(collected, schema).unify_dictionaries()


def read_checked(root: str, file: LakeFile) -> pa.Table:
    """The rows of a file. Raises NotReconciled where they are not as many as the ledger says, LakeDamaged where the
    file was changed."""
    schema = SCHEMAS[Dataset(file.dataset)]
    batches = [empty(schema), *_batches(file, _content(root, file), schema)]
    return pa.Table.from_batches(batches, schema).unify_dictionaries()


def _contents(root: str, files: Sequence[LakeFile]) -> Iterator[tuple[LakeFile, bytes]]:
    """The files with their bytes, several read in parallel, as opening a small one is mostly waiting."""
    with ThreadPoolExecutor(READS) as pool:
        for start in range(0, len(files), READS):
            some = files[start : start + READS]
            yield from zip(some, pool.map(partial(_content, root), some), strict=True)


def _content(root: str, file: LakeFile) -> bytes:
    data = storage(root).read(file.path)
    if file.sha256 is not None and sha256(data) != file.sha256:
        # Else damaged data would get a new, valid checksum.
        raise damaged(ValueError("its checksum does not match"), f"{root}/{file.path}")
    return data


def _batches(file: LakeFile, data: bytes, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of a file as record batches of about :data:`BATCH_BYTES`, with the columns that the schema has."""
    rows = 0
    try:
        parquet = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        for batch in parquet.iter_batches(batch_size=_rows_at_once(parquet)):
            rows += batch.num_rows
            yield with_all_columns(batch, schema)
    except (pa.ArrowException, OSError) as error:
        raise damaged(error, file.path) from error
    if rows != file.rows:
        raise NotReconciled(f"{file.path} holds {rows:,} rows, the ledger says {file.rows:,}; run prestacop reconcile")


def _rows_at_once(parquet: pq.ParquetFile) -> int:
    metadata = parquet.metadata
    groups = [metadata.row_group(n) for n in range(metadata.num_row_groups)]
    texts = [n for n, field in enumerate(parquet.schema_arrow) if field.type in (pa.binary(), pa.string())]
    names = {parquet.schema_arrow.field(n).name for n in texts}
    columns = [group.column(n) for group in groups for n in range(group.num_columns)]
    if any(column.has_dictionary_page and column.path_in_schema in names for column in columns):
        return FEW_ROWS  # a dictionary stores a text once for all rows
    unpacked: int = sum(group.total_byte_size for group in groups)
    rows: int = metadata.num_rows
    return max(FEW_ROWS, min(BATCH_BYTES * rows // max(unpacked, 1), MANY_ROWS))


def _unpacked(batch: pa.RecordBatch) -> int:
    """About the bytes of a batch in memory, without empty columns and dictionaries."""
    filled = (column for column in batch.columns if column.null_count < len(column))
    sizes: list[int] = [(c.indices if isinstance(c, pa.DictionaryArray) else c).nbytes for c in filled]
    return sum(sizes)


def summed(table: pa.Table) -> pa.Table:
    """Statistics with one row per unit and key."""
    keys = [name for name in STATS.names if name != "n"]
    sums = table.cast(plain(STATS)).group_by(keys).aggregate([("n", "sum")])
    sums = sums.rename_columns({"n_sum": "n"}).select(STATS.names)
    return sums.filter(pc.not_equal(sums["n"], 0)).sort_by("window_start").cast(STATS)


def may_hold(file: LakeFile, units: Container[str]) -> bool:
    """Whether a file may have rows of these units, by its name."""
    writer = unit_of(file.path)
    return writer.startswith(CHANGE) or writer in units


def less(root: str, file: LakeFile, counted: pa.Table) -> tuple[pa.Table | None, pa.Table]:
    """The statistics of a file with these counts, of its units, added: None where there are none; and the other counts,
    since those of a unit may be in several files."""
    if not may_hold(file, counted["unit"].to_pylist()):
        return None, counted
    table = read_checked(root, file)
    here = pc.is_in(counted["unit"].cast(pa.string()), table["unit"].cast(pa.string()).unique())
    mine, others = counted.filter(here), counted.filter(pc.invert(here))
    return (summed(pa.concat_tables([table, mine]).unify_dictionaries()) if mine.num_rows else None), others


def as_lake_files(files: Iterable[WrittenFile]) -> list[LakeFile]:
    """The files of datasets among those that a change has written."""
    of_datasets = (file for file in files if file.dataset in list(Dataset))
    return [LakeFile(f.dataset, f.path.split("/")[1].removeprefix("source="), *f[1:]) for f in of_datasets]


def counts_of(stats: pads.Dataset | pa.Table, dataset: Dataset, rows: pa.Table) -> pa.Table:
    """The statistics that count rows of messages.

    Args:
        stats: that counted them before, with others.
        rows: of the dataset.
    """
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("stats_before", stats)
        connection.register("rows_of_messages", rows)
        code = "" if "violation_code" in rows.column_names else ", NULL::SMALLINT AS violation_code"
        status = "" if "status" in rows.column_names else ", NULL AS status"
        connection.execute(
            f"CREATE TABLE counted_rows AS SELECT '{dataset}' AS dataset{code}{status}, * FROM rows_of_messages"
        )
        counts = connection.sql(f"SELECT {', '.join(STATS.names)} FROM ({counted('counted_rows', 'stats_before')})")
        return counts.to_arrow_table().cast(STATS)
