"""Compaction as a graph: bins of small files in, one change of the lake out.

bins ─► Reshuffle ─► Merge ─► Together ─► Commit: one change, in the ledger
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from lake import Lake, filled_lake
from lake.changes import Change, merged_ledger, put_change, read_changes, reading
from lake.layout import data_path
from lake.ledger import merge_ledger
from lake.merge import Bin, Drop, Merged, bins, merge
from lake.reader import LakeFile
from pipelines.analysis.cross_unit import spilling
from schemas.errors import NotReconciled
from schemas.history import TIME_ZONE
from schemas.lake import CONTENT, SCHEMAS, STATS, Dataset, Source
from sources.progress import progress
from sources.units import DUPLICATES
from transforms.qualify import BRANCHES

_DUPLICATES = f"""
    SELECT dataset, source, strftime(event_time AT TIME ZONE '{TIME_ZONE}', '%Y-%m') AS month, unit, list(record)
    FROM duplicates JOIN (SELECT unit, source FROM ledger) USING (unit) GROUP BY ALL
"""
_COUNTED = f"""
    SELECT source, {", ".join("-n AS n" if name == "n" else name for name in STATS.names)}
    FROM duplicates_counted JOIN (SELECT unit, source FROM ledger) USING (unit)
"""


_SEVERAL = f"""
    SELECT message_id FROM ({" UNION ALL ".join(f"FROM {branch}_rows" for branch in BRANCHES)})
    WHERE message_id IS NOT NULL GROUP BY message_id HAVING count(*) > 1
