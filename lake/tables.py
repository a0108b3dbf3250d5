"""Delta tables, which any engine reads: of each dataset one that shows each message once, and one of the ledger's rows.

A table follows the lake's changes (:mod:`lake.changes`): a commit takes it from one change to a later one, with all
files that these changes add and remove. The number of the last change that it has is in the same commit, as the
version of the transaction ``prestacop``. A commit is refused if the table has changed since it was opened
(compare-and-swap), so whoever repeats the work after a crash, or does it at the same time, adds nothing twice.
"""

import json
import math
import os
import re
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Schema, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from deltalake.transaction import AddAction, RemoveAction

from lake.faults import faults, no_answer, refused_by_bucket
from lake.layout import partitions
from lake.retries import Contradiction, patiently
from lake.storage import BucketStorage, LocalStorage, storage
from schemas.errors import InputChanged, LakeDamaged, OutputUnusable, PrestaCopError
from schemas.lake import SCHEMAS, Dataset
from schemas.os_errors import of_the_system

LOG: Final = "_delta_log"
APP: Final = "prestacop"
"""The transaction of a table whose version is the number of its last change."""
_VACUUM: Final = "prestacop vacuum"
_READS: Final = 8
"""Footers, and files of the log, read in parallel."""


def _remembered(days: int) -> dict[str, str]:
    """Properties of a table whose removed files are deleted after so many days: versions without files are of no use,
    and a vacuum, which finds files to delete in the log, may come two days late."""
    return {
        "delta.logRetentionDuration": f"interval {days} days",
        "delta.deletedFileRetentionDuration": f"interval {days + 2} days",
    }


_CONFIGURATION: Final = {"delta.checkpointInterval": "20", **_remembered(1)}
"""Who opens a table reads the commits since the last checkpoint: about a millisecond each, more on S3."""
_UNUSABLE: Final = re.compile(r"[%\x00-\x1f\x7f]")
"""What deltalake cannot have in a path."""
_MILLISECOND: Final = 1_000
"""In microseconds."""
_ORNAMENTS: Final = re.compile(r"\x1b\[[0-9;]*m|[\u21b3\x00]")
_OS_ERROR: Final = re.compile(r"\(os error (\d+)\)")
_STATUS: Final = re.compile(r"\b([45]\d\d) [A-Z]")
_CODE: Final = re.compile(r"<Code>(\w+)</Code>")
_EXISTS: Final = "Invalid table version: 0"
"""What deltalake says of a table that it could not create since there is one."""
_NO_ANSWER: Final = re.compile(r"object store|error sending request|timed? ?out", re.IGNORECASE)


class Form(NamedTuple):
    """What is in a table."""

    name: str
    """Its folder below the lake's root."""
    schema: pa.Schema
    """With the partitions as the last columns."""
    partitions: tuple[str, ...]
    bounded: str
    """The column whose least and greatest value in each file the table knows."""


class TableFile(NamedTuple):
    """A file of a table."""

    path: str
    """Below the lake's root."""
    rows: int
    bytes: int


