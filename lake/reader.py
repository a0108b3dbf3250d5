"""Read the lake: units are visible atomically, messages exactly once.

What readers see is the tables, as they were at one change, and the tail: units that are committed and not published.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from lake.changes import (
    PUBLICATION,
    first_publication,
    last_change,
    live_files,
    published,
    read_changes,
    replaced_by,
    writer_of,
)
from lake.files import parquet_dataset
from lake.format import check
from lake.ledger import read_rows, unit_paths
from lake.merged_ledger import NUMBER, MergedLedger
from lake.tables import LOG, find_table, form_of, no_files
from lake.views import NO_ROWS, Parts, Rows, connected, spilling, views_of, with_moves
from schemas.errors import InputUnusable, LakeDamaged
from schemas.lake import LEDGER_ROW, MERGED_LEDGER, Dataset

_OF_FILES: Final = ["path", "rows", "bytes", "source"]


class LakeFile(NamedTuple):
    """A file of the lake, its path below the root."""

    dataset: str
    source: str
    path: str
    rows: int
    bytes: int
    sha256: str | None = None
    """None where it was not looked up (:meth:`Lake.with_checksums`), or an earlier version wrote the file."""


class Size(NamedTuple):
    """Of many files."""

    files: int
    rows: int
    bytes: int


class Lake:
    """A lake at a directory, ``s3://`` or ``gs://`` URL, as it is when it is opened.

    Opening costs by the tail; what all units and changes of all time are read for is read when it is used.
    """

    def __init__(self, root: str) -> None:
        check(root)
        self.root = root
        self._tables: dict[Dataset, pa.Table] = {}
        while not self._open():
            pass

    def _open(self) -> bool:
        """Whether the parts belong together: no rows were folded while they were read."""
        self.merged = MergedLedger(self.root)
        """The rows that are folded."""
        try:
            self.recent = read_changes(self.root, self.merged.number)
            """The changes that are not folded yet."""
            paths = {PurePosixPath(path).stem: path for path in unit_paths(self.root)}
            new = paths.keys() - set(published(self.recent).to_pylist())
            folded = self.merged.find(new)
            self.to_remove = [paths[name] for name in sorted(folded)]
            """Files of rows that are folded and not removed yet: full paths."""
            self._pending = [path for name, path in paths.items() if name not in new]
            self.tail = read_rows(self.root, [paths[name] for name in sorted(new - folded)])
            """The rows of units that are not published."""
        except FileNotFoundError:
            if MergedLedger(self.root).number == self.merged.number:
                raise
            return False
        check_is_there(self.root, self.merged)
        return not self.merged.has_grown()

    @property
    def number(self) -> int:
        """The number of the last change."""
        return self.merged.number + int(self.recent.num_rows)

    @property
    def is_published(self) -> bool:
        """Whether the lake has tables, or will have them as soon as somebody brings them to the last change."""
        return self.merged.number > 0 or first_publication(self.recent) is not None

    @cached_property
    def pending(self) -> pa.Table:
        """The rows of units whose publication is not folded yet."""
        try:
            return read_rows(self.root, self._pending)
        except FileNotFoundError:  # it is folded now
            return MergedLedger(self.root).rows(published(self.recent).to_pylist(), LEDGER_ROW.names)

    @cached_property
    def as_committed(self) -> pa.Table:
        """The rows of the ledger as the units wrote them, of all units of all time."""
        folded = self.merged.all_units().to_table(columns=LEDGER_ROW.names)
        return pa.concat_tables([folded, self.pending, self.tail]).sort_by("unit")

    @cached_property
    def changes(self) -> pa.Table:
        """One row a change (:mod:`lake.changes`), of all time, in their order."""
        return pa.concat_tables([self.merged.changes_in_order(), self.recent])

    def changes_since(self, number: int) -> pa.Table:
        """The changes after the one of this number, in their order."""
        folded = self.merged.changes_in_order(pads.field(NUMBER) > number)
        recent = self.recent.slice(max(number - self.merged.number, 0))
        return pa.concat_tables([folded, recent])

    @property
    def repairs(self) -> pa.Table:
        """The changes that are no publications, in their order: far fewer."""
        other = pads.field("path") != PUBLICATION
        return pa.concat_tables([self.merged.changes_in_order(other), self.recent.filter(other)])

    @cached_property
    def ledger(self) -> pa.Table:
        """One row a unit (:data:`schemas.lake.LEDGER_ROW`) of all time: its counts as they are now, its ``files`` as it
        wrote them."""
        return with_moves(self.as_committed, self.changes)

    @property
    def units(self) -> int:
        """How many units there are."""
        return self.merged.units + len(self._pending) + int(self.tail.num_rows)

    def entries(self, *datasets: Dataset, published: bool | None = None, below: int | None = None) -> list[LakeFile]:
        """The committed files of some datasets.

        Args:
            published: only those whose rows are in the tables, or only those of the tail; None for both.
            below: of those in the tables only files with fewer bytes.
        """
        found = []
        for dataset in datasets:
            if published is not False:
                files = self._files(dataset).select(_OF_FILES)
                rows = (files if below is None else files.filter(pc.less(files["bytes"], below))).to_pylist()
                found += [LakeFile(str(dataset), row["source"], row["path"], row["rows"], row["bytes"]) for row in rows]
            if published is not True:
                found += [LakeFile(**row) for row in self._tail_files.get(dataset, [])]
        return found

    def size(self, dataset: Dataset) -> Size:
        """Of the committed files of a dataset."""
        done, tail = self._files(dataset), self._tail_files.get(dataset, [])
        rows, size = (
            (pc.sum(done[name]).as_py() or 0) + sum(file[name] for file in tail) for name in ("rows", "bytes")
        )
        return Size(int(done.num_rows) + len(tail), rows, size)

    def with_checksums(self, files: Sequence[LakeFile]) -> list[LakeFile]:
        """The same files with their checksums, out of the rows that name them."""
        writers = {writer_of(file.path) for file in files}
        rows = pa.concat_tables([self.merged.rows(writers, LEDGER_ROW.names), self.pending, self.tail, self.recent])
        named = live_files((rows,), pa.array([], pa.string()))
        known = dict(zip(named["path"].to_pylist(), named["sha256"].to_pylist(), strict=True))
        return [file._replace(sha256=known.get(file.path)) for file in files]

    def files(self, dataset: Dataset) -> list[str]:
        """The paths below the root of the dataset's committed files."""
        return [file.path for file in self.entries(dataset)]

    def dataset(self, dataset: Dataset) -> pads.Dataset:
        """The committed files as a pyarrow dataset, partitions as columns; with the copies that the tail has."""
        return parquet_dataset(self.root, dataset, self.files(dataset))

    def connect(self, parts: Mapping[Dataset, Parts] | None = None, query: str = "") -> duckdb.DuckDBPyConnection:
        """A DuckDB connection with views of datasets, ``ledger``, ``changes``, ``duplicates`` and ``conflicts``; its
        clock is UTC.

        Args:
            parts: the files that the views read; None for those of the lake.
            query: only the views that it may read are there; "" for all.
        """
        views = views_of(query)
        if parts is None:
            parts = self._parts(views)
        reads_rows = any(view in views for view in ("ledger_as_committed", "changes"))
        return connected(self.root, parts, query, self._rows() if reads_rows else NO_ROWS)

    def spilling(
        self, parts: Mapping[Dataset, Parts] | None = None, query: str = ""
    ) -> AbstractContextManager[duckdb.DuckDBPyConnection]:
        """A connection as that of :meth:`connect` that spills to disk beyond a gigabyte."""
        return spilling(self.connect(parts, query))

    def sql(self, query: str, parameters: Iterable[Any] = ()) -> pa.Table:
        """The answer of a DuckDB query over the views."""
        with self.connect(query=query) as connection:
            return connection.sql(query, params=list(parameters)).to_arrow_table()

    def _parts(self, views: Iterable[str]) -> dict[Dataset, Parts]:
        """The files that these views read; only the logs of tables that they read are opened, side by side."""
        tails = {dataset: [file.path for file in self.entries(dataset, published=False)] for dataset in Dataset}
        parts = {dataset: Parts([], tail, {}) for dataset, tail in tails.items()}
        near = [dataset for dataset in Dataset if f"{dataset}_near" in views and parts[dataset].with_copies]
        whole = [dataset for dataset in Dataset if f"{dataset}_published" in views or dataset in near]
        with ThreadPoolExecutor(len(Dataset)) as pool:
            return parts | dict(zip(whole, pool.map(self.parts, whole), strict=True))

    def parts(self, dataset: Dataset, tail: list[str] | None = None) -> Parts:
        """The files of a dataset, for :func:`lake.views.connected`.

        Args:
            tail: those of the tail; None for all of them.
        """
        if tail is None:
            tail = [row["path"] for row in self._tail_files.get(dataset, [])]
        files = self._files(dataset)
        bounds = zip(*(files[name].to_pylist() for name in ("path", "first", "last")), strict=True) if tail else ()
        known = {path: (first, last) for path, first, last in bounds if first is not None}
        return Parts(files["path"].to_pylist(), tail, known)

    def _rows(self) -> Rows:
        units = pa.concat_tables([self.pending, self.tail])
        return Rows(self.merged.all_units(), units, self.merged.changes(), self.recent)

    def _files(self, dataset: Dataset) -> pa.Table:
        """The files of the dataset's table at the last change."""
        if dataset not in self._tables:
            self._tables[dataset] = self._files_at_last_change(dataset)
        return self._tables[dataset]

    def _files_at_last_change(self, dataset: Dataset) -> pa.Table:
        form = form_of(dataset)
        table = find_table(self.root, form)
        if table:
            table.back_to(self.number)
        files = table.files() if table else no_files(form)
        adds, gone = self.missing(dataset, table.number if table else 0)
        files = files.filter(pc.invert(pc.is_in(files["path"], gone)))
        return pa.concat_tables([files, adds.select(_OF_FILES)], promote_options="default")

    def missing(self, dataset: Dataset, number: int) -> tuple[pa.Table, pa.Array]:
        """What a dataset's table lacks that is at an earlier change: files to add (of :func:`lake.changes.live_files`),
        and paths to remove."""
        if not number and self.merged.number:  # its log was lost
            changes, rows = self.changes, self.as_committed
        else:
            changes, rows = self.recent.slice(max(number - self.merged.number, 0)), self.pending
        if not self.is_published:
            changes = changes.slice(0, 0)
        names = published(changes)
        units = rows.filter(pc.is_in(rows["unit"], names)) if len(names) else rows.slice(0, 0)
        gone = replaced_by(changes)
        files = live_files((units, changes), gone)
        adds = files.filter(pc.equal(files["dataset"], str(dataset)))
        return adds, gone.filter(pc.starts_with(gone, f"{dataset}/"))

    @cached_property
    def _tail_files(self) -> dict[str, list[dict[str, Any]]]:
        """The files of the tail, by dataset."""
        # A change of an earlier version is part of the tail as long as nothing is published.
        of = (self.tail,) if self.is_published else (self.tail, self.recent)
        files: dict[str, list[dict[str, Any]]] = {}
        for row in live_files(of, replaced_by(self.recent)).to_pylist():
            files.setdefault(row["dataset"], []).append(row)
        return files


