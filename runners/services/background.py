"""A process that outlives the command that starts it, and that only its own record ends."""

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

STOP_SECONDS = 15
_CLOCK_SECONDS = 2
"""How far the time of a process may move: it is counted from the start of the system, by a clock that is adjusted."""


class Record(msgspec.Struct, frozen=True):
    """What is written down about a process."""

    pid: int
    created: float
    """Together with the pid it is this process: pids are used again."""
    port: int


class Background:
    """The process of one folder: its record and its log are in there."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "server.log"
        self._record = folder / "process.json"

    def find(self) -> Record | None:
        """The record, if its process runs."""
        record = self._read()
        return record if record and _process(record) else None

    def start(self, command: list[str], environment: Mapping[str, str], port: int) -> Record:
        """Start it in a session of its own, so that Ctrl-C here does not reach it; its log is of this start alone."""
        write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        # Not Popen: it warns of processes that it leaves behind, which is what this is for.
        pid = os.posix_spawnp(
            command[0],
            command,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log), write, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGINT, signal.SIGPIPE, signal.SIGTERM],
        )
        record = Record(pid, psutil.Process(pid).create_time(), port)
        new = self._record.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(record))
        new.replace(self._record)
        return record

    def stop(self) -> bool:
        """End it, by force if it does not go; whether there was one."""
        return self._end(psutil.Process.terminate)

    def kill(self) -> bool:
        """End it as a crash does; whether there was one."""
        return self._end(psutil.Process.kill)

    def tail(self, lines: int = 20) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _read(self) -> Record | None:
        try:
            return msgspec.json.decode(self._record.read_bytes(), type=Record)
        except FileNotFoundError:
            return None

    def _end(self, ask: Callable[[psutil.Process], None]) -> bool:
        record = self._read()
        process = _process(record) if record else None
        if process:
            for end in (ask, psutil.Process.kill):
                with suppress(psutil.NoSuchProcess):
                    end(process)
                if _wait(process, STOP_SECONDS):
                    break
        self._record.unlink(missing_ok=True)
        return process is not None


def _process(record: Record) -> psutil.Process | None:
    """The process of a record; none where another one has its pid now."""
    try:
        process = psutil.Process(record.pid)
        same = abs(process.create_time() - record.created) < _CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return None
    return process if same and not _is_gone(process) else None


def _is_gone(process: psutil.Process) -> bool:
    """Whether it has ended; one that nobody has collected yet still answers to signal 0."""
    try:
        # A process is called a zombie while threads of it still end and hold its port.
        if process.is_running() and (process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1):
            return False
    except psutil.NoSuchProcess:
        return True
    with suppress(ChildProcessError):  # where another command has started it
        os.waitpid(process.pid, os.WNOHANG)
    return True


def _wait(process: psutil.Process, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not _is_gone(process):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
