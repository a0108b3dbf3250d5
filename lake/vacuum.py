"""Vacuum: delete the files that changes have replaced, some time after they did.

The logs of the tables name them, and say up to when they are deleted already, so a vacuum costs by what was replaced
since the last one. Readers that opened the lake before a change have this time, the retention, to finish.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from lake.changes import attempted_change
from lake.faults import faults
from lake.layout import unit_of
from lake.merged_ledger import FORM
from lake.reader import Lake
from lake.storage import Storage, storage
from lake.tables import LOG, Form, Table, find_table, form_of
from schemas.lake import Dataset

_DELETES: Final = 16
"""Files deleted in parallel."""
_EVER: Final = timedelta(days=36_500)
_SURE: Final = timedelta(hours=1)
"""A file that was written so long ago, and no table has, will not be added."""
_LATE_MS: Final = 60_000
"""A change may be in a table this long after the time that is recorded with it."""


class Removable(NamedTuple):
    """A file that a vacuum deletes."""

    path: str
    """Below the lake's root."""
    bytes: int

    @property
    def dataset(self) -> str:
        return self.path.partition("/")[0]


class Due(NamedTuple):
    """What there is to delete of a dataset."""

    table: Table
    until: int
    """Files that were removed up to this time, in milliseconds since the epoch."""
    files: list[Removable]
    kept: int
    """Replaced files that are too young."""
    has_new: bool
    """Whether files were removed since the last vacuum."""


class Vacuumed(NamedTuple):
    """What a vacuum deleted."""

    files: int
    bytes: int
    kept: int
    """Replaced files that are too young."""


def vacuum(root: str, retention: timedelta, deep: bool = False) -> Vacuumed:
    """Delete files that were replaced at least this long ago. Arguments and errors are those of :func:`find_due`."""
    return delete(root, find_due(root, retention, deep), retention)


def delete(
    root: str, found: list[Due], retention: timedelta, on_deleted: Callable[[int], None] = lambda _: None
) -> Vacuumed:
    """Delete what :func:`find_due` has found.

    Args:
        on_deleted: gets the bytes of each file.
    """
    store = storage(root)

    def delete_file(file: Removable) -> None:
        store.delete(file.path)
        on_deleted(file.bytes)

    for due in found:
        with ThreadPoolExecutor(_DELETES) as pool:
            list(pool.map(delete_file, due.files))
        if due.has_new:
            due.table.set_vacuumed(due.until)
        due.table.remember(retention)
    files = [file for due in found for file in due.files]
    return Vacuumed(len(files), sum(file.bytes for file in files), sum(due.kept for due in found))


def find_due(root: str, retention: timedelta, deep: bool = False) -> list[Due]:
    """Which files were replaced at least this long ago.

    Args:
        deep: list all files, and find also those of changes that lost or were killed, and those that were replaced so
            long ago that no table remembers it.

    Raises NotPermitted, ServiceUnavailable, LakeDamaged.
    """
    store, now = storage(root), datetime.now(UTC)
    until = round((now - retention).timestamp() * 1_000)
    known = _Known(root, min(until, round((now - _SURE).timestamp() * 1_000))) if deep else None
    found = []
    for form in (FORM, *map(form_of, Dataset)):
        if (table := find_table(root, form)) is None:
            continue
        removed, vacuumed = table.removed(), table.vacuumed
        new = [path for path, when in removed.items() if vacuumed - _LATE_MS < when <= until]
        files = _existing(store, new)
        young = {path for path, when in removed.items() if when > until}
        if known:
            files += known.left_over(form, table, young.union(file.path for file in files))
        found.append(Due(table, max(until, vacuumed), files, len(young), bool(new)))
    return found


def lost_files(root: str) -> list[Removable]:
    """Files of changes that lost, or were killed: only a deep vacuum finds them."""
    return [file for due in find_due(root, _EVER, deep=True) for file in due.files]


def _existing(store: Storage, paths: list[str]) -> list[Removable]:
    with faults(store.root):
        infos = store.filesystem.get_file_info([store.full(path) for path in paths])
    return [Removable(path, info.size) for path, info in zip(paths, infos, strict=True) if info.is_file]


class _Known:
    """What the lake consists of, to find what it does not.

    Args:
        before: files of units and folds that were written later, in milliseconds since the epoch, may be needed.
    """

    def __init__(self, root: str, before: int) -> None:
        self._store, self._before = storage(root), before
        lk = Lake(root)
        self._live = {file.path for file in lk.entries(*Dataset)}
        self._units = set(lk.as_committed["unit"].to_pylist())
        self._number = lk.number

    def left_over(self, form: Form, table: Table, but: set[str]) -> Iterator[Removable]:
        """Files that no reader will open and no table remembers: of changes and folds that lost, and those that were
        replaced so long ago."""
        live = self._live.union(but, table.files()["path"].to_pylist())
        # After the lake was opened: what has come since belongs to no unit or change of it.
        for info in self._store.list(form.name):
            path = self._store.relative(info.path)
            if path in live or f"/{LOG}/" in path:
                continue
            number = attempted_change(path)
            is_old = info.mtime_ns // 1_000_000 <= self._before and (form == FORM or unit_of(path) in self._units)
            if is_old if number is None else number <= self._number:
                yield Removable(path, info.size)
