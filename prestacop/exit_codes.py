"""The table of docs/exit-codes.md, made of the tree of errors in :mod:`schemas.errors`."""

from collections.abc import Iterator
from typing import Final

from schemas.errors import BUG, PrestaCopError
from terminal.exits import PIPE_CLOSED
from terminal.signals import INTERRUPTED

OTHERS: Final = (
    (0, "", "done", "", "all"),
    (2, "", "wrong usage", "read the message and `--help`", "all"),
    (BUG, "", "a fault of the program", "report the traceback together with the command and its version", "all"),
    (INTERRUPTED, "", "Ctrl-C, SIGTERM or SIGHUP", "run the command that is printed: it resumes", "all"),
    (PIPE_CLOSED, "", "the reader of the output, such as `head`, has closed it", "", "all"),
)
"""Code, error, condition, hint and commands of the ends that no error of the tree has."""


def table() -> Iterator[str]:
    """The lines of the table, by exit code."""
    rows = [(e.exit_code, f"`{e.__name__}`", e.condition, e.hint, e.commands) for e in errors()]
    yield "| code | condition | what to do | commands | error |"
    yield "|---|---|---|---|---|"
    for code, name, condition, hint, commands in sorted((*OTHERS, *rows), key=lambda row: row[0]):
        yield f"| {code} | {condition} | {hint} | {commands} | {name} |"


def errors(of: type[PrestaCopError] = PrestaCopError) -> Iterator[type[PrestaCopError]]:
    """The errors of the tree, each after its parent; only those of schemas.errors, which others refine."""
    for error in of.__subclasses__():
        if error.__module__ == PrestaCopError.__module__:
            yield error
            yield from errors(error)
