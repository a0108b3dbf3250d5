"""Translates any error, also one that a worker raised, into the error of :mod:`schemas.errors` that it means.

Beam reports what a worker raised as a RuntimeError whose message is the text of the worker's traceback, on every
runner: no object crosses (decision 133). Python ends a traceback with ``MODULE.CLASS: MESSAGE``, where MODULE is spelt
out for every class that is not built in. :func:`raised_by_worker` is the one place that parses that line. Errors
outside the tree are parsed in the same way: one of the operating system by its number, one of pyarrow or DuckDB by its
class.
"""

import re
from collections.abc import Iterator

from lake.faults import damaged, is_damage, is_fault, meaning
from schemas import errors
from schemas.os_errors import bad_name

_STEP = " [while running"
"""What Beam appends to a message."""
_OURS = re.compile(r"(?:^|\s)(?:[a-z_]+\.)+([A-Z]\w+): (.+)")
_OF_THE_SYSTEM = re.compile(r"(?:^|\n)\w+Error: \[Errno (\d+)\] ([^:\n]+)(?:: '([^'\n]+)')?")
_OF_PARQUET = re.compile(r"(?:^|\n)(?:pyarrow\.lib\.Arrow\w+|OSError|_?duckdb\.\w+): (.+)")


def _tree(error: type[errors.PrestaCopError] = errors.PrestaCopError) -> Iterator[type[errors.PrestaCopError]]:
    for kind in error.__subclasses__():
        yield kind
        yield from _tree(kind)


def raised_by_worker(text: str) -> errors.PrestaCopError | None:
    """The first error of the tree in the text of a worker's traceback.

    >>> raised_by_worker("Traceback ...\\nschemas.errors.DiskFull: no room [while running 'Commit']")
    DiskFull('no room')
    """
    kinds = {kind.__name__: kind for kind in _tree()}
    for found in _OURS.finditer(text):
        if kind := kinds.get(found[1]):
            return kind(found[2].partition(_STEP)[0])
    return None


def known(error: Exception) -> errors.PrestaCopError | None:
    """The error of ours that this is; none where it is a fault of the program."""
    if isinstance(error, errors.PrestaCopError):
        return error
    if ours := raised_by_worker(str(error)):
        return ours
    if isinstance(error, UnicodeEncodeError) and (name := bad_name(error)):
        return meaning(error, name)
    if is_fault(error):
        of_this_machine = isinstance(error, OSError) and error.errno is not None
        where = getattr(error, "filename", None) or ("this machine" if of_this_machine else "the lake")
        return meaning(error, str(where), errors.InputUnusable)
    if found := _OF_THE_SYSTEM.search(str(error)):
        of_the_worker = OSError(int(found[1]), found[2].partition(_STEP)[0])
        return meaning(of_the_worker, found[3] or "a worker", errors.InputUnusable)
    if (found := _OF_PARQUET.search(str(error))) and is_damage(ValueError(found[1])):
        return damaged(ValueError(found[1].partition(_STEP)[0]), "the lake")
    return None
