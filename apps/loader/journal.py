"""The journal: the durable progress of a load, which survives a power cut at any moment.

A file of lines, each with a checksum: the first names file and target, each further one the acknowledged position. A
line is valid when it is complete and synced; a torn line at the end is truncated.
"""

import fcntl
import hashlib
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from .disk import lock, os_errors_translated, sync_folder
from .entries import VERSION, Entry, JournalUnusable, line_of, read_entries
from .pieces import Place

_SUFFIX: Final = ".journal"


def folder() -> Path:
    """The default folder of journals, in the user's XDG state directory."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "prestacop/loader"


class Journal:
    """The journal of one file and one target; created by :func:`opened`."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self._where = path.parent
        self._descriptor = descriptor
        self.entries, self._size = _entries(path, descriptor)

    @property
    def begun(self) -> Entry:
        """The first entry; empty where no load has begun."""
        return self.entries[0] if self.entries else {}

    @property
    def known(self) -> Entry:
        """The first entry, updated by the last one."""
        return {**self.begun, **(self.entries[-1] if self.entries else {})}

    @property
    def done(self) -> bool:
        """Whether the load is complete."""
        return bool(self.entries) and "done" in self.entries[-1]

    @property
    def place(self) -> Place:
        """The position up to which the target has acknowledged everything."""
        last = self.entries[-1] if self.entries else {}
        return Place(last.get("offset", 0), last.get("record", 0))

    @property
    def read(self) -> int:
        """The offset up to which the file was read; in compressed bytes where it is compressed."""
        return int(self.entries[-1].get("read", 0)) if self.entries else 0

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Discard all entries and begin a load."""
        self.entries, self._size = [], 0
        self._append({**facts, "v": VERSION})

    def arrived(self, place: Place, read: int, where: Mapping[str, Any]) -> None:
        """Record that everything before ``place`` is durable at the target, and the file was read up to ``read``."""
        self._append({**place._asdict(), "read": read, **where})

    def finished(self, place: Place, where: Mapping[str, Any]) -> None:
        """Record that the load is complete and visible to readers."""
        self._append({**place._asdict(), "done": True, **where})

    def _append(self, entry: Entry) -> None:
        entry |= {"at": round(time.time(), 3)}
        line = line_of(entry)
        with os_errors_translated(self._where):
            os.ftruncate(self._descriptor, self._size)
            view = memoryview(line)
            while view:
                written = os.pwrite(self._descriptor, view, self._size + len(line) - len(view))
                view = view[written:]
            os.fsync(self._descriptor)
        self._size += len(line)
        self.entries = [*self.entries[:1], entry]


@contextmanager
def opened(where: Path, path: Path, target: str) -> Iterator[Journal]:
    """The journal of a file and a target, locked for this process. Raises InUse, NotPermitted,
    OutputUnusable, DiskFull."""
    name = hashlib.blake2b(os.fsencode(f"{path.absolute()}\n{target}"), digest_size=16).hexdigest() + _SUFFIX
    with os_errors_translated(where):
        where.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(where / name, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK, 0o644)
    try:
        with os_errors_translated(where):
            sync_folder(where)
            lock(descriptor, f"{path} is being loaded to {target}")
        journal = Journal(where / name, descriptor)
        begun = journal.begun
        if begun and (begun["path"], begun["target"]) != (str(path.absolute()), target):
            raise JournalUnusable(where / name, f"is the journal of another load, {begun['path']} to {begun['target']}")
        yield journal
    finally:
        os.close(descriptor)


def paths(where: Path) -> list[Path]:
    """The files that have the name of a journal."""
    return sorted(where.glob(f"*{_SUFFIX}"))


def entries_of(path: Path) -> tuple[list[Entry], bool]:
    """The first and the last entry of a journal, and whether it is locked. Raises NotPermitted, OutputUnusable."""
    with os_errors_translated(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        entries, _ = _entries(path, descriptor)
        return entries, _locked(descriptor)
    finally:
        os.close(descriptor)


def _entries(path: Path, descriptor: int) -> tuple[list[Entry], int]:
    with os_errors_translated(path):
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise JournalUnusable(path, "is not a regular file")
        os.lseek(descriptor, 0, os.SEEK_SET)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return read_entries(file, path)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False
