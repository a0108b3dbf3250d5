"""Where a fleet's payloads go and its commands come from, by URL."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from apps.simulator.transport.command_reader import CommandReader
from apps.simulator.transport.sink import Sink
from messaging.urls import KAFKA, PUBSUB, KafkaUrl, PubSubUrl, Topic, topic_url

Target = Path | KafkaUrl | PubSubUrl
"""A file with one payload a line, or a topic."""

TARGETS: Final = "file:PATH, kafka://HOST:PORT/TOPIC?OPTION=VALUE or pubsub://PROJECT/TOPIC"


class LineFile(Sink):
    """One payload a line; the keys are not written."""

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
    if url.startswith((KAFKA, PUBSUB)):
        return topic_url(url)
    scheme, _, path = url.partition(":")
    if scheme != "file" or not path:
        raise ValueError(f"cannot publish to {url!r}: write {TARGETS}")
    return Path(path)


def open_sink(target: Target) -> Sink:
    """A sink that publishes to ``target``.

    Raises OSError, OptionsRefused, TopicUnusable, NotPermitted, ServiceUnavailable.
    """
    # The clients of the services take long to load, and most runs write files.
    if isinstance(target, KafkaUrl):
        from apps.simulator.transport.kafka import KafkaSink  # noqa: PLC0415

        return KafkaSink(target)
    if isinstance(target, PubSubUrl):
        from apps.simulator.transport.pubsub import PubSubSink  # noqa: PLC0415

        return PubSubSink(target)
    return LineFile(target)


def open_command_reader(topic: Topic, confirmations: Sink | None) -> CommandReader:
    """Read commands from a topic of Kafka or a subscription of Pub/Sub.

    Raises OptionsRefused, TopicUnusable, NotPermitted, ServiceUnavailable.
    """
    if isinstance(topic, KafkaUrl):
        from apps.simulator.transport.kafka import KafkaCommands  # noqa: PLC0415

        return KafkaCommands(topic, confirmations)
    from apps.simulator.transport.pubsub import PubSubCommands  # noqa: PLC0415

    return PubSubCommands(topic, confirmations)
