"""Compacts the lake of a live run every few minutes, beside everything else."""

import threading
from collections.abc import Sequence
from pathlib import Path

from runners.processes import Child

EVERY_SECONDS = 300.0
"""Between the end of a compaction and the start of the next one."""
_CHECK_SECONDS = 0.5


class Maintenance:
    """Runs ``prestacop compact`` again and again, as a child.

    Args:
        arguments: of ``prestacop``.
    """

    def __init__(self, arguments: Sequence[str], log: Path, seconds: float = EVERY_SECONDS) -> None:
        self._arguments, self._log, self._seconds = arguments, log, seconds
        self._child: Child | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._repeat, daemon=True)
        self.failed = False
        """Whether the last compaction ended with an error, which its log has; the next one does its work."""

    def start(self) -> None:
        """Start the first one after the interval."""
        self._thread.start()

    def stop(self) -> None:
        """Start no other one, and stop the one that runs: what it has not committed the next one does."""
        self._stopped.set()
        self._thread.join()
        if self._child:
            self._child.stop()

    def kill(self) -> None:
        """The same at once."""
        self._stopped.set()
        if self._child:
            self._child.kill()

    def _repeat(self) -> None:
        while not self._stopped.wait(self._seconds):
            self._child = Child("compaction", "prestacop", self._arguments, self._log)
            self._child.start()
            while self._child.is_running():
                if self._stopped.wait(_CHECK_SECONDS):
                    return
            self.failed = not self._child.has_succeeded()
