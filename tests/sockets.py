"""Where the processes of a command listen while it runs."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple

import psutil

from pipelines.cli.loopback import is_loopback

LISTEN = "0A"
"""A state in /proc/net/tcp."""
LOOK_AGAIN_S = 0.2
"""A process may get into the family after its socket listens; the longer no socket was opened, the less likely."""


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
        # To find the sockets of a family of processes takes time: only where there are others than those known.
        ours, known = set[str](), frozenset[str]()
        changed = again = 0.0
        while not done.wait(0.01):
            listeners, now = _listeners(), time.monotonic()
            if listeners.keys() != known:
                known, changed, again = frozenset(listeners), now, now
            if now < again or listeners.keys() <= ours:
                continue
            again = now + max(LOOK_AGAIN_S, (now - changed) / 5)
            new = listeners.keys() & _sockets(pids()) - ours
            ours |= new
            seen.listened |= {listeners[socket] for socket in new}
            seen.reachable |= {listeners[socket] for socket in new if not is_loopback(_host(listeners[socket]))}

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


def listening(pid: int) -> set[str]:
    """The addresses at which a process and its children listen now."""
    sockets = _sockets([pid])
    return {address for socket, address in _listeners().items() if socket in sockets}


def _listeners() -> dict[str, str]:
    """The address of each socket of this machine that listens now."""
    found = {}
    for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        if path.exists():
            with path.open() as table:
                lines = map(str.split, islice(table, 1, None))
                # Linux lists these first; the rest, thousands of closed connections, would take 20 ms.
                for line in takewhile(lambda line: line[3] == LISTEN, lines):
                    found[f"socket:[{line[9]}]"] = _address(line[1])
    return found


def _address(text: str) -> str:
    """``HOST:PORT`` of hexadecimal digits, those of the host by words of four bytes, the last byte first."""
    host, port = text.split(":")
    words = [bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8)]
    return f"{ip_address(b''.join(words))}:{int(port, 16)}"


def _host(address: str) -> str:
    return address.rpartition(":")[0]


def _sockets(pids: Iterable[int]) -> set[str]:
    """All sockets that these processes and their children have."""
    children: dict[int, list[int]] = {}
    for process in psutil.process_iter(["ppid"]):
        children.setdefault(process.info["ppid"], []).append(process.pid)
    found, family = set[str](), list(pids)
    for pid in family:  # which grows
        family += children.get(pid, [])
        with suppress(FileNotFoundError, ProcessLookupError):  # it ends just now
            for entry in os.scandir(f"/proc/{pid}/fd"):
                with suppress(FileNotFoundError):
                    found.add(os.readlink(entry))
    return found
