"""What can go wrong outside the data, each with the exit code of the command that it ends.

PrestaCopError
 ├─ OutputUnusable      2  a lake that cannot be written where it is said to be
 ├─ OptionsRefused      2  options of a topic's URL that the client library refuses
 ├─ AcknowledgedLost    2  messages that a broker acknowledged and has lost
 ├─ InputUnusable       3  a file that cannot be read, or is not what it is said to be
 │   ├─ TopicUnusable      a topic that does not exist, or refuses a message
 │   ├─ UnsafePath         a path that leads out of the lake
 │   └─ LakeDamaged        a file of the lake that is not what was written
 ├─ ServiceUnavailable  4  object storage or a broker that does not answer
 ├─ DiskFull            5  no room for the lake
 ├─ InputChanged        6  a file that was changed while it was loaded, or removed while it was read
 ├─ NotPermitted        7  what this user has no right to read or to write
 ├─ InUse               8  another process is at it
 └─ NotReconciled       1  rows in and rows out differ; nothing else ends with 1

What is none of these is a fault of the program: its traceback is printed, and the command ends with 70.
"""

from typing import ClassVar, Final

BUG = 70
"""EX_SOFTWARE of sysexits.h."""


class PrestaCopError(Exception):
    """The base: its message says what happened and what to do next."""

    exit_code: ClassVar[int] = BUG


class OutputUnusable(PrestaCopError):
    """Nothing can be written there."""

    exit_code = 2


class OptionsRefused(PrestaCopError):
    """The client library refuses the options of a topic's URL."""

    exit_code = 2


class AcknowledgedLost(PrestaCopError):
    """A broker has lost messages that it had acknowledged."""

    exit_code = 2


class InputUnusable(PrestaCopError):
    """The input cannot be read at all; rows that are merely bad are dead letters instead."""

    exit_code = 3


class TopicUnusable(InputUnusable):
    """There is no such topic or subscription, or it refuses a message or a setting."""


class UnsafePath(InputUnusable):
    """A path below the lake's root, as a message or the ledger has it, that leads out of it."""


class LakeDamaged(InputUnusable):
    """A file of the lake is not what was written; reconcile says which."""


class ServiceUnavailable(PrestaCopError):
    """A service that the run needs does not answer."""

    exit_code = 4


class DiskFull(PrestaCopError):
    """The file system of the lake has no room left."""

    exit_code = 5


class InputChanged(PrestaCopError):
    """The input is not what it was when work on it began."""

    exit_code = 6


class NotPermitted(PrestaCopError):
    """This user has no right to read the input, or to write there."""

    exit_code = 7


class InUse(PrestaCopError):
    """Another process does the same at this moment."""

    exit_code = 8


class NotReconciled(PrestaCopError):
    """The ledger and the lake do not agree."""

    exit_code = 1


FINAL: Final = (OutputUnusable, OptionsRefused, InputUnusable, DiskFull, NotPermitted)
"""What neither waiting nor the same work again mends: somebody has to do what the message says."""
