"""The processes that a command starts: those that end with it (:class:`Child`) and those that outlive it
(:class:`Background`). Only processes that were started here are ever ended.

``python -m runners.processes PARENT MODULE ARGUMENT...`` runs a module as a command and sends it SIGTERM when its
parent has ended, even by SIGKILL.
"""

import logging
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO

import msgspec
import psutil

from schemas.errors import (
    DiskFull,
    InputChanged,
    InputUnusable,
    InUse,
    NotPermitted,
    OutputUnusable,
    PrestaCopError,
    ServiceUnavailable,
)
from terminal.settings import without_settings
from terminal.signals import INTERRUPTED

STOP_SECONDS = 15
"""A process that runs for longer after SIGTERM is killed."""
PARENT_CHECK_SECONDS = 0.5
OUTPUT_SECONDS = 2
"""How long to wait for the last output of a child that has ended; a process of its own may keep the pipe open."""
TAIL_LINES = 15
KEPT_LINES = 1_000
LINE_BYTES = 1 << 16
LOG_BYTES = 10_000_000
LOGS = 4
"""A log that reaches :data:`LOG_BYTES` is renamed to NAME.log.1, and so on; so many files are kept."""
OWNER_ONLY = 0o600
"""Mode of the logs: the console's has a one-time password."""
_ERRORS = {
    error.exit_code: error
    for error in (OutputUnusable, InputUnusable, DiskFull, InputChanged, NotPermitted, InUse, PrestaCopError)
}
_CLOCK_SECONDS = 2
"""How far the start time of a process may move: it is counted from boot, by a clock that is adjusted."""


class _RotatingLog(RotatingFileHandler):
    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, OWNER_ONLY)
        os.fchmod(descriptor, OWNER_ONLY)  # the file may be from an earlier version
        return open(descriptor, "a", encoding=self.encoding)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Go on where the disk is full: the graph fails with that error itself, and the last lines are in memory."""


_LINE = logging.Formatter("%(asctime)s.%(msecs)03dZ %(message)s", "%Y-%m-%dT%H:%M:%S")
_LINE.converter = time.gmtime


class Child:
    """A module that runs as a command and ends with this process. Its output is appended to a log, with timestamps."""

    def __init__(self, name: str, module: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        self._command = [sys.executable, "-m", "runners.processes", str(os.getpid()), module, *arguments]
        self._process: subprocess.Popen[bytes] | None = None
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        """Start it, again if it has ended, in a session of its own, so that Ctrl-C in the terminal reaches its parent
        alone."""
        if self._reader:
            self._reader.join(OUTPUT_SECONDS)
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=without_settings(os.environ),
        )
        self._reader = threading.Thread(target=self._copy_output, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def is_running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def check_running(self) -> None:
        """Raises PrestaCopError where it does not run."""
        if not self.is_running():
            raise self.why_ended()

    def check_exit_code(self) -> None:
        """Raises PrestaCopError where it did not end successfully or by SIGTERM, which may come while it starts."""
        if self._process is None or self._process.returncode not in (0, INTERRUPTED, -signal.SIGTERM):
            raise self.why_ended()

    def has_succeeded(self) -> bool:
        """Whether it has ended with exit code 0."""
        return self._process is not None and self._process.poll() == 0

    def terminate(self) -> None:
        """Send SIGTERM."""
        if self._process is not None and self.is_running():
            self._process.terminate()

    def stop(self) -> None:
        """Send SIGTERM and wait; kill it after :data:`STOP_SECONDS`."""
        self.terminate()
        if self._process is not None:
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """Kill it and all processes below it."""
        if self._process is None or not self.is_running():
            return
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self._process.pid)
            for one in (*process.children(recursive=True), process):
                with suppress(psutil.NoSuchProcess):
                    one.kill()
        self._process.wait()

    def output(self) -> str:
        """The last :data:`KEPT_LINES` lines of stdout and stderr since it was first started."""
        if not self.is_running() and self._reader:
            self._reader.join(OUTPUT_SECONDS)
        return "".join(list(self._lines))

    def _copy_output(self, stream: IO[bytes] | None) -> None:
        log = logging.Logger(self.name)
        handler = _RotatingLog(self.log, maxBytes=LOG_BYTES, backupCount=LOGS - 1, encoding="utf-8")
        handler.setFormatter(_LINE)
        log.addHandler(handler)
        with stream or nullcontext(), closing(handler):
            while stream and (line := stream.readline(LINE_BYTES)):
                text = line.decode(errors="replace")
                self._lines.append(text)
                log.info("%s", text.rstrip("\n"))

    def why_ended(self) -> PrestaCopError:
        """The error that says how it ended, with its exit code where that is one of this project's commands."""
        code = self._process.returncode if self._process else None
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        tail = "\n".join(self.output().splitlines()[-TAIL_LINES:])
        text = f"the last lines of {self.log}:\n{tail}" if tail else f"{self.log} is empty"
        kind = _ERRORS.get(code or 0, ServiceUnavailable)
        return kind(f"the {self.name} {how}; {text}")


class Record(msgspec.Struct, frozen=True):
    """What is stored about a background process."""

    pid: int
    created: float
    """Identifies the process together with the pid: pids are used again."""
    port: int


class Background:
    """A process that outlives the command that starts it; its record and its log are in one folder."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "server.log"
        self._record = folder / "process.json"

    def find(self) -> Record | None:
        """The record, if its process runs."""
        record = self._read()
        return record if record and _process(record) else None

    def start(self, command: list[str], environment: Mapping[str, str], port: int) -> Record:
        """Start it in a session of its own, so that Ctrl-C here does not reach it; the log is emptied before."""
        write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        # Not Popen, which warns of a process that it leaves running.
        pid = os.posix_spawnp(
            command[0],
            command,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(self.log), write, OWNER_ONLY),
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
        """Send SIGTERM and wait; kill it after :data:`STOP_SECONDS`. Whether there was a process."""
        return self._end(psutil.Process.terminate)

    def kill(self) -> bool:
        """Kill it. Whether there was a process."""
        return self._end(psutil.Process.kill)

    def tail(self) -> str:
        """The last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])

    def _read(self) -> Record | None:
        try:
            return msgspec.json.decode(self._record.read_bytes(), type=Record)
        except FileNotFoundError:
            return None

    def _end(self, first: Callable[[psutil.Process], None]) -> bool:
        record = self._read()
        process = _process(record) if record else None
        if process:
            for end in (first, psutil.Process.kill):
                with suppress(psutil.NoSuchProcess):
                    end(process)
                if _wait(process, STOP_SECONDS):
                    break
        self._record.unlink(missing_ok=True)
        return process is not None


def _process(record: Record) -> psutil.Process | None:
    """The process of a record; None where it has ended, even if another one has its pid now."""
    try:
        process = psutil.Process(record.pid)
        same = abs(process.create_time() - record.created) < _CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return None
    return process if same and not _has_ended(process) else None


def _has_ended(process: psutil.Process) -> bool:
    try:
        # A process is called a zombie while threads of it still end and keep its port.
        if process.is_running() and (process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1):
            return False
    except psutil.NoSuchProcess:
        return True
    with suppress(ChildProcessError):  # another command has started it
        os.waitpid(process.pid, os.WNOHANG)
    return True


def _wait(process: psutil.Process, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not _has_ended(process):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    _, parent, module, *arguments = sys.argv
    threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
