"""Where the processes of a command listen while it runs."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from pipelines.loopback import reachable


class Watched(NamedTuple):
    """A command that has ended."""

    code: int
    said: str
    listened: set[str]
    """All addresses, ``HOST:PORT``."""
    reachable: set[str]
    """Those that are open to more than this machine."""


def watched(command: Sequence[str], log: Path, seconds: float = 120) -> Watched:
    """Run a command and look all the time where it and its children listen."""
    listened, open_to_all = set[str](), set[str]()
    deadline = time.monotonic() + seconds
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file) as process:
        while process.poll() is None and time.monotonic() < deadline:
            listened |= listening(process.pid)
            open_to_all |= set(reachable(process.pid))
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
