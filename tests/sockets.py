"""Where the processes of a command listen while it runs."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import psutil

from pipelines.cli.loopback import reachable

LISTEN = "0A"
"""A state in /proc/net/tcp."""
LOOK_AGAIN_S = 0.2
"""A process may get into the family after its socket listens."""


class Watched(NamedTuple):
    """A command that has ended."""

    code: int
    printed: str
    listened: set[str]
    """All addresses, ``HOST:PORT``."""
    reachable: set[str]
    """Those that are open to more than this machine."""


@dataclass
class Sockets:
    """Of processes that are watched, and of their children."""

    listened: set[str] = field(default_factory=set)
    reachable: set[str] = field(default_factory=set)


@contextmanager
def watching(pids: Callable[[], Iterable[int]]) -> Iterator[Sockets]:
    """Look all the time where these processes and their children listen, while the body runs."""
    seen, done = Sockets(), threading.Event()

    def look() -> None:
        # To find the sockets of a family of processes takes a core: only where there are other ones, or anyway soon.
        known, again = frozenset[str](), 0.0
        while not done.wait(0.01):
            if (now := _listening_inodes()) == known and time.monotonic() < again:
                continue
            known, again = now, time.monotonic() + LOOK_AGAIN_S
            for pid in pids():
                seen.listened.update(listening(pid))
                seen.reachable.update(reachable(pid))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def watched(
    command: Sequence[str],
    log: Path,
    seconds: float = 200,
    beside: Callable[[], Iterable[int]] = tuple,
    environment: Mapping[str, str] | None = None,
) -> Watched:
    """Run a command, and look all the time where it listens, and where the processes ``beside`` it do."""
    env = {**os.environ, **(environment or {})}
    with (
        log.open("wb") as file,
        subprocess.Popen(command, stdout=file, stderr=file, env=env) as process,
        watching(lambda: (process.pid, *beside())) as seen,
    ):
        try:
            process.wait(seconds)
        finally:
            process.kill()
    return Watched(process.returncode, log.read_text(), seen.listened, seen.reachable)


def _listening_inodes() -> frozenset[str]:
    """Of all sockets of this machine that listen now."""
    tables = [table for name in ("tcp", "tcp6") if (table := Path("/proc/net", name)).exists()]
    lines = [line.split() for table in tables for line in table.read_text().splitlines()[1:]]
    return frozenset(line[9] for line in lines if line[3] == LISTEN)


def listening(pid: int) -> set[str]:
    """The addresses at which a process and its children listen now."""
    found = set[str]()
    try:
        for process in (one := psutil.Process(pid), *one.children(recursive=True)):
            sockets = process.net_connections("tcp")
            found |= {f"{s.laddr.ip}:{s.laddr.port}" for s in sockets if s.status == psutil.CONN_LISTEN}
    except psutil.NoSuchProcess:  # it ends just now
        return found
    return found
