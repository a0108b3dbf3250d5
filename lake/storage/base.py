"""What every storage of files can do, and what buckets have in common."""

import errno
import io
import os
import re
import uuid
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import IO, Any, ClassVar, cast
from urllib.parse import urlsplit

import pyarrow.fs as pafs

from lake.faults import faults
from lake.retries import Contradiction, patiently
from schemas.errors import OutputUnusable, PrestaCopError, UnsafePath

DELETES = 16
"""Files removed in parallel."""
OBJECT_BYTES = 8 << 20
"""Least bytes per request of an object that is not opened by pyarrow."""
CONNECTIONS = 64
"""Of a client of a bucket: each unit that is read uploads pictures with 16 threads."""
TABLE_RETRIES = 1_000_000
"""Of deltalake: time limits them, since it waits a random time between two, so a few may be over within seconds."""
_NO_NAME = re.compile(r"[\0\ud800-\udfff]")
"""Characters that no UTF-8 file name contains."""


class Storage(ABC):
    """The files below one root; paths are relative to it, with ``/`` between their parts.

    Every method raises UnsafePath for a path that leads out of the root.
    """

    root: str
    filesystem: pafs.FileSystem
    """The same files for pyarrow, below :attr:`base`."""
    base: str

    @abstractmethod
    def put(self, path: str, data: bytes | memoryview) -> None:
        """Write a whole file; replaces an older one of that name."""

    @abstractmethod
    def put_new(self, path: str, data: bytes | memoryview) -> bool:
        """Write a whole file unless one of that name exists; returns whether this call wrote it. In a bucket, where an
        answer may be lost, an existing file with the same bytes counts as written by this call."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Remove a file, if it exists."""

    def delete_all(self, paths: Iterable[str]) -> None:
        """Remove files, those that exist, several at a time."""
        with ThreadPoolExecutor(DELETES) as pool:
            deque(pool.map(self.delete, paths), maxlen=0)  # raises what a call has raised

    @abstractmethod
    def flush(self) -> None:
        """Return when everything that :meth:`put` wrote is durable."""

    def probe(self) -> None:
        """Test with a file of its own whether commits work here, before the work starts.

        Raises OutputUnusable, NotPermitted, DiskFull, ServiceUnavailable.
        """
        name = f".probe-{uuid.uuid4().hex}"
        once, twice = self.put_new(name, b"x"), self.put_new(name, b"y")
        self.put(name, b"z")
        self.delete(name)
        if not once or twice:
            raise OutputUnusable(
                f"{self.root}: two conditional writes of one name gave {once} and {twice}: commits are not safe there "
                "(a server without If-None-Match?); choose another place"
            )

    def full(self, path: str) -> str:
        """The full path, for :attr:`filesystem`."""
        return f"{self.base}/{self._safe(path)}"

    def relative(self, full: str) -> str:
        """The path below the root of a full one."""
        return full.removeprefix(f"{self.base}/")

    def is_file(self, path: str) -> bool:
        """Whether the file exists."""
        return bool(self.filesystem.get_file_info(self.full(path)).is_file)

    def _safe(self, path: str) -> str:
        """The path. Raises UnsafePath where it is not below the root."""
        if any(part in ("", ".", "..") or "\\" in part or _NO_NAME.search(part) for part in path.split("/")):
            raise UnsafePath(
                f"{self.root}: {path!r} is not a path below the lake's root; this program did not write it: check "
                "where it comes from"
            )
        return path

    def names(self) -> list[str]:
        """The names of the files and folders at the root, sorted."""
        selector = pafs.FileSelector(self.base, allow_not_found=True)
        with faults(self.root):
            infos = patiently(partial(self.filesystem.get_file_info, selector))
        return sorted(info.base_name for info in infos)

    def list(self, prefix: str) -> list[pafs.FileInfo]:
        """The files below a directory, sorted by path; none when there is no such directory."""
        selector = pafs.FileSelector(self.full(prefix), recursive=True, allow_not_found=True)
        with faults(self.root):
            infos = patiently(partial(self.filesystem.get_file_info, selector))
        return sorted((i for i in infos if i.type == pafs.FileType.File), key=lambda i: str(i.path))

    def table_options(self) -> dict[str, str]:
        """Options for deltalake: the same credentials and endpoint as those of this storage."""
        return {}

    def temporaries(self) -> tuple[pafs.FileInfo, ...]:
        """Files that are being written, or that a killed process has left half-written."""
        return ()

    def size(self, path: str) -> int | None:
        """The size of a file in bytes; None where it does not exist."""
        with faults(self.root):
            info = patiently(partial(self.filesystem.get_file_info, self.full(path)))
        return int(info.size) if info.is_file else None

    def read(self, path: str) -> bytes:
        """The whole file. Raises FileNotFoundError."""
        with faults(self.root), self.filesystem.open_input_stream(self.full(path)) as stream:
            return bytes(stream.read())


