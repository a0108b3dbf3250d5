"""What can go wrong outside the data, each with the exit code of the command that it ends.

PrestaCopError
 ├─ OutputUnusable      2  a lake that cannot be written at that place
 ├─ OptionsRefused      2  options of a topic's URL that the client library refuses
 ├─ AcknowledgedLost    2  messages that a broker acknowledged and has lost
 ├─ InputUnusable       3  a file that cannot be read, or is of another kind
 │   ├─ TopicUnusable      a topic that does not exist, or refuses a message
 │   ├─ UnsafePath         a path that leads out of the lake
 │   ├─ LakeDamaged        a file of the lake that is not what was written
 │   └─ LakeTooNew         a lake that a newer version of this program wrote
 ├─ ServiceUnavailable  4  object storage or a broker that does not answer
 ├─ DiskFull            5  no room for the lake
 ├─ InputChanged        6  a file that was changed while it was loaded, or removed while it was read
 ├─ NotPermitted        7  what this user has no right to read or to write
 ├─ InUse               8  another process does the same
 └─ NotReconciled       1  rows in and rows out differ; nothing else ends with 1

What is none of these is a fault of the program: its traceback is printed, and the command ends with 70.
"""

from typing import ClassVar, Final

BUG = 70
"""EX_SOFTWARE of sysexits.h."""


class PrestaCopError(Exception):
    """The base: its message says what happened and what to do next. docs/exit-codes.md is made of these attributes."""

    exit_code: ClassVar[int] = BUG
    condition: ClassVar[str] = ""
    hint: ClassVar[str] = ""
    commands: ClassVar[str] = ""
    """The commands that may end with it."""


class NotReconciled(PrestaCopError):
    """The ledger and the lake do not agree."""

    exit_code = 1
    condition = "rows in and rows out differ"
    hint = "keep the lake as it is, and look at the units that are named; nothing else ends with 1"
    commands = "run, reconcile, compact, replay, undo, forget"


class OutputUnusable(PrestaCopError):
    """Nothing can be written there."""

    exit_code = 2
    condition = "an output cannot be written at that place"
    hint = "choose another place or name"
    commands = "all that write"


class OptionsRefused(PrestaCopError):
    """The client library refuses the options of a topic's URL."""

    exit_code = 2
    condition = "the client library refuses options of a topic's URL"
    hint = "correct the options that the message names"
    commands = "all with a topic's URL"


class AcknowledgedLost(PrestaCopError):
    """A broker has lost messages that it had acknowledged."""

    exit_code = 2
    condition = "a broker lost messages that it had acknowledged"
    hint = "repair the broker, then run the same command again: it loads the file from its beginning"
    commands = "load"


class InputUnusable(PrestaCopError):
    """The input cannot be read at all; rows that are merely bad are dead letters instead."""

    exit_code = 3
    condition = "an input cannot be read, is not what it should be, or is mostly refused; no lake there"
    hint = "correct the path or the file"
    commands = "all that read"


class TopicUnusable(InputUnusable):
    """There is no such topic or subscription, or a topic or a bucket refuses a message or a setting."""

    condition = "there is no such topic or subscription, or a topic or a bucket refuses a message or a setting"
    hint = "create it with prestacop topics, or correct the name"
    commands = "all with a topic's URL"


class UnsafePath(InputUnusable):
    """A path below the lake's root, as a message or the ledger has it, that leads out of it."""

    condition = "a path in a message or in the ledger leads out of the lake"
    hint = "find out who wrote it: the lake was tampered with"
    commands = "all that read a lake"


class LakeDamaged(InputUnusable):
    """A file of the lake is not what was written; reconcile says which."""

    condition = "a file of the lake is not what was written"
    hint = "run prestacop reconcile, which names it, and restore it from a backup"
    commands = "all that read a lake"


class LakeTooNew(InputUnusable):
    """A newer version of this program wrote the lake."""

    condition = "a newer version of this program wrote the lake"
    hint = "install that version or a later one"
    commands = "all that open a lake"


class ServiceUnavailable(PrestaCopError):
    """A service that the run needs does not answer."""

    exit_code = 4
    condition = "object storage, a broker or another service does not answer; a limit of this machine is reached"
    hint = "check that it runs, then run the same command again"
    commands = "all"


class DiskFull(PrestaCopError):
    """The file system of the lake has no room left."""

    exit_code = 5
    condition = "no space left"
    hint = "free some, then run the same command again: it resumes"
    commands = "all that write"


class InputChanged(PrestaCopError):
    """The input is not what it was when work on it began."""

    exit_code = 6
    condition = "an input was changed while it was read, or a vacuum removed a file that was to be read"
    hint = "run the same command again"
    commands = "run, load, analyze, fines, fleet, officers, trace, reconcile, compact, replay, undo, forget"


class NotPermitted(PrestaCopError):
    """This user has no right to read the input, or to write there."""

    exit_code = 7
    condition = "no permission to read the input or to write the output"
    hint = "give this user the permission, or correct the credentials"
    commands = "all"


class InUse(PrestaCopError):
    """Another process does the same at this moment."""

    exit_code = 8
    condition = "another process does the same at this moment"
    hint = "wait for it, or end it"
    commands = "load"


FINAL: Final = (OutputUnusable, OptionsRefused, InputUnusable, DiskFull, NotPermitted)
"""Errors that no retry fixes: a person has to do what the message says."""