class Table:
    """A table as it is when it is opened.

    Args:
        create: create it where there is none; else TableNotFoundError is raised.

    Raises NotPermitted, OutputUnusable, ServiceUnavailable, LakeDamaged.
    """

    def __init__(self, root: str, form: Form, create: bool = False) -> None:
        self._root, self._form = root, form
        with table_faults(root, form.name):
            try:
                self._table = _opened(root, form)
            except TableNotFoundError:
                if not create:
                    raise
                self._table = _created(root, form)

    @property
    def number(self) -> int:
        """The number of the last change that the table has; 0 for none."""
        with table_faults(self._root, self._form.name):  # it may read the log
            return self._table.transaction_version(APP) or 0

    @property
    def version(self) -> int:
        """The number of its last commit, from 0 on."""
        return self._table.version()

    def commit(self, number: int, adds: Iterable[TableFile], removes: Iterable[str], moves_rows: bool) -> bool:
        """Take the table to this change; returns whether this call did it. If not, another process was faster: open the
        table again.

        Args:
            number: of the change, greater than :attr:`number`.
            removes: paths below the lake's root; one that the table does not have is only remembered for a vacuum.
            moves_rows: whether rows come or go; false where the same rows are only in other files.
        """
        with ThreadPoolExecutor(_READS) as pool:
            added = list(pool.map(partial(self._add, moves_rows=moves_rows), adds))
        actions: list[AddAction | RemoveAction] = [*added, *(self._remove(path, moves_rows) for path in removes)]
        try:
            with table_faults(self._root, self._form.name):
                self._table.create_write_transaction(
                    actions,
                    "append",
                    Schema.from_arrow(self._form.schema),
                    list(self._form.partitions),
                    commit_properties=CommitProperties(
                        max_commit_retries=0, app_transactions=[Transaction(APP, number)]
                    ),
                    post_commithook_properties=PostCommitHookProperties(
                        create_checkpoint=True, cleanup_expired_logs=True
                    ),
                )
        except CommitFailedError:
            return False
        return True

    def _add(self, file: TableFile, moves_rows: bool) -> AddAction:
        path = file.path.removeprefix(f"{self._form.name}/")
        stats = json.dumps({"numRecords": file.rows, **_statistics(self._root, self._form.bounded, file.path)})
        return AddAction(path, file.bytes, _values(path), _now(), moves_rows, stats)

    def _remove(self, file: str, moves_rows: bool) -> RemoveAction:
        path = file.removeprefix(f"{self._form.name}/")
        return RemoveAction(path, moves_rows, _now(), partition_values=_values(path))

    def update(self) -> None:
        """Open it again, as it is now."""
        with table_faults(self._root, self._form.name):
            self._table.update_incremental()

    def back_to(self, number: int) -> None:
        """Go back to the last version that has no later change than this one.

        Raises InputChanged where the log does not go back so far.
        """
        while self.number > number:
            try:
                with table_faults(self._root, self._form.name):
                    self._table.load_as_version(self._table.version() - 1)
            except LakeDamaged as error:
                raise InputChanged(
                    f"{self._root}: the lake was opened too long ago; run the same command again"
                ) from error

    def files(self) -> pa.Table:
        """Its files: ``path`` (below the root), ``rows``, ``bytes``, the partitions, and ``first`` and ``last``, the
        bounds of the bounded column, null where they are not known."""
        with table_faults(self._root, self._form.name):
            actions = pa.table(self._table.get_add_actions(flatten=True))
        kind, n = self._form.schema.field(self._form.bounded).type, len(actions)
        bounds = [f"{what}.{self._form.bounded}" for what in ("min", "max")]
        columns = {
            "path": pc.binary_join_element_wise(self._form.name, actions["path"].cast(pa.string()), "/"),
            "rows": actions["num_records"],
            "bytes": actions["size_bytes"],
            **{name: actions[f"partition.{name}"].cast(pa.string()) for name in self._form.partitions},
            **{
                name: actions[bound].cast(kind) if bound in actions.column_names else pa.nulls(n, kind)
                for name, bound in zip(("first", "last"), bounds, strict=True)
            },
        }
        return pa.table(columns)

    def removed(self) -> dict[str, int]:
        """By path below the root, when a file was removed, in milliseconds since the epoch, as far as the log remembers
        it."""
        store, log = storage(self._root), f"{self._form.name}/{LOG}"
        removed: dict[str, int] = {}
        with table_faults(self._root, self._form.name), ThreadPoolExecutor(_READS) as pool:
            try:
                last = int(json.loads(store.read(f"{log}/_last_checkpoint"))["version"])
            except FileNotFoundError:
                last = -1
            else:
                with store.filesystem.open_input_file(store.full(f"{log}/{last:020d}.checkpoint.parquet")) as file:
                    removes = pq.ParquetFile(file).read(["remove.path", "remove.deletionTimestamp"])["remove"]
                for remove in removes.drop_null().to_pylist():
                    removed[remove["path"]] = remove["deletionTimestamp"]
            later = (f"{log}/{version:020d}.json" for version in range(last + 1, self._table.version() + 1))
            for line in (line for commit in pool.map(store.read, later) for line in commit.splitlines()):
                action = json.loads(line)
                if add := action.get("add"):
                    removed.pop(add["path"], None)
                elif remove := action.get("remove"):
                    removed[remove["path"]] = remove["deletionTimestamp"]
        return {f"{self._form.name}/{unquote(path)}": when for path, when in removed.items()}

    @property
    def vacuumed(self) -> int:
        """Up to when removed files are deleted, in milliseconds since the epoch."""
        return self._table.transaction_version(_VACUUM) or 0

    def set_vacuumed(self, until: int) -> None:
        """Record that files are deleted that were removed up to this time, in milliseconds since the epoch."""
        mark = CommitProperties(app_transactions=[Transaction(_VACUUM, until)])
        schema, columns = Schema.from_arrow(self._form.schema), list(self._form.partitions)
        # Another vacuum may have recorded the same.
        with table_faults(self._root, self._form.name), suppress(CommitFailedError):
            self._table.create_write_transaction([], "append", schema, columns, commit_properties=mark)

    def remember(self, retention: timedelta) -> None:
        """Keep versions, and the names of removed files, for this retention, but a day at least."""
        wanted = {**_CONFIGURATION, **_remembered(max(1, math.ceil(retention / timedelta(days=1))))}
        if not wanted.items() <= self._table.metadata().configuration.items():
            with table_faults(self._root, self._form.name), suppress(CommitFailedError):  # the next vacuum does it
                self._table.alter.set_table_properties(wanted)


