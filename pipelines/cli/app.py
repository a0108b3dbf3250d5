"""What every command shares: exit codes, progress, and the last line when it is stopped. Imports nothing of Beam."""

import atexit
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, redirect_stderr
from functools import partial
from typing import Any, NoReturn, TextIO, cast

from pipelines.cli.commit_progress import Committed, kept_up_to_date
from pipelines.cli.temporary import own_temporary_folder
from pipelines.cli.worker_errors import known
from schemas.lake import ROWS_IN
from sources.progress import progress
from terminal import logs
from terminal.bars import Bar
from terminal.every import every
from terminal.exits import ended
from terminal.logs import TracebacksAsRecords
from terminal.printing import guarded_output


class JobEnded(Exception):
    """The job was cancelled or stopped in the cluster; the message says how to resume it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def progress_bar(label: str, quiet: bool) -> AbstractContextManager[None]:
    """Show on stderr how many of the planned bytes were read, while the body runs in this process."""

    def update(bar: Bar) -> None:
        bar.total = progress.bytes_planned
        bar.update(progress.bytes_done - bar.n)

    return _shown(update, desc=label, unit="B", quiet=quiet)


def stream_line(quiet: bool) -> AbstractContextManager[None]:
    """Show on stderr how many messages were read and how many wait, while the body runs in this process."""

    def update(bar: Bar) -> None:
        bar.note = ", ".join(f"{source} {lag.messages:,} behind" for source, lag in progress.lag.items())
        bar.update(progress.messages - bar.n)

    return _shown(update, desc="reading", unit=" messages", quiet=quiet, seconds=0.9)


@contextmanager
def committed_line(root: str, quiet: bool) -> Iterator[None]:
    """Show on stderr what a cluster's workers have committed, while the body runs."""
    committed = Committed(root)

    def update(bar: Bar) -> None:
        bar.note = f"{committed.units:,} units, {committed.files:,} files"
        bar.update(committed.of(ROWS_IN) - bar.n)

    with kept_up_to_date(committed), _shown(update, desc="committed", unit=" rows", quiet=quiet, seconds=0.9):
        yield


@contextmanager
def _shown(update: Callable[[Bar], None], **of_bar: Any) -> Iterator[None]:
    """Show a bar, which is updated every 0.2 s, and at the end."""
    with Bar(**of_bar) as bar:
        try:
            with every(0.2, partial(update, bar)):
                yield
        finally:
            update(bar)


def run(command: Callable[[], int], resume: str, again: Sequence[str] = ()) -> NoReturn:
    """Run a command and exit with its code; known errors are printed as one line and have their own code.

    Args:
        command: returns the exit code.
        resume: what to print after Ctrl-C: how to resume.
        again: the words of the command line to run for that, printed on a line of their own.
    """
    if again:
        resume = f"{resume}\n  {shlex.join(again)}"
    with guarded_output():
        _run(command, resume)


def _run(command: Callable[[], int], resume: str) -> NoReturn:
    def guarded() -> int:
        with own_temporary_folder(), redirect_stderr(cast(TextIO, TracebacksAsRecords(sys.stderr))):
            try:
                return command()
            except JobEnded as ended_there:
                logs.COMMAND.warning("\n%s", ended_there, extra={"exit_code": ended_there.exit_code})
                return ended_there.exit_code
            finally:
                atexit._run_exitfuncs()  # Beam stops the job servers that it has started in them

    sys.exit(ended(guarded, resume, known))
