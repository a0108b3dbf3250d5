"""The processes that make up a live run: started together, watched, ended together."""

import logging
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing, nullcontext, suppress
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

import psutil

from schemas.errors import ServiceUnavailable
from terminal.signals import INTERRUPTED

END_SECONDS = 15
"""What is asked to end and goes on for longer is killed."""
END_SAYING_SECONDS = 2
"""What has ended may have said something that is not read yet; a child of its own may hold the pipe."""
TAIL_LINES = 15
SAID_LINES = 1_000
LINE_BYTES = 1 << 16
LOG_BYTES = 10_000_000
LOGS = 4
"""A log of that many bytes becomes NAME.log.1, and so on; so many are kept."""


class _OwnersLog(RotatingFileHandler):
    """A log that its owner alone can read: the console's has a one-time password."""

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.fchmod(descriptor, 0o600)  # of an earlier version's
        return open(descriptor, "a", encoding=self.encoding)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # logging's name
        """Where the disk is full the run goes on until the graph says so; what was said last is in memory."""


_LINE = logging.Formatter("%(asctime)s.%(msecs)03dZ %(message)s", "%Y-%m-%dT%H:%M:%S")
_LINE.converter = time.gmtime


class Child:
    """A module that runs as a command. What it says goes to its log, line by line, behind what was there before."""

    def __init__(self, name: str, module: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        self._module = module
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._said: deque[str] = deque(maxlen=SAID_LINES)
        self._reader = threading.Thread(target=self._listen, daemon=True)

    def start(self) -> None:
        """Start it, in a session of its own: Ctrl-C in the terminal is for its parent to pass on."""
        command = [sys.executable, "-m", "runners.live.child", str(os.getpid()), self._module, *self._arguments]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
        self._reader.start()

    def runs(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def check(self) -> None:
        """Raises ServiceUnavailable where it does not run."""
        if not self.runs():
            raise self._ended()

    def check_end(self) -> None:
        """Raises ServiceUnavailable where it has not ended as it does when it is asked to."""
        if self._process is None or self._process.returncode not in (0, INTERRUPTED):
            raise self._ended()

    def ask(self) -> None:
        """Ask it to end."""
        if self._process is not None and self.runs():
            self._process.terminate()

    def end(self) -> None:
        """Ask it to end, and see that it does."""
        self.ask()
        if self._process is not None:
            try:
                self._process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it and what it has started, now."""
        if self._process is None or not self.runs():
            return
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(self._process.pid)
            for one in (*process.children(recursive=True), process):
                with suppress(psutil.NoSuchProcess):
                    one.kill()
        self._process.wait()

    def said(self) -> str:
        """What it has said in this run, the last :data:`SAID_LINES` lines."""
        if not self.runs() and self._reader.ident:
            self._reader.join(END_SAYING_SECONDS)
        return "".join(list(self._said))

    def _listen(self) -> None:
        log = logging.Logger(self.name)
        handler = _OwnersLog(self.log, maxBytes=LOG_BYTES, backupCount=LOGS - 1, encoding="utf-8")
        handler.setFormatter(_LINE)
        log.addHandler(handler)
        stream = self._process.stdout if self._process else None
        with stream or nullcontext(), closing(handler):
            while stream and (line := stream.readline(LINE_BYTES)):
                text = line.decode(errors="replace")
                self._said.append(text)
                log.info("%s", text.rstrip("\n"))

    def _ended(self) -> ServiceUnavailable:
        code = self._process.returncode if self._process else None
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        tail = "\n".join(self.said().splitlines()[-TAIL_LINES:])
        return ServiceUnavailable(f"the {self.name} {how}; {self.log} " + (f"ends so:\n{tail}" if tail else "is empty"))