def form_of(dataset: Dataset) -> Form:
    """The table of a dataset: strings in place of dictionaries."""
    fields = [pa.field(f.name, pa.string() if pa.types.is_dictionary(f.type) else f.type) for f in SCHEMAS[dataset]]
    names = partitions(dataset)
    schema = pa.schema([*fields, *((name, pa.string()) for name in names)])
    return Form(str(dataset), schema, names, time_column(dataset))


def no_files(form: Form) -> pa.Table:
    """:meth:`Table.files` of a table that is not there."""
    kind = form.schema.field(form.bounded).type
    names = [
        ("path", pa.string()),
        ("rows", pa.int64()),
        ("bytes", pa.int64()),
        *((n, pa.string()) for n in form.partitions),
    ]
    return pa.schema([*names, ("first", kind), ("last", kind)]).empty_table()


def find_table(root: str, form: Form) -> Table | None:
    """The table, if there is one."""
    if _UNUSABLE.search(storage(root).base):
        return None
    try:
        return Table(root, form)
    except TableNotFoundError:
        return None


def time_column(dataset: Dataset) -> str:
    """The time that the copies of a row have in common: dead letters and statistics have no event of their own."""
    return {Dataset.DEAD_LETTERS: "published_at", Dataset.STATS: "window_start"}.get(dataset, "event_time")


def check_name(root: str) -> None:
    """Raises OutputUnusable where no table can be at this root."""
    if _UNUSABLE.search(storage(root).base):
        raise OutputUnusable(
            f"{root}: a Delta table cannot be in a folder with % or a control character in its name; choose another "
            "name, or write files only with --publish off"
        )


@contextmanager
def table_faults(root: str, name: str) -> Iterator[None]:
    """Around calls of deltalake: its errors as those of the lake. That of a lost race, and that there is no table, are
    for the caller.

    Raises NotPermitted, OutputUnusable, DiskFull, ServiceUnavailable, LakeDamaged.
    """
    try:
        yield
    except (CommitFailedError, TableNotFoundError):
        raise
    except (DeltaError, OSError) as error:
        raise _meaning(error, root, name) from error