"""
_IDENTITY = ("unit", "record", "area", "published_at", *CONTENT)
"""The columns that identify and count a duplicate."""


def plan(lk: Lake, target: int) -> list[Bin]:
    """Which files to merge, and which rows to drop: duplicate messages. Messages that differ but have the same
    message_id are all kept, each once.

    Args:
        target: size of a merged file, in bytes.
    """
    drop: dict[str, Drop] = {}
    with spilling(lk) as connection:
        for branch in BRANCHES:
            _load_drones(lk, connection, branch, ["message_id"])
        ids = connection.sql(_SEVERAL).to_arrow_table()["message_id"].combine_chunks()
        several = pads.field("message_id").isin(ids) if len(ids) else pads.scalar(False)  # which opens no file
        for branch in BRANCHES:
            _load_drones(lk, connection, branch, _IDENTITY, several)
        _load_drones(lk, connection, Dataset.STATS, ["unit", "dataset", "window_seconds"])
        for dataset, source, month, unit, records in connection.sql(_DUPLICATES).fetchall():
            directory = _directory(data_path(Dataset(dataset), Source(source), unit, month))
            drop.setdefault(directory, {})[unit] = records
        counted = connection.sql(_COUNTED).to_arrow_table()
    for unit, source in set(zip(counted["unit"].to_pylist(), counted["source"].to_pylist(), strict=True)):
        directory = _directory(data_path(Dataset.STATS, Source(source), unit, None))
        drop.setdefault(directory, {})[unit] = []
    files: dict[str, list[LakeFile]] = {}
    for file in lk.entries(*Dataset):
        files.setdefault(_directory(file.path), []).append(file)
    found = [piece for directory in sorted(files) for piece in bins(files[directory], drop.get(directory, {}), target)]
    for place, piece in enumerate(found):
        if piece.dataset == Dataset.STATS and piece.drop:
            here = pc.is_in(counted["unit"], value_set=pa.array(piece.drop, pa.string()))
            found[place] = piece._replace(add=counted.filter(here).select(STATS.names).cast(STATS))
            counted = counted.filter(pc.invert(here))  # each is taken off once
    return found


def with_ledger(lk: Lake, change: Change) -> Change:
    """The change with one more file, which this writes: the ledger's rows of all units, so that readers open one file
    and not one per unit."""
    older = merged_ledger(lk.changes)
    merged = merge_ledger(lk.root, lk.as_committed, change.file_name(0))
    return change._replace(files=[merged], replaces=[older] if older else [])


def _load_drones(
    lk: Lake,
    connection: duckdb.DuckDBPyConnection,
    dataset: Dataset,
    names: Sequence[str],
    which: pads.Expression | None = None,
) -> None:
    """Copy columns of the drones' rows into a table, so that each file is opened once and its footer (60 kB) is not
    cached."""
    fields = [field for field in SCHEMAS[dataset] if field.name in names]
    plain = {f.name: pa.string() if pa.types.is_dictionary(f.type) else f.type for f in fields}
    columns = {name: pads.field(name).cast(kind) for name, kind in plain.items()}
    drones = pads.field("source") == Source.DRONES
    selected = drones if which is None else drones & which
    files = lk.dataset(dataset).scanner(columns=columns, filter=selected, cache_metadata=False)
    connection.register("files", files.to_reader())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {dataset}_rows AS FROM files")
    connection.unregister("files")
    connection.execute(f"CREATE OR REPLACE TEMP VIEW {dataset}_of_all_units AS FROM {dataset}_rows")


def compaction(pipeline: beam.Pipeline, root: str, pieces: list[Bin], change: Change) -> beam.PCollection:
    """Build the graph; its last step commits the change with the merged files.

    Args:
        change: with the files that it has besides the merged ones.
    """
    named = [(piece, change.file_name(part)) for part, piece in enumerate(pieces, 1)]
    merged = (
        pipeline
        | "Bins" >> beam.Create(named)
        | "Spread" >> beam.Reshuffle()
        | "Merge" >> beam.ParDo(_Merge(root))
    )  # fmt: skip
    return commit_parts(merged, root, change, _dropped(pieces))


def commit_parts(parts: beam.PCollection, root: str, change: Change, dropped: int = 0) -> beam.PCollection:
    """Collect the parts of a change, all under the key None, and commit it; without a part nothing is committed.

    Args:
        dropped: how many rows the parts must have moved to the count of duplicates.
    """
    return parts | "Together" >> beam.GroupByKey() | "Commit" >> beam.ParDo(_Commit(root, change, dropped))


@beam.typehints.with_output_types(tuple[None, Merged])
class _Merge(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    def __init__(self, root: str) -> None:
        self._root = root

    def process(self, element: tuple[Bin, str]) -> Iterator[tuple[None, Merged]]:
        piece, name = element
        merged = merge(self._root, piece, name)
        progress.advance(sum(file.bytes for file in piece.files))
        if merged:
            yield None, merged


class _Commit(beam.DoFn):  # type: ignore[misc]
    def __init__(self, root: str, change: Change, dropped: int) -> None:
        self._root = root
        self._change = change
        self._dropped = dropped

    def process(self, element: tuple[None, Iterable[Merged]]) -> None:
        parts = sorted(element[1], key=lambda part: part.replaces)
        put = self._change._replace(
            files=[*self._change.files, *(file for part in parts for file in part.files)],
            replaces=[*self._change.replaces, *(path for part in parts for path in part.replaces)],
            moves=[move for part in parts for move in part.moves],
        )
        dropped = sum(move.rows for move in put.moves if move.into == DUPLICATES)
        if dropped != self._dropped:
            raise NotReconciled(f"{dropped} duplicates removed, {self._dropped} planned; run prestacop reconcile")
        put_change(self._root, put)


def _dropped(pieces: list[Bin]) -> int:
    """How many rows are to be dropped; several bins may name the same row."""
    return len({(piece.dataset, unit, n) for piece in pieces for unit, records in piece.drop.items() for n in records})


def commit_change(root: str, what: str, attempt: Callable[[Lake, Change], None]) -> dict[str, Any] | None:
    """Commit a change; start again where another process commits one first (optimistic concurrency).

    Args:
        attempt: gets the lake as it is before the change, and commits the change unless there is nothing to do.

    Returns:
        The change's row of the ledger; None where there was nothing to do.

    Raises:
        InputUnusable: there is no lake.
        InputChanged: a vacuum removed files that were still to be read.
    """
    while True:
        with reading(root, what):
            change = Change(read_changes(root).num_rows + 1, secrets.token_hex(4), what)
            attempt(filled_lake(root, change.number - 1), change)
        put = read_changes(root).slice(change.number - 1, 1).to_pylist()
        if not put or put[0]["unit"] == change.name:
            return next(iter(put), None)


def _directory(path: str) -> str:
    return path.rpartition("/")[0]