def check_is_there(root: str, merged: MergedLedger) -> None:
    """Raises LakeDamaged where tables have changes that the ledger does not know, since its folded rows are lost."""
    if merged.number:
        return
    for table in filter(None, (find_table(root, form_of(dataset)) for dataset in Dataset)):
        if table.number > last_change(root):
            raise LakeDamaged(
                f"{root}: {MERGED_LEDGER}/{LOG}, the log of the ledger's table, is missing; restore it from a backup: "
                "until then nothing can be read or written"
            )


class PartOfLake(Lake):
    """A lake of which only some files are read, those of now or of an earlier change.

    Args:
        tail: those of the files in which copies are looked for; no row of the others is left out.
    """

    def __init__(self, lk: Lake, files: Iterable[LakeFile], tail: Iterable[LakeFile] = ()) -> None:
        self.__dict__.update(vars(lk))
        self._chosen = {True: list(files), False: list(tail)}

    def entries(self, *datasets: Dataset, published: bool | None = None, below: int | None = None) -> list[LakeFile]:
        chosen = (files for which, files in self._chosen.items() if published in (None, which))
        return [file for files in chosen for file in files if file.dataset in datasets]

    def parts(self, dataset: Dataset, tail: list[str] | None = None) -> Parts:
        done, new = ([file.path for file in self.entries(dataset, published=which)] for which in (True, False))
        return Parts(done, new if tail is None else tail, {})


def earlier(lk: Lake, number: int) -> PartOfLake:
    """The lake as it was after the change of this number, with all units of now; reads the rows of all time."""
    changes = lk.changes.slice(0, number)
    files = live_files((lk.as_committed, changes), replaced_by(changes)).to_pylist()
    return PartOfLake(lk, (LakeFile(**row) for row in files))


def lake(root: str) -> Lake:
    """Open the lake at a directory, ``s3://BUCKET/PREFIX`` or ``gs://BUCKET/PREFIX``."""
    return Lake(root)


def filled_lake(root: str) -> Lake:
    """Open a lake. Raises InputUnusable where no unit is committed."""
    lk = Lake(root)
    if not lk.units:
        raise no_lake(root)
    return lk


def no_lake(root: str) -> InputUnusable:
    """The error of every command that reads a lake."""
    how = f"prestacop run --history GLOB --lake {shlex.quote(root)}"
    return InputUnusable(f"no lake at {root} (the ledger is empty); fill it first: {how}")
