"""Look at a lake again and again: a look reads the rows of the ledger that are new, each once.

Opening a lake (:mod:`lake.reader`) reads the whole tail, and of the folded ledger's log all since its last checkpoint.
A look here costs by what was committed since the look before: three requests, one more for each row, for each commit of
the folded ledger and for each of its new files. Only the first look reads the rows of all time, batch by batch.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import partial
from pathlib import PurePosixPath
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from lake.changes import change_files, published
from lake.faults import faults
from lake.format import check
from lake.layout import ledger_path
from lake.ledger import unit_paths
from lake.merged_ledger import CHAIN, FORM, NUMBER, ROW, MergedLedger
from lake.storage import storage
from lake.tables import APP, LOG, no_files
from schemas.errors import LakeDamaged
from schemas.lake import CHANGES, LEDGER_ROW, MERGED_LEDGER, Source

_READS: Final = 8
"""Rows read in parallel."""
_WHOLE_BYTES: Final = 4 << 20
"""A file of folded rows up to this size is read in one request."""
_REOPEN_SECONDS: Final = 3600.0
"""So old is a folded ledger that is followed commit by commit at most: its log keeps a day."""
_PARQUET: Final = pads.ParquetFileFormat()

Take = Callable[[pa.Table], None]


class _Followed(MergedLedger):
    """The folded ledger, which reads new commits alone: deltalake reads all since the last checkpoint again."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.opened = time.monotonic()
        self._version = self._table.version if self._table else -1

    def follow(self) -> None:
        """Bring it up to date."""
        log, version = f"{MERGED_LEDGER}/{LOG}", self._version
        files, number = {file["path"]: file for file in self.files.to_pylist()}, self.number
        while True:
            try:
                commit = storage(self._root).read(f"{log}/{version + 1:020d}.json")
            except FileNotFoundError:
                break
            version += 1
            for action in map(json.loads, commit.splitlines()):
                if remove := action.get("remove"):
                    files.pop(f"{MERGED_LEDGER}/{unquote(remove['path'])}", None)
                elif add := action.get("add"):
                    file = _file(add)
                    files[file["path"]] = file
                elif (done := action.get("txn")) and done["appId"] == APP:
                    number = done["version"]
        if version > self._version:
            self._files = pa.Table.from_pylist(list(files.values()), schema=no_files(FORM).schema)
            self._version, self.number = version, number


def _file(add: dict[str, Any]) -> dict[str, Any]:
    """A row of :meth:`lake.tables.Table.files`."""
    stats = json.loads(add["stats"])
    bounds = {name: stats.get(of, {}).get("unit") for name, of in (("first", "minValues"), ("last", "maxValues"))}
    path = f"{MERGED_LEDGER}/{unquote(add['path'])}"
    return {"path": path, "rows": stats["numRecords"], "bytes": add["size"], **add["partitionValues"], **bounds}


class _Found(NamedTuple):
    """What is new and not folded."""

    number: int
    """Of the last change."""
    changes: pa.Table
    published: frozenset[str]
    """The units that these changes publish."""
    units: frozenset[str]
    rows: pa.Table
    """Of these units."""


