"""How a command ends: with the exit code of its error, and never with 1 where rows add up."""

import select
import sys
from collections.abc import Callable
from typing import NoReturn

from schemas.errors import BUG, PrestaCopError
from schemas.os_errors import bad_name, of_the_system
from terminal import logs
from terminal.printing import guarded_output, printable
from terminal.process import flush
from terminal.signals import INTERRUPTED, raising_interrupts

PIPE_CLOSED = 141
"""The reader of the output, such as ``head``, has exited: the code that a shell gives a process ended by SIGPIPE."""


def bug() -> int:
    """Print the traceback of the error that is handled, a fault of the program, and what to do; gives the exit code."""
    logs.COMMAND.error(
        "this is a fault of the program (exit code %d). What was committed stays as it is. Please report the traceback "
        "together with the command and its version",
        BUG,
        exc_info=True,
        extra={"exit_code": BUG},
    )
    return BUG


def report(error: PrestaCopError) -> int:
    """Print an error of the project as one line; returns its exit code."""
    logs.set_up()
    # The traceback is for --log-level debug.
    logs.COMMAND.debug("raised here:", exc_info=error)
    return report_text(str(error), error.exit_code)


def report_text(text: str, code: int) -> int:
    """Print why a command ends; returns its exit code."""
    logs.set_up()
    logs.COMMAND.error("%s", printable(text), extra={"exit_code": code})
    return code


def report_interrupt(text: str) -> int:
    """Print that a command was stopped, and how to go on; returns its exit code."""
    logs.COMMAND.warning("\nstopped. %s", text, extra={"exit_code": INTERRUPTED})
    return INTERRUPTED


def ended(command: Callable[[], int | None], stopped: str, known: Callable[[Exception], PrestaCopError | None]) -> int:
    """Run a command and report how it ended; returns the exit code.

    Args:
        stopped: what to print after Ctrl-C.
        known: an error of ours that another one is; none where that is a fault of the program.
    """
    logs.set_up()
    try:
        with raising_interrupts():
            code = command() or 0
            sys.stdout.flush()  # what cannot be written any more is an error of the command too
    except KeyboardInterrupt:
        code = report_interrupt(stopped)
    except Exception as error:  # noqa: BLE001  # it is reported, and the process ends
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            code = PIPE_CLOSED
        elif ours := known(error):
            code = report(ours)
        else:
            code = bug()
    flush()
    return code


def _nobody_reads() -> bool:
    """Whether stdout or stderr is a pipe whose reader has exited; otherwise it was another pipe or connection."""
    poll = select.poll()
    for descriptor in (1, 2):
        poll.register(descriptor, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def exit_with(main: Callable[[], int | None]) -> NoReturn:
    """Run a command, and leave with the code that it gives or that its error has."""
    with guarded_output():
        code = ended(main, "Run it again.", _known)
    sys.exit(code)


def _known(error: Exception) -> PrestaCopError | None:
    if isinstance(error, PrestaCopError):
        return error
    if isinstance(error, OSError):
        return of_the_system(error, str(error.filename or "this machine"))
    if isinstance(error, UnicodeEncodeError) and (name := bad_name(error)):
        return of_the_system(error, name)
    return None
