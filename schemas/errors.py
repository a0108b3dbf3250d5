"""What can go wrong outside the data, each with the exit code of the command that it ends.

PrestaCopError
 ├─ OutputUnusable      2  a lake that cannot be written where it is said to be
 ├─ InputUnusable       3  a file that cannot be read, or is not what it is said to be
 ├─ ServiceUnavailable  4  object storage or a broker that does not answer
 ├─ DiskFull            5  no room for the lake
 └─ NotReconciled       1  rows in and rows out differ
"""

from typing import ClassVar


class PrestaCopError(Exception):
    """The base: its message says what happened and what to do next."""

    exit_code: ClassVar[int] = 1


class OutputUnusable(PrestaCopError):
    """Nothing can be written there."""

    exit_code = 2


class InputUnusable(PrestaCopError):
    """The input cannot be read at all; rows that are merely bad are dead letters instead."""

    exit_code = 3


class ServiceUnavailable(PrestaCopError):
    """A service that the run needs does not answer."""

    exit_code = 4


class DiskFull(PrestaCopError):
    """The file system of the lake has no room left."""

    exit_code = 5


class NotReconciled(PrestaCopError):
    """The ledger and the lake do not agree."""
