"""Stops everything that a live run has started, however it ends, and nothing else."""

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
def stopping(stop: Callable[[], None], kill: Callable[[], None]) -> Iterator[None]:
    """Call ``stop`` after the body. Where Ctrl-C interrupts the body or ``stop``, ignore signals and call ``kill``."""
    try:
        try:
            yield
        except KeyboardInterrupt:
            raise
        except BaseException:
            stop()
            raise
        stop()
    except KeyboardInterrupt:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        kill()
        raise


@contextmanager
def running_servers(services: Services, names: Sequence[str]) -> Iterator[list[str]]:
    """Install and start servers; gives the names of those that did not run before, which are stopped after the body.

    Raises:
        ServiceUnavailable: a server cannot be installed or started.
    """
    started: list[str] = []

    def stop() -> None:
        for name in started:
            services.down(name)

    def kill() -> None:
        for name in started:
            services.kill(name)

    with stopping(stop, kill):
        print(f"starting {' and '.join(names)}", flush=True)
        for name in names:
            for state in services.up(name):
                started += [name] if state.is_new else []
                print(f"{name:8}{state.address:17}{'started' if state.is_new else 'already running'}", flush=True)
        yield started


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Lock the folder while the body runs. Raises OutputUnusable where another run has locked it."""
    try:
        make_folder(folder, Mark.KEPT, mode=0o700)
        lock = (folder / "lock").open("w")
    except (OSError, UnicodeError) as error:
        raise of_the_system(error, str(folder)) from error
    with lock as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputUnusable(f"another live run uses {folder}: stop it, or choose another --data") from error
        yield