def _meaning(error: Exception, root: str, name: str) -> PrestaCopError:
    """The error that says what to do; deltalake's have texts of many lines, and no numbers."""
    said = " ".join(_ORNAMENTS.sub(" ", str(error)).split())
    if found := _OS_ERROR.search(said):
        return of_the_system(OSError(int(found[1]), os.strerror(int(found[1])), root), root, OutputUnusable)
    status = found[1] if (found := _STATUS.search(said)) else ""
    code = found[1] if (found := _CODE.search(said)) else status
    if refused := refused_by_bucket(root, said, code, int(status) if status else None):
        return refused
    if isinstance(storage(root), BucketStorage) and (status or isinstance(error, OSError) or _NO_ANSWER.search(said)):
        return no_answer(root, said)
    return LakeDamaged(
        f"{root}: {name}/{LOG}, the log of a table, is damaged: {said[:200]}; restore it from a backup, or, but for "
        "that of the ledger, remove this folder and run prestacop compact; prestacop reconcile checks the rest"
    )


def _opened(root: str, form: Form) -> DeltaTable:
    return DeltaTable(_uri(root, form), storage_options=storage(root).table_options())


def _created(root: str, form: Form) -> DeltaTable:
    store = storage(root)
    if isinstance(store, LocalStorage):  # deltalake wants the folder
        Path(store.full(form.name)).mkdir(parents=True, exist_ok=True)

    def create() -> DeltaTable:
        try:
            return DeltaTable.create(
                _uri(root, form),
                Schema.from_arrow(form.schema),
                mode="error",
                partition_by=list(form.partitions),
                name=form.name,
                configuration=_CONFIGURATION,
                storage_options=storage(root).table_options(),
            )
        except DeltaError as error:
            try:
                return _opened(root, form)  # another process has created it meanwhile
            except TableNotFoundError:
                if _EXISTS not in str(error):
                    raise error from None
                # S3 answers a conflict of two writers, of which neither may have won; deltalake takes it for a loss.
                raise Contradiction(
                    f"{root}: S3 refuses to create the table {form.name} because it exists, and does not find it; "
                    "run the same command again"
                ) from error

    return patiently(create)


def _uri(root: str, form: Form) -> str:
    store = storage(root)
    full = store.full(form.name)
    return store.scheme + full if isinstance(store, BucketStorage) else Path(full).as_uri()


def _values(path: str) -> dict[str, str | None]:
    """The partition's values in a path: ``source=drones/month=2015-01/UNIT.parquet``."""
    return {name: value for name, _, value in (part.partition("=") for part in PurePosixPath(path).parts[:-1])}


def _statistics(root: str, column: str, path: str) -> dict[str, Any]:
    """The bounds of a column in a file, for readers that skip files; nothing where its footer does not tell."""
    store = storage(root)
    try:
        with faults(root):
            metadata = pq.read_metadata(store.full(path), filesystem=store.filesystem)
    except FileNotFoundError as error:
        raise LakeDamaged(f"{root}: {path} is missing; run prestacop reconcile, and restore it from a copy") from error
    place = next((n for n in range(metadata.num_columns) if metadata.schema.column(n).path == column), None)
    if place is None:
        return {}
    groups = [metadata.row_group(n).column(place).statistics for n in range(metadata.num_row_groups)]
    if not groups or not all(group is not None and group.has_min_max for group in groups):
        return {}
    return {
        "minValues": {column: _json(min(group.min for group in groups), up=False)},
        "maxValues": {column: _json(max(group.max for group in groups), up=True)},
        "nullCount": {column: sum(group.null_count for group in groups)},
    }


def _json(value: Any, up: bool) -> str:
    """A bound as the protocol has it: times in milliseconds, rounded outwards."""
    if not isinstance(value, datetime):
        return str(value)
    outwards = value + timedelta(microseconds=_MILLISECOND - 1) if up else value
    return outwards.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _now() -> int:
    return time.time_ns() // 1_000_000
