"""How commands reach a fleet, and how its drones confirm them: see :mod:`schemas.commands`."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Final, Self

import msgspec

from apps.simulator.transport.sink import Sink
from schemas.commands import Command, Confirmation
from schemas.decoding import Undecodable, decode_json
from terminal import logs

_DECODER: Final = msgspec.json.Decoder(Command)


class CommandReader(ABC):
    """Reads a topic while a fleet flies, from the topic's end on.

    Args:
        confirmations: where commands that are obeyed are confirmed, if anywhere.
    """

    def __init__(self, confirmations: Sink | None) -> None:
        self._confirmations = confirmations

    def take(self) -> Sequence[Command]:
        """The commands that have come since the last call, in order; it does not wait for any.

        What is not a command is reported on stderr. Raises TopicUnusable, NotPermitted, ServiceUnavailable.
        """
        return list(decoded(self._payloads()))

    def confirm(self, commands: Sequence[Command], now: str) -> None:
        """Publish that they are obeyed since ``now`` (RFC 3339)."""
        if self._confirmations is not None:
            confirmed = [
                Confirmation(command_id=c.command_id, drone_id=c.drone_id, command=c.command, time=now)
                for c in commands
            ]
            self._confirmations.write(list(map(msgspec.json.encode, confirmed)), [c.drone_id for c in commands])

    @abstractmethod
    def _payloads(self) -> Sequence[bytes]:
        """What has come."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def decoded(payloads: Sequence[bytes]) -> Iterator[Command]:
    """Those that are commands; the others are reported on stderr."""
    for payload in payloads:
        try:
            yield decode_json(payload, _DECODER)
        except Undecodable as error:
            logs.COMMAND.warning("simulator: not a command: %r: %s", payload[:100], error)
