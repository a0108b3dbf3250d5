"""Servers that are away for a while in the middle of a load."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from apps.loader.journal import entries_of, paths
from runners.services import Services


@contextmanager
def away(
    services: Services, name: str, seconds: float, journal: Path, after: int, dead: bool = False
) -> Iterator[threading.Event]:
    """While the body loads: when ``after`` bytes have arrived the server hangs for so many seconds, or is dead.

    Gives what is set when it is back.
    """
    back = threading.Event()

    def be_away() -> None:
        while arrived(journal) < after:
            time.sleep(0.02)
        if dead:
            services.kill(name)
            time.sleep(seconds)
            services.up(name)
        else:
            hung(services, name, seconds)
        back.set()

    thread = threading.Thread(target=be_away)
    thread.start()
    yield back
    thread.join()


def hung(services: Services, name: str, seconds: float) -> None:
    """Connections to it are taken and not answered, for so long."""
    (state,) = services.status(name)
    assert state.pid
    os.kill(state.pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.kill(state.pid, signal.SIGCONT)


def arrived(journal: Path) -> int:
    """How many bytes the journals say that have arrived."""
    return max((entries[-1].get("offset", 0) for path in paths(journal) if (entries := entries_of(path)[0])), default=0)
