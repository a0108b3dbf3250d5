"""Where a file goes: what every kind of target has."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import IO, Any, ClassVar

from schemas.errors import OutputUnusable

from .pieces import Place
from .source import SourceFile


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