class BucketStorage(Storage):
    """A bucket, or a prefix in it. Credentials and endpoints come from the environment: never from flags, which Beam
    logs."""

    scheme: ClassVar[str]
    service: ClassVar[str]
    """Its name, for people."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.base = root.removeprefix(self.scheme).removesuffix("/")
        self.bucket, _, self.prefix = self.base.partition("/")
        usage = f"write {self.scheme}BUCKET/PREFIX"
        if not self.bucket:
            raise OutputUnusable(f"{root}: the bucket is missing; {usage}")
        if self.prefix and any(part in ("", ".", "..") for part in self.prefix.split("/")):
            raise OutputUnusable(f"{root}: the prefix has an empty part, '.' or '..'; {usage}")

    @abstractmethod
    def upload(self, key: str, body: bytes) -> None:
        """Write an object; replaces an older one of that key."""

    @abstractmethod
    def create(self, key: str, body: bytes) -> bool:
        """Write an object unless one of that key exists; returns whether the server accepted it."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Remove an object, if it exists."""

    @abstractmethod
    def download(self, key: str) -> bytes:
        """The whole object. Raises FileNotFoundError."""

    @abstractmethod
    def keys(self, beginning: str, below: bool) -> Iterator[str]:
        """The keys of the bucket with this prefix, sorted by bytes.

        Args:
            below: also keys with a further ``/``; else these are grouped by their part up to it.
        """

    @abstractmethod
    def object_bytes(self, key: str) -> int:
        """The size of an object of the bucket. Raises FileNotFoundError."""

    @abstractmethod
    def read_range(self, key: str, start: int, end: int) -> bytes:
        """The bytes ``[start, end)`` of an object."""

    def open_object(self, key: str) -> IO[bytes]:
        """An object of the bucket, whatever its key. Raises FileNotFoundError."""
        return cast(IO[bytes], io.BufferedReader(_Object(self, key), OBJECT_BYTES))

    def put(self, path: str, data: bytes | memoryview) -> None:
        key, body = self._key(path), bytes(data)
        with faults(self.root):
            patiently(lambda: self.upload(key, body))

    def put_new(self, path: str, data: bytes | memoryview) -> bool:
        key, body = self._key(path), bytes(data)

        def create() -> bool:
            if self.create(key, body):
                return True
            # An earlier attempt may have written it, whose answer was lost, or a proxy sent the request twice: then it
            # is this call's own.
            try:
                return self.download(key) == body
            except FileNotFoundError as gone:
                raise Contradiction(
                    f"{self.root}: {self.service} refuses to write {key} because it exists, and does not find it when "
                    f"it is read; remove that object by {self.service}'s own tools, and run the same command again"
                ) from gone

        with faults(self.root):
            return patiently(create)

    def delete(self, path: str) -> None:
        key = self._key(path)
        with faults(self.root):
            patiently(lambda: self.remove(key))

    def size(self, path: str) -> int | None:
        found = super().size(path)
        if found is None:  # or the bucket is missing, which listing reports
            next(self.keys(self._key(path), below=True), None)
        return found

    def read(self, path: str) -> bytes:
        key = self._key(path)
        with faults(self.root):
            return patiently(lambda: self.download(key))

    def names(self) -> list[str]:
        beginning = f"{self.prefix}/" if self.prefix else ""
        found = (key.removeprefix(beginning).removesuffix("/") for key in self.keys(beginning, below=False))
        return sorted(filter(None, found))

    def flush(self) -> None:
        pass  # an upload is durable when it is answered

    def _key(self, path: str) -> str:
        return f"{self.prefix}/{self._safe(path)}" if self.prefix else self._safe(path)


class _Object(io.RawIOBase):
    """An object that is read by range requests."""

    def __init__(self, store: BucketStorage, key: str) -> None:
        self._store, self._key = store, key
        self._at = 0
        self._size = store.object_bytes(key)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        data = self._store.read_range(self._key, self._at, end)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


def endpoint(*variables: str) -> str | None:
    """The endpoint of the first of these variables that is set, if any. Raises OutputUnusable where it is not the URL
    of a server."""
    given = next(filter(None, map(os.environ.get, variables)), None)
    if not given:
        return None
    try:
        parts = urlsplit(given)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number, or out of range
        is_one = False
    if not is_one:
        raise OutputUnusable(f"{variables[-1]} is {given!r}; write http://HOST:PORT or https://HOST")
    return given


def not_found(name: str) -> FileNotFoundError:
    """The error of a file that is not there."""
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def check_name(name: str, unusable: type[PrestaCopError]) -> None:
    """Raises ``unusable`` for a name that pyarrow cannot open."""
    if _NO_NAME.search(name):
        shown = name.encode("unicode_escape").decode()
        raise unusable(f"{shown}: a name must be UTF-8 text; rename it")
