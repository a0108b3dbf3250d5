"""Where payloads go."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from messaging.urls import KAFKA, PUBSUB, KafkaUrl, PubSubUrl, kafka_url, pubsub_url
from schemas.errors import PrestaCopError

Target = Path | KafkaUrl | PubSubUrl
"""A file with one payload a line, or a topic."""

TARGETS: Final = "file:PATH, kafka://HOST:PORT/TOPIC?OPTION=VALUE or pubsub://PROJECT/TOPIC"


class TopicUnusable(PrestaCopError):
    """There is no such topic, or it does not take what is published."""

    exit_code = 3


class Sink(ABC):
    """Takes payloads in the order in which they are published. At the end of its ``with`` block all of them are."""

    @abstractmethod
    def write(self, payloads: Sequence[bytes], keys: Sequence[str]) -> None:
        """Publish ``payloads``, none of which has a newline; what has the same key stays in order where that matters.

        Waits while too much is under way. Raises OSError, TopicUnusable, ServiceUnavailable.
        """

    @abstractmethod
    def waiting(self) -> int:
        """How many payloads are under way. Raises TopicUnusable, ServiceUnavailable for what failed meanwhile."""

    @abstractmethod
    def finish(self) -> None:
        """Return when nothing is under way any more. Raises what :meth:`write` raises."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is still under way."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.finish()
        finally:
            self.close()


class LineFile(Sink):
    """One payload a line, the keys nowhere."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=1 << 20)

    def write(self, payloads: Sequence[bytes], keys: Sequence[str]) -> None:
        """Append ``payloads``."""
        if payloads:
            self._file.write(b"\n".join(payloads) + b"\n")

    def waiting(self) -> int:
        """None: what is buffered is as good as written."""
        return 0

    def finish(self) -> None:
        """Write what is buffered."""
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def target_of(url: str) -> Target:
    """What ``url`` names. Raises ValueError."""
    if url.startswith(KAFKA):
        return kafka_url(url)
    if url.startswith(PUBSUB):
        return pubsub_url(url)
    scheme, _, path = url.partition(":")
    if scheme != "file" or not path:
        raise ValueError(f"cannot publish to {url!r}: write {TARGETS}")
    return Path(path)


def open_sink(target: Target) -> Sink:
    """A sink that publishes to ``target``. Raises OSError, OutputUnusable, TopicUnusable, ServiceUnavailable."""
    # The clients of the services take long to load, and most runs write files.
    if isinstance(target, KafkaUrl):
        from apps.simulator.transport.kafka_topic import KafkaTopic  # noqa: PLC0415

        return KafkaTopic(target)
    if isinstance(target, PubSubUrl):
        from apps.simulator.transport.pubsub_topic import PubSubTopic  # noqa: PLC0415

        return PubSubTopic(target)
    return LineFile(target)