class Watch:
    """What was looked at so far. A look that fails changes nothing: the next one gives the same rows again."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.number = 0
        """The number of the last change."""
        self.tail = 0
        """Units that are committed and not published."""
        self._merged: _Followed | None = None
        self._folded = 0
        """The last change whose rows were folded at the last look."""
        self._files: frozenset[str] = frozenset()
        """The files of folded rows then."""
        self._units: frozenset[str] = frozenset()
        """Units that were given to the caller and were not folded then."""
        self._published: frozenset[str] = frozenset()
        """Those of them that a change has published."""

    @property
    def is_first(self) -> bool:
        """Whether no look has succeeded yet."""
        return self._merged is None

    def copy(self) -> "Watch":
        """One that has given the same rows: its looks change nothing here."""
        return copy(self)

    def look(self, units: Take, changes: Take, columns: list[str]) -> None:
        """Give the rows that are new, in tables; those of units as these wrote them.

        Args:
            columns: of the rows, ``unit`` among them.

        Raises LakeDamaged, LakeTooNew, NotPermitted, ServiceUnavailable, OutputUnusable.
        """
        check(self.root)
        with faults(self.root):
            merged, found = self._merged, None
            if merged is None or time.monotonic() - merged.opened > _REOPEN_SECONDS:
                merged = _Followed(self.root)
            while found is None:
                merged.follow()
                found = self._read_new(merged, columns)
            self._give(merged, found, units, changes, columns)
        self._merged = merged

    def files_of(self, unit: str, source: str) -> list[dict[str, Any]]:
        """The files that a unit wrote (of :data:`schemas.lake.FILES`), which a look has given."""
        try:
            table = _row(self.root, ["files"], ledger_path(Source(source), unit))
        except FileNotFoundError:
            table = MergedLedger(self.root).rows([unit], ["files"])
        return [file for files in table["files"].to_pylist() for file in files]

    def _read_new(self, merged: _Followed, columns: list[str]) -> _Found | None:
        """The rows that are not folded; None where files were folded and removed while they were read.

        A fold after ``merged`` was opened takes files away: their rows are folded ones of the next look.
        """
        paths, number = change_files(self.root), max(self.number, merged.number)
        changes = []
        while number + 1 in paths:  # a listing may miss one that is written meanwhile, and yet show the next one
            number += 1
            changes.append(paths[number])
        there = {PurePosixPath(path).stem: path for path in unit_paths(self.root) if path.endswith(".parquet")}
        try:
            recent = self._rows(changes, LEDGER_ROW.names)
            named = frozenset(published(recent).to_pylist())
            new = frozenset(there.keys() - self._units)
            folded = merged.find(new - named)
            rows = self._rows([there[unit] for unit in sorted(new - folded)], columns)
        except FileNotFoundError as error:
            if MergedLedger(self.root).number == merged.number:
                raise LakeDamaged(f"{error.filename} is missing; run prestacop reconcile") from error
            return None
        return _Found(number, recent, named, new - folded, rows)

    def _give(self, merged: _Followed, found: _Found, units: Take, changes: Take, columns: list[str]) -> None:
        files = merged.files
        fresh = files.filter(pc.invert(_among(files["path"], self._files)))
        is_change = pc.equal(fresh[CHAIN], CHANGES)
        for table in self._newer(merged, fresh.filter(is_change), self.number, LEDGER_ROW.names):
            changes(table)
        changes(found.changes)
        given: set[str] = set()
        for table in self._newer(merged, fresh.filter(pc.invert(is_change)), self._folded, columns):
            before = _among(table["unit"], self._units)
            given.update(table["unit"].filter(before).to_pylist())
            units(table.filter(pc.invert(before)))
        units(found.rows)
        self._units = (self._units | found.units) - given
        self._published = (self._published | found.published) & self._units
        self.tail = len(self._units - self._published)
        self.number, self._folded, self._files = found.number, merged.number, frozenset(files["path"].to_pylist())

    def _newer(self, merged: MergedLedger, files: pa.Table, number: int, columns: list[str]) -> Iterator[pa.Table]:
        """The rows in these files of the changes after this one, in their batches."""
        is_new = pads.field(NUMBER) > number
        small = pc.less_equal(files["bytes"], _WHOLE_BYTES)
        with ThreadPoolExecutor(_READS) as pool:
            read = partial(_row, self.root, columns, schema=ROW, where=is_new)
            yield from pool.map(read, files.filter(small)["path"].to_pylist())
        rows = merged.dataset(files.filter(pc.invert(small))["path"].to_pylist())
        for batch in rows.to_batches(columns=columns, filter=is_new):
            if batch.num_rows:
                yield pa.Table.from_batches([batch])

    def _rows(self, paths: Iterable[str], columns: list[str]) -> pa.Table:
        """The rows in these files of the ledger (full paths), one request each."""
        names = map(storage(self.root).relative, paths)
        with ThreadPoolExecutor(_READS) as pool:
            tables = list(pool.map(partial(_row, self.root, columns), names))
        return pa.concat_tables([pa.schema([LEDGER_ROW.field(name) for name in columns]).empty_table(), *tables])


def _row(
    root: str, columns: list[str], path: str, schema: pa.Schema = LEDGER_ROW, where: pads.Expression | None = None
) -> pa.Table:
    """The rows of a small file, in one request."""
    try:
        fragment = _PARQUET.make_fragment(pa.py_buffer(storage(root).read(path)))
        return fragment.to_table(schema=schema, columns=columns, filter=where)
    except pa.ArrowException as error:
        raise LakeDamaged(f"{root}/{path} is damaged ({error}); run prestacop reconcile") from error


def _among(names: pa.ChunkedArray, which: Iterable[str]) -> pa.ChunkedArray:
    return pc.is_in(names, pa.array(sorted(which), pa.string()))
