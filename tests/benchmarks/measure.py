"""Run a job as a process of its own, and say what it took."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final, NamedTuple

import psutil

_LOOK_EVERY_S: Final = 0.5
_KIB: Final = 1024
_STARTER: Final = Path(__file__).with_name("starter.py")


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
    with log.open("wb") as out, TemporaryFile() as result:
        to = result.fileno()
        words = [sys.executable, "-S", "-E", str(_STARTER), str(to), *command]
        starter = subprocess.Popen(
            words, cwd=root, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, pass_fds=(to,)
        )
        family = _Family(starter.pid)
        try:
            starter.wait()
        except BaseException:
            family.kill()
            starter.wait()
            raise
        finally:
            family.stop()
        result.seek(0)
        written = result.read()
    code, wall, cpu, peak = json.loads(written) if written else (starter.returncode, 0.0, 0.0, 0)
    if code:
        tail = log.read_text(errors="replace")[-2000:]
        raise JobFailed(f"{' '.join(command)} ended with code {code}:\n{tail}")
    return Usage(wall, cpu, max(peak * _KIB, family.peak) / 1e6)


class _Family:
    """Looks at the memory of a job and its descendants, while it has any.

    Args:
        starter: the process whose child the job is.
    """

    def __init__(self, starter: int) -> None:
        self.peak = 0
        self._starter = psutil.Process(starter)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """Kill the job; its starter then ends."""
        with contextlib.suppress(psutil.Error):
            for process in self._starter.children():
                process.kill()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            with contextlib.suppress(psutil.Error):
                job = self._starter.children(recursive=True)
                if len(job) > 1:
                    self.peak = max(self.peak, sum(p.memory_info().rss for p in job))
