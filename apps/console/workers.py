"""Threads that work while the console runs: a failure is shown, and retried."""

import logging
import threading
from collections.abc import Callable
from typing import Final

from schemas.errors import PrestaCopError
from terminal.logs import about

from .database import DISK_ERRORS

FIRST_NAP_S: Final = 1.0
LONGEST_NAP_S: Final = 30.0
_log: Final = logging.getLogger(__name__)


class Worker:
    """Calls ``work`` repeatedly in its own thread; after a failure with exponential back-off up to LONGEST_NAP_S.

    Args:
        work: gets the event that asks it to end; returns when it is set, or earlier, and is called again then.
    """

    def __init__(self, name: str, work: Callable[[threading.Event], None]) -> None:
        self.name = name
        self.stopping = threading.Event()
        self._work = work
        self._trouble = ""
        self._nap = FIRST_NAP_S
        self._thread = threading.Thread(target=self._run, name=f"console {name}", daemon=True)
        self._started = False

    @property
    def has_ended(self) -> bool:
        """Whether the thread ended by itself: only another start of the console repairs that."""
        return self._started and not self._thread.is_alive() and not self.stopping.is_set()

    @property
    def trouble(self) -> str:
        """Why it fails at the moment; empty if it works."""
        if self.has_ended:
            return f"the thread for {self.name} has ended: start the console again"
        return self._trouble

    def works(self) -> None:
        """Called by ``work``: it succeeded again."""
        self._trouble, self._nap = "", FIRST_NAP_S

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()
        self._started = True

    def stop(self, seconds: float) -> None:
        """Stop the thread and wait for its end."""
        self.stopping.set()
        if self._started:
            self._thread.join(seconds)

    def _run(self) -> None:
        while not self.stopping.is_set():
            try:
                self._work(self.stopping)
            except PrestaCopError as error:
                self._trouble = str(error)
            except DISK_ERRORS as error:
                self._trouble = (
                    f"{self.name}: {error}. Look at the disk of --data; nothing is lost, and it is tried again"
                )
            except BaseException as error:  # noqa: BLE001  # any error: a thread that ends would go unnoticed
                self._trouble = f"{self.name}: {type(error).__name__}: {str(error)[:200]}. It is tried again"
                _log.exception("%s failed and is tried again in %.0f s", self.name, self._nap, extra=about(self.name))
            else:
                continue
            self.stopping.wait(self._nap)
            self._nap = min(2 * self._nap, LONGEST_NAP_S)
