"""What was started is ended, however the run ends, and nothing else is."""

import fcntl
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runners.services import Services
from schemas.errors import OutputUnusable
from schemas.files.marks import Mark, make_folder
from schemas.os_errors import of_the_system
from terminal.signals import SIGNALS


@contextmanager
def ended(end: Callable[[], None], kill: Callable[[], None]) -> Iterator[None]:
    """Run the body, then ``end``. Where Ctrl-C interrupts either of them ``kill`` is run, and nothing interrupts it."""
    try:
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException:
            end()
            raise
        end()
    except KeyboardInterrupt:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        kill()
        raise


@contextmanager
def serving(services: Services, names: Sequence[str]) -> Iterator[list[str]]:
    """Servers that run while the body runs, installed before if need be; gives the names of those that did not run
    before, which are ended.

    Raises:
        ServiceUnavailable: one of them cannot be had.
    """
    own: list[str] = []

    def end() -> None:
        for name in own:
            services.down(name)

    def kill() -> None:
        for name in own:
            services.kill(name)

    with ended(end, kill):
        print(f"starting {' and '.join(names)}", flush=True)
        for name in names:
            for state in services.up(name):
                own += [name] if state.fresh else []
                print(f"{name:8}{state.address:17}{'started' if state.fresh else 'already running'}", flush=True)
        yield own


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder while the body runs. Raises OutputUnusable where another run does."""
    try:
        make_folder(folder, Mark.KEPT, mode=0o700)
        lock = (folder / "lock").open("w")
    except (OSError, UnicodeError) as error:
        raise of_the_system(error, str(folder)) from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputUnusable(f"another live run uses {folder}: end it, or choose another --data") from error
        yield
