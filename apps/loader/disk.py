"""Locks, durable names, and what the operating system says, in words that say what to do."""

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
"""--status holds a journal for a moment."""


@contextmanager
def told(where: Path) -> Iterator[None]:
    """Turn what the operating system says of a place to write to into an error that says what to do."""
    try:
        yield
    except PermissionError as error:
        raise NotPermitted(f"{where}: this user may not write there; give it the right, or choose another") from error
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputUnusable(f"{where} is no directory; choose another place") from error
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"{where}: no room left; free some and run the same command again, it goes on") from error
        raise OutputUnusable(f"{where}: {error.strerror or error}; choose another place") from error


def lock(descriptor: int, what: str) -> None:
    """Hold a file for as long as it is open. Raises InUse where another process does."""
    until = time.monotonic() + _LOCK_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise InUse(f"{what} by another process; wait for it, or end it") from error
            time.sleep(0.02)


def sync_folder(where: Path) -> None:
    """Return when the names in a folder would survive a power cut."""
    descriptor = os.open(where, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
