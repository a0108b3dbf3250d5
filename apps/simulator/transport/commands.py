"""How commands reach a fleet, and how its drones confirm them: see :mod:`schemas.commands`."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Final, Self

import msgspec

from apps.simulator.transport.sinks import Sink
from messaging.urls import KafkaUrl, Topic
from schemas.commands import Command, Confirmation
from schemas.decoding import Undecodable, decode_json

_DECODER: Final = msgspec.json.Decoder(Command)


class Radio(ABC):
    """Listens to a topic while a fleet flies; what was said before it was opened is not heard."""

    def __init__(self, confirming: Sink | None) -> None:
        self._confirming = confirming

    def take(self) -> Sequence[Command]:
        """The commands that have come since it was asked last, in order; it does not wait for any.

        What is no command is told on stderr: nobody can obey it. Raises TopicUnusable, ServiceUnavailable.
        """
        return list(_commands(self._payloads()))

    def confirm(self, commands: Sequence[Command], now: str) -> None:
        """Say that they are obeyed since ``now`` (RFC 3339)."""
        if self._confirming is not None:
            said = [
                Confirmation(command_id=c.command_id, drone_id=c.drone_id, command=c.command, time=now)
                for c in commands
            ]
            self._confirming.write(list(map(msgspec.json.encode, said)), [c.drone_id for c in commands])

    @abstractmethod
    def _payloads(self) -> Sequence[bytes]:
        """What has come."""

    @abstractmethod
    def close(self) -> None:
        """Listen no more."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _commands(payloads: Sequence[bytes]) -> Iterator[Command]:
    for payload in payloads:
        try:
            yield decode_json(payload, _DECODER)
        except Undecodable as error:
            print(f"simulator: no command: {payload[:100]!r}: {error}", file=sys.stderr)


def open_radio(topic: Topic, confirming: Sink | None) -> Radio:
    """Listen to a topic of Kafka or a subscription of Pub/Sub. Raises TopicUnusable, ServiceUnavailable."""
    # The clients of the services take long to load.
    if isinstance(topic, KafkaUrl):
        from apps.simulator.transport.kafka_commands import KafkaRadio  # noqa: PLC0415

        return KafkaRadio(topic, confirming)
    from apps.simulator.transport.pubsub_commands import PubSubRadio  # noqa: PLC0415

    return PubSubRadio(topic, confirming)
