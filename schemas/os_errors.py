"""Translates errors of the operating system: what to do, and the exit code."""

import errno
from pathlib import Path

from schemas.errors import DiskFull, NotPermitted, OutputUnusable, PrestaCopError, ServiceUnavailable

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM)
_TOO_MANY = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.EBADF, errno.ELOOP)
_AWAY = (errno.ECONNREFUSED, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)


def exists(path: Path) -> bool:
    """Whether a file or folder is there. ``Path.exists`` of Python 3.14 answers no where the system cannot know.

    Raises:
        OSError: the system cannot know: no permission, a name that is too long, a broken disk.
    """
    try:
        path.stat()
    except OSError as error:
        if error.errno in _MISSING:
            return False
        raise
    return True


def of_the_system(
    error: OSError | UnicodeError, where: str, unusable: type[PrestaCopError] = OutputUnusable
) -> PrestaCopError:
    """The error that says what to do.

    Args:
        where: the place in question, for people.
        unusable: what it is called when nothing but another place or name helps.
    """
    if isinstance(error, UnicodeError):
        return unusable(f"{where!a}: a name must be UTF-8 text; rename it")
    system_message = error.strerror or str(error)
    if error.errno in _FULL:
        return DiskFull(
            f"{where}: no room left ({system_message}); free some and run the same command again: it resumes"
        )
    if error.errno in _DENIED:
        return NotPermitted(f"{where}: {system_message}; give this user the right, or choose another place")
    if error.errno in _TOO_MANY:
        return ServiceUnavailable(
            f"{where}: {system_message}; raise the limit (ulimit -n 4096) and run the same command again"
        )
    if error.errno in _AWAY:
        return ServiceUnavailable(f"{where}: {system_message}; check that it runs, then run the same command again")
    named = f" ({error.filename})" if error.filename and str(error.filename) != where else ""
    return unusable(f"{where}: {system_message}{named}; choose another place")


def bad_name(error: BaseException) -> str | None:
    """The name that is no UTF-8 text, where an error is about one: Python takes such names from the command line, and
    cannot write them into a text."""
    if not isinstance(error, UnicodeEncodeError) or error.reason != "surrogates not allowed":
        return None
    return str(error.object[: error.end].split()[-1])
