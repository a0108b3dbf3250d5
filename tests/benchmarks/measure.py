"""Run a job as a process of its own, and say what it took."""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import psutil

_LOOK_EVERY_S: Final = 0.5
_KIB: Final = 1024


class Usage(NamedTuple):
    """What one run of a job took, from its start as a process to its end."""

    wall_s: float
    cpu_s: float
    """Of the process and the children that it waited for."""
    peak_mb: float
    """The highest resident memory; with children, the highest sum that was seen."""


class JobFailed(Exception):
    """A job ended with another code than 0."""


def run(command: Sequence[str], root: Path, log: Path) -> Usage:
    """Run a command in ``root``, its output in ``log``.

    Raises JobFailed.
    """
    os.sync()  # what an earlier job wrote must not be written during this one
    with log.open("wb") as out:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=root, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        family = _Family(process.pid)
        try:
            _, status, used = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            family.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = log.read_text(errors="replace")[-2000:]
        raise JobFailed(f"{' '.join(command)} ended with code {process.returncode}:\n{tail}")
    peak = max(used.ru_maxrss * _KIB, family.peak)
    return Usage(wall, used.ru_utime + used.ru_stime, peak / 1e6)


class _Family:
    """Looks at the memory of a process and its descendants, while it has any."""

    def __init__(self, pid: int) -> None:
        self.peak = 0
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            with contextlib.suppress(psutil.Error):
                children = self._process.children(recursive=True)
                if children:
                    self.peak = max(self.peak, sum(p.memory_info().rss for p in [self._process, *children]))
