"""A directory: a file is written under a temporary name and renamed."""

import errno
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.fs as pafs

from lake.faults import faults
from lake.storage.base import Storage, check_name
from schemas.errors import OutputUnusable, UnsafePath
from schemas.files.urls import local_path
from schemas.os_errors import exists

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class LocalStorage(Storage):
    """A directory of this machine (or a mounted one)."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.base = str(Path(local_path(root)).absolute())
        check_name(self.base, OutputUnusable)
        self.filesystem = pafs.LocalFileSystem()

    def probe(self) -> None:
        base = Path(self.base)
        with faults(self.root):
            there = next(folder for folder in (base, *base.parents) if exists(folder))
        if there == base:
            super().probe()
        else:  # a run that fails for another reason leaves no empty lake
            LocalStorage(str(there)).probe()

    def read(self, path: str) -> bytes:
        self._inside(Path(self.full(path)))
        return super().read(path)

    def size(self, path: str) -> int | None:
        self._inside(Path(self.full(path)))
        return super().size(path)

    def put(self, path: str, data: bytes | memoryview) -> None:
        with self._written(path, data) as (temporary, target):
            os.replace(temporary, target)

    def put_new(self, path: str, data: bytes | memoryview) -> bool:
        with self._written(path, data, sync=True) as (temporary, target):
            try:
                os.link(temporary, target)
            except FileExistsError:
                # A file server whose first answer was lost reports this call's own link as existing.
                if temporary.stat().st_nlink < 2:
                    return False
            except OSError as error:
                if error.errno in _NO_LINKS:
                    raise OutputUnusable(
                        f"{self.root}: this file system has no hard links, which a commit needs; choose another place"
                    ) from error
                raise
            _sync_directory(target.parent)
            return True

    def delete(self, path: str) -> None:
        target = Path(self.full(path))
        self._inside(target.parent)
        with faults(self.root):
            target.unlink(missing_ok=True)

    def flush(self) -> None:
        os.sync()  # once per unit: a sync of each file would take a tenth of a run

    @contextmanager
    def _written(self, path: str, data: bytes | memoryview, sync: bool = False) -> Iterator[tuple[Path, Path]]:
        target = Path(self.full(path))
        self._inside(target.parent)
        # Readers and listings skip names with a leading dot.
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        with faults(self.root):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                opened = temporary.open("xb")
            except FileNotFoundError as error:
                raise OutputUnusable(f"{self.root}: {error.strerror}: {target.parent}; choose another place") from error
            try:
                with opened as file:
                    file.write(data)
                    if sync:
                        file.flush()
                        os.fsync(file.fileno())
                yield temporary, target
            finally:
                temporary.unlink(missing_ok=True)

    def list(self, prefix: str) -> list[pafs.FileInfo]:
        self._inside(Path(self.full(prefix)))
        found = [i for i in super().list(prefix) if not i.base_name.startswith(".")]
        for folder in sorted({i.path.rpartition("/")[0] for i in found}):
            self._inside(Path(folder))
        return found

    def temporaries(self) -> tuple[pafs.FileInfo, ...]:
        selector = pafs.FileSelector(self.base, recursive=True, allow_not_found=True)
        with faults(self.root):
            infos = self.filesystem.get_file_info(selector)
        return tuple(info for info in infos if _TEMPORARY.fullmatch(info.base_name))

    def _inside(self, path: Path) -> None:
        """Raises UnsafePath where a symbolic link leads out of the root; the root itself may be one."""
        real, root = os.path.realpath(path), os.path.realpath(self.base)
        if os.path.commonpath((real, root)) != root:
            raise UnsafePath(
                f"{self.root}: {path} leads by a symbolic link to {real}, out of the lake; remove the link"
            )


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
