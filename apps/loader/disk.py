"""Locks, durable directory entries, and errors of the operating system as errors that say what to do."""

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from schemas.errors import DiskFull, InUse, NotPermitted, OutputUnusable

_LOCK_S: Final = 0.2
"""How long to wait for a lock: --status holds a journal for a moment."""


@contextmanager
def os_errors_translated(where: Path) -> Iterator[None]:
    """Translate OSErrors of a path that is written to into errors that say what to do."""
    try:
        yield
    except PermissionError as error:
        raise NotPermitted(
            f"{where}: this user may not write there; give it the permission, or choose another place"
        ) from error
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputUnusable(f"{where} is not a directory; choose another place") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"{where}: no space left; free some and run the same command again: it resumes") from error
        raise OutputUnusable(f"{where}: {error.strerror or error}; choose another place") from error


def lock(descriptor: int, what: str) -> None:
    """Lock a file while it is open. Raises InUse where another process holds the lock."""
    until = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise InUse(f"{what} by another process; wait until it ends, or stop it") from error
            time.sleep(0.02)


def sync_folder(where: Path) -> None:
    """Return when the names in a folder are durable."""
    descriptor = os.open(where, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
