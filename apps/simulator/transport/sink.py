"""What publishes payloads: a file or a topic."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self


class Sink(ABC):
    """Publishes payloads in their order. At the end of its ``with`` block all of them are acknowledged.

    The methods raise OSError, TopicUnusable, NotPermitted, ServiceUnavailable.
    """

    @abstractmethod
    def write(self, payloads: Sequence[bytes], keys: Sequence[str]) -> None:
        """Publish ``payloads``, none of which has a newline; what has the same key stays in order where that matters.

        Waits while too much is under way.
        """

    @abstractmethod
    def waiting(self) -> int:
        """How many payloads are under way. Raises for what failed meanwhile."""

    @abstractmethod
    def finish(self) -> None:
        """Return when nothing is under way any more."""

    @abstractmethod
    def close(self) -> None:
        """Give up what is still under way."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            if error is None:
                self.finish()
        finally:
            self.close()
