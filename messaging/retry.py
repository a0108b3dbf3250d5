"""How long a client waits for a service that does not answer."""

import time
from collections.abc import Callable
from copy import copy
from typing import Final, TypeVar

from schemas.errors import PrestaCopError, ServiceUnavailable

T = TypeVar("T")

START_SECONDS: Final = 20.0
"""How long a service may be silent that never answered: the address may be wrong."""
PATIENCE_SECONDS: Final = 600.0
"""How long a service may be away that a run reads from or publishes to."""
LONGEST_NAP_SECONDS: Final = 30.0
HINT: Final = "Check the network, the address and that the server runs; then run the same command again"
_QUIET_SECONDS: Final = 2.0
"""A silence as short as this is not reported."""
_FIRST_NAP_SECONDS: Final = 0.5


def _ignore(_: str) -> None:
    """Drop the report of a wait."""


class Patience:
    """Attempts, with pauses that double, until a service has been silent for too long.

    Args:
        seconds: for how long a service that has answered once may be away.
        report: is called with a line of text on each wait.
        answered: it has answered this command before; else it gets START_SECONDS at most.
        longest_nap: seconds between two attempts at most.
    """

    def __init__(
        self,
        seconds: float,
        report: Callable[[str], None] = _ignore,
        answered: bool = False,
        longest_nap: float | None = None,
    ) -> None:
        self._seconds = seconds
        self._report = report
        self._answered = answered
        self._longest_nap = longest_nap
        self._heard = time.monotonic()
        self._nap = _FIRST_NAP_SECONDS

    def start(self) -> None:
        """Count the silence from now on: a request is made after a time without any."""
        self._heard = time.monotonic()

    def heard(self) -> None:
        """The service has answered."""
        self._heard, self._answered, self._nap = time.monotonic(), True, _FIRST_NAP_SECONDS

    @property
    def is_over(self) -> bool:
        """Whether the service has been silent for too long."""
        return self._silent() > (self._seconds if self._answered else min(START_SECONDS, self._seconds))

    def check(self, why: str) -> None:
        """Report the wait. Raises ServiceUnavailable where it has lasted too long."""
        if self.is_over:
            raise ServiceUnavailable(f"{why}. {HINT}")
        if (silent := self._silent()) > _QUIET_SECONDS:
            self._report(f"waiting for {silent:.0f} s: {why}")

    def attempt(self, action: Callable[[], T], reason: Callable[[Exception], str | PrestaCopError]) -> T:
        """The result of ``action``, which is called again while it fails for a reason that may pass.

        Args:
            reason: gives for a failure that may pass its text, and for another one the error to raise.
        """
        waiting = copy(self)  # threads may share it: each of their requests has its own time
        waiting.start()
        while True:
            try:
                result = action()
            except Exception as error:  # `reason` knows it, or raises it again
                found = reason(error)
                if isinstance(found, PrestaCopError):
                    raise found from error
                waiting.check(found)
                time.sleep(waiting._nap)
                longest = LONGEST_NAP_SECONDS if self._longest_nap is None else self._longest_nap
                waiting._nap = min(2 * waiting._nap, longest)
            else:
                self.heard()
                return result

    def _silent(self) -> float:
        return time.monotonic() - self._heard
