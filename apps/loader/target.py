"""The interface of targets."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import IO, Any, ClassVar

from schemas.errors import OutputUnusable

from .pieces import Place
from .source import SourceFile


class TargetChanged(OutputUnusable):
    """Data of a file that an earlier run had sent is missing at the target."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what}. Find out why, then run the same command with --restart: it loads the file from its start, and "
            "rows that are in the lake already are not doubled"
        )


class Target(ABC):
    """Receives one file, chunk by chunk, in order."""

    text: ClassVar[bool]
    """Whether it receives the decompressed text of a compressed file; else it receives the file as it is."""

    @abstractmethod
    def begin(self, source: SourceFile) -> Mapping[str, Any]:
        """Prepare a load from the start; returns what :meth:`resume` needs, for the journal."""

    @abstractmethod
    def resume(self, source: SourceFile, known: Mapping[str, Any], arrived: Place) -> Place | None:
        """The position from which to resume after ``arrived`` was acknowledged; None where nothing of it is left.

        Args:
            known: what :meth:`begin` and the last journaled :meth:`where` returned.

        Raises TargetChanged where acknowledged data is gone, and resuming would leave a permanent gap.
        """

    @abstractmethod
    def chunks(self, source: SourceFile, file: IO[bytes], at: Place) -> Iterator[tuple[bytes, Place]]:
        """The chunks to send from ``at`` on, each with the position behind it."""

    @abstractmethod
    def send(self, chunk: bytes, upto: Place) -> None:
        """Send the next chunk; blocks while too much is in flight (backpressure) or the target is unreachable."""

    @abstractmethod
    def arrived(self) -> Place:
        """The position up to which everything is durable at the target."""

    def where(self) -> Mapping[str, Any]:
        """Where the data is at the target, for the journal: a later run checks that it is still there."""
        return {}

    @abstractmethod
    def finish(self) -> None:
        """Return when everything is durable and visible to readers."""

    @abstractmethod
    def check_there(self, source: SourceFile, known: Mapping[str, Any]) -> None:
        """Check that a file which an earlier run loaded is still there. Raises TargetChanged."""

    def close(self) -> None:  # noqa: B027  # not every target has resources
        """Release the target's resources."""

    @property
    @abstractmethod
    def next_step(self) -> str:
        """The value for ``prestacop run --history``."""
