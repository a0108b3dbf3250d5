"""The processes that make up a live run: started together, watched, ended together."""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from schemas.errors import ServiceUnavailable
from schemas.exits import INTERRUPTED

END_SECONDS = 15
"""What is asked to end and goes on for longer is killed."""
TAIL_LINES = 15


class Child:
    """A module that runs as a command. What it says goes to a log of this run alone."""

    def __init__(self, name: str, module: str, arguments: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        self._module = module
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, in a session of its own: Ctrl-C in the terminal is for its parent to pass on."""
        command = [sys.executable, "-m", "runners.live.child", str(os.getpid()), self._module, *self._arguments]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

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
        """Its log."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def _ended(self) -> ServiceUnavailable:
        code = self._process.returncode if self._process else None
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with exit code {code}"
        tail = "\n".join(self.said().splitlines()[-TAIL_LINES:])
        return ServiceUnavailable(f"the {self.name} {how}; {self.log} " + (f"ends so:\n{tail}" if tail else "is empty"))
