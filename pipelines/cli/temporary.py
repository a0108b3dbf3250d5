"""One temporary folder for each command, for Beam, Prism, DuckDB and the project: removed when the command ends.

After a kill -9 the next command of this user removes it.
"""

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from schemas.errors import OutputUnusable

_OURS = re.compile(r"prestacop-run-\w+")


@contextmanager
def own_temporary_folder() -> Iterator[None]:
    """Let all temporary files of this process and its children be in one folder, and remove it in the end.

    Raises OutputUnusable where no temporary file can be made.
    """
    before, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    try:
        parent = tempfile.gettempdir()
    except FileNotFoundError as error:
        raise OutputUnusable(f"{error.strerror}; set TMPDIR to a directory that can be written") from error
    _sweep(Path(parent))
    new = Path(tempfile.mkdtemp(prefix="new-prestacop-run-", dir=parent))
    lock = os.open(new, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    folder = str(new.rename(new.with_name(new.name.removeprefix("new-"))))  # it gets its name once it is locked
    tempfile.tempdir = os.environ["TMPDIR"] = folder
    try:
        yield
    finally:
        tempfile.tempdir = before
        if variable is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = variable
        shutil.rmtree(folder, ignore_errors=True)  # a thread that was stopped half-way may still write there
        os.close(lock)


def outside(folder: str) -> str:
    """A folder for temporary files of a process that outlives the command: outside of the command's own."""
    path = Path(folder)
    while _OURS.fullmatch(path.name):
        path = path.parent
    return str(path)


def _sweep(parent: Path) -> None:
    """Remove the folders whose command has ended: they are not locked."""
    for name in os.listdir(parent) if os.access(parent, os.R_OK) else ():
        if not _OURS.fullmatch(name):
            continue
        try:
            lock = os.open(parent / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        except OSError:  # of another user, or just removed
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(parent / name, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            os.close(lock)
