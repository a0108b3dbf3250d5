"""Where a file goes: what every kind of target has, and how it waits for one that is away."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any, ClassVar, Final, TypeVar

from schemas.errors import OutputUnusable, PrestaCopError, ServiceUnavailable

from .pieces import Place
from .source import SourceFile

T = TypeVar("T")

START_S: Final = 20.0
"""How long a service may be silent that never answered: the address may be wrong."""
_QUIET_S: Final = 2.0
"""Nothing to speak of."""
_FIRST_NAP_S: Final = 0.5
_LONGEST_NAP_S: Final = 30.0


class ArrivedIsGone(OutputUnusable):
    """What had arrived is not at the target any more."""


class TargetChanged(OutputUnusable):
    """What had arrived of a file in an earlier run is not at the target now."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}. Find out who did that, and run the same command with --restart: it loads the file from its "
            "start, and rows that are in the lake already stay there once"
        )


class Target(ABC):
    """Takes one file, chunk by chunk, in order."""

    text: ClassVar[bool]
    """Whether it is sent the text of a packed file; else the file as it is."""

    @abstractmethod
    def begin(self, source: SourceFile) -> Mapping[str, Any]:
        """Make ready for a load from the start; gives what is to be known when it is resumed."""

    @abstractmethod
    def resume(self, source: SourceFile, known: Mapping[str, Any], arrived: Place) -> Place | None:
        """From where to go on, when all before ``arrived`` was there once; None where nothing is left of it.

        Args:
            known: what :meth:`begin` and :meth:`where` gave, the latter when the journal was last written.

        Raises TargetChanged where what had arrived is gone, and going on would leave a gap for ever.
        """

    @abstractmethod
    def chunks(self, source: SourceFile, file: IO[bytes], at: Place) -> Iterator[tuple[bytes, Place]]:
        """What is to be sent from ``at`` on, each with where it leaves off."""

    @abstractmethod
    def send(self, chunk: bytes, upto: Place) -> None:
        """Send the next chunk; waits while too much is under way, or the target is away."""

    @abstractmethod
    def arrived(self) -> Place:
        """Up to where all would now survive a power cut at the target."""

    def where(self) -> Mapping[str, Any]:
        """What is to be known of where it has arrived, to find out later whether it is still there."""
        return {}

    @abstractmethod
    def finish(self) -> None:
        """Return when all has arrived and readers see it."""

    @abstractmethod
    def check_there(self, source: SourceFile, known: Mapping[str, Any]) -> None:
        """Whether a file that was loaded in an earlier run is still there. Raises TargetChanged."""

    def close(self) -> None:  # noqa: B027  # not every target holds something
        """Let go of what is under way."""

    @property
    @abstractmethod
    def next_step(self) -> str:
        """What the graph's ``--history`` is to be."""


class Patience:
    """Attempts, with pauses that become longer, until a service has been silent for too long.

    Args:
        seconds: for how long a service that has answered once may be away.
        tell: is told why it waits.
        answered: it has, when the load began.
    """

    def __init__(self, seconds: float, tell: Callable[[str], None], answered: bool = False) -> None:
        self._seconds = seconds
        self._tell = tell
        self._heard = time.monotonic()
        self._answered = answered
        self._nap = _FIRST_NAP_S

    def asks(self) -> None:
        """Something is asked of the service, after nothing was."""
        self._heard = time.monotonic()

    def heard(self) -> None:
        """The service has answered."""
        self._heard, self._answered, self._nap = time.monotonic(), True, _FIRST_NAP_S

    def check(self, why: str) -> None:
        """Say that it waits. Raises ServiceUnavailable where it has waited long enough."""
        silent = time.monotonic() - self._heard
        if silent > (self._seconds if self._answered else min(START_S, self._seconds)):
            raise ServiceUnavailable(
                f"{why}. Check the network and the address; run the same command again, it goes on"
            )
        if silent > _QUIET_S:
            self._tell(f"waiting for {silent:.0f} s: {why}")

    def attempt(self, action: Callable[[], T], trouble: Callable[[Exception], str | PrestaCopError]) -> T:
        """The answer, as often as it takes.

        Args:
            trouble: what a failure is called if it may pass, or the error to raise.
        """
        self.asks()
        while True:
            try:
                answer = action()
            except Exception as error:  # `trouble` knows it, or raises it again
                found = trouble(error)
                if isinstance(found, PrestaCopError):
                    raise found from error
                self.check(found)
                time.sleep(self._nap)
                self._nap = min(2 * self._nap, _LONGEST_NAP_S)
            else:
                self.heard()
                return answer
