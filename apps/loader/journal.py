"""What is known to have arrived, written down so that no power cut can take it back.

A file of lines, each with a checksum: the first says what is loaded where, each further one how far it is. A line
counts when it is whole and on the disk; what was torn off behind it is cut away.
"""

import fcntl
import hashlib
import json
import os
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from .disk import lock, sync_folder, told
from .pieces import Place

_SUFFIX: Final = ".journal"
Entry = dict[str, Any]


def folder() -> Path:
    """Where journals are if nobody says otherwise: beside what other programs remember of this user."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "prestacop/loader"


class Journal:
    """The journal of one file on its way to one target; made by :func:`opened`."""

    def __init__(self, where: Path, descriptor: int) -> None:
        self._where = where
        self._descriptor = descriptor
        data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
        self.entries, self._size = _read(data)

    @property
    def begun(self) -> Entry:
        """What the load began with; empty where it has not."""
        return self.entries[0] if self.entries else {}

    @property
    def done(self) -> bool:
        """Whether all has arrived."""
        return bool(self.entries) and "done" in self.entries[-1]

    @property
    def place(self) -> Place:
        """Up to where all has arrived."""
        last = self.entries[-1] if self.entries else {}
        return Place(last.get("offset", 0), last.get("record", 0))

    @property
    def read(self) -> int:
        """Up to where the file was read; where it is packed, in packed bytes."""
        return int(self.entries[-1].get("read", 0)) if self.entries else 0

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Forget what was, and begin a load."""
        self.entries, self._size = [], 0
        self._append(dict(facts))

    def arrived(self, place: Place, read: int) -> None:
        """All before ``place`` is at the target, for ever; the file was read up to ``read``."""
        self._append(place._asdict() | {"read": read})

    def finished(self, place: Place) -> None:
        """All is, and under its name."""
        self._append(place._asdict() | {"done": True})

    def _append(self, entry: Entry) -> None:
        entry |= {"at": round(time.time(), 3)}
        line = _line(entry)
        with told(self._where):
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
    """The journal of a file and a target, for this process alone. Raises InUse, NotPermitted,
    OutputUnusable, DiskFull."""
    name = hashlib.blake2b(os.fsencode(f"{path.absolute()}\n{target}"), digest_size=16).hexdigest() + _SUFFIX
    with told(where):
        where.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(where / name, os.O_RDWR | os.O_CREAT, 0o644)
        sync_folder(where)
    try:
        lock(descriptor, f"{path} is being loaded to {target}")
        yield Journal(where, descriptor)
    finally:
        os.close(descriptor)


def journals(where: Path) -> Iterator[tuple[list[Entry], bool]]:
    """For each journal its first and last entry, and whether somebody is at it."""
    for path in sorted(where.glob(f"*{_SUFFIX}")):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            entries, _ = _read(path.read_bytes())
            if entries:
                yield entries, _locked(descriptor)
        finally:
            os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    return False


def _line(entry: Entry) -> bytes:
    text = json.dumps(entry).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _read(data: bytes) -> tuple[list[Entry], int]:
    """The first and the last of the whole lines, and how many bytes these and those between them are."""
    entries: list[Entry] = []
    size = 0
    while end := data.find(b"\n", size) + 1:
        checksum, _, text = data[size : end - 1].partition(b" ")
        if checksum != b"%08x" % zlib.crc32(text):
            break
        entries = [*entries[:1], json.loads(text)]
        size = end
    return entries, size
