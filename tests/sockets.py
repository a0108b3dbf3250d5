"""Where the processes of a command listen while it runs."""

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from pipelines.loopback import reachable


class Watched(NamedTuple):
    """A command that has ended."""

    code: int
    said: str
    listened: set[str]
    """All addresses, ``HOST:PORT``, of the command itself, and of the processes beside it with their children."""
    reachable: set[str]
    """Those that are open to more than this machine, of its children as well."""


def watched(
    command: Sequence[str],
    log: Path,
    seconds: float = 240,
    beside: Callable[[], Iterable[int]] = tuple,
    environment: Mapping[str, str] | None = None,
) -> Watched:
    """Run a command and look all the time where it and its children listen, and the processes ``beside`` it."""
    listened, open_to_all = set[str](), set[str]()
    deadline = time.monotonic() + seconds
    env = {**os.environ, **(environment or {})}
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file, env=env) as process:
        while process.poll() is None and time.monotonic() < deadline:
            listened |= listening(process.pid)
            open_to_all |= set(reachable(process.pid))
            for pid in beside():
                listened |= listening(pid)
                open_to_all |= set(reachable(pid))
            time.sleep(0.01)
        process.kill()
    return Watched(process.returncode, log.read_text(), listened, open_to_all)


def listening(pid: int) -> set[str]:
    """The addresses at which a process itself listens now."""
    try:
        sockets = psutil.Process(pid).net_connections("tcp")
    except psutil.NoSuchProcess:
        return set()
    return {f"{one.laddr.ip}:{one.laddr.port}" for one in sockets if one.status == psutil.CONN_LISTEN}
