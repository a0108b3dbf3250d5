"""What happens between a drone and the topic: messages are late, out of order, corrupted and duplicated."""

import heapq
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec
import numpy as np

from apps.simulator.arguments import DUPLICATE_WITHIN_S
from apps.simulator.fleet.corrupt import corrupt
from apps.simulator.fleet.faults import Fault
from apps.simulator.fleet.flight import Block, Flight, fly
from apps.simulator.fleet.images import Picture
from apps.simulator.transport.command_reader import CommandReader

_SECOND_US: Final = 1_000_000
_SLOT_US: Final = 100_000


@dataclass(frozen=True, kw_only=True)
class Mishaps:
    """Shares are of messages, times are in seconds.

    Each message is published up to ``disorder_s`` after its event, ``late_share`` of them ``late_s`` after that;
    ``duplicates`` of them are published a second time within ``duplicates_within_s``, with the same bytes; ``corrupt``
    of them are corrupted.
    """

    duplicates: float = 0.0
    duplicates_within_s: float = DUPLICATE_WITHIN_S
    disorder_s: float = 0.0
    late_share: float = 0.0
    late_s: float = 0.0
    corrupt: float = 0.0

    @property
    def delays(self) -> bool:
        """Whether messages may be published in another order than that of their events."""
        return bool(self.duplicates or self.disorder_s or (self.late_share and self.late_s))


class Published(msgspec.Struct, gc=False):
    """A published message.

    ``at_us`` is when it is published, in microseconds since 1970; ``message_id`` is None if it cannot be decoded;
    ``branch`` is the output of the graph that it belongs in, ``capacity`` that of the drone's battery, relative to a
    new one.
    """

    at_us: int
    payload: bytes
    drone: str
    message_id: str | None
    branch: str
    capacity: float


class Delays:
    """Keeps messages until they are due; as many at once as are published during the longest delay."""

    def __init__(self) -> None:
        self._slots: dict[int, list[Published]] = {}
        self._starts: list[int] = []

    def add(self, messages: Iterable[Published]) -> None:
        """Add ``messages``; those of the same microsecond keep their order."""
        for message in messages:
            start = message.at_us // _SLOT_US
            if start not in self._slots:
                self._slots[start] = []
                heapq.heappush(self._starts, start)
            self._slots[start].append(message)

    def due(self, until_us: int) -> list[Published]:
        """The messages published before ``until_us``, in order, without the last tenth of a second."""
        messages: list[Published] = []
        while self._starts and self._starts[0] < until_us // _SLOT_US:
            messages += self._pop()
        return messages

    def rest(self) -> list[Published]:
        """All messages that are left, in order."""
        messages: list[Published] = []
        while self._starts:
            messages += self._pop()
        return messages

    def _pop(self) -> list[Published]:
        return sorted(self._slots.pop(heapq.heappop(self._starts)), key=attrgetter("at_us"))


class Step(NamedTuple):
    """The next messages and pictures to publish, each in the order of their times."""

    messages: list[Published]
    pictures: list[Picture]
    faults: Sequence[Fault] = ()
    """Of the whole flight."""


def publish(
    flight: Flight, mishaps: Mishaps, *, block_s: float = math.inf, reader: CommandReader | None = None
) -> Iterator[Step]:
    """The messages and pictures of each block of the flight, and at last the messages that are still delayed."""
    # Random numbers of their own: the flight is the same with and without mishaps.
    rng = np.random.default_rng((flight.seed, 1))
    choices = random.Random(flight.seed)
    delays = Delays()
    for block in fly(flight, block_s=block_s, reader=reader):
        messages = _messages(block, mishaps, rng, choices)
        if mishaps.delays:
            delays.add(messages)
            messages = delays.due(block.until_us)
        yield Step(messages, block.pictures, block.faults.faults)
    yield Step(delays.rest(), [])


def _messages(block: Block, mishaps: Mishaps, rng: np.random.Generator, choices: random.Random) -> list[Published]:
    """The messages of a block, corrupted and delayed, followed by the duplicates."""
    count = len(block.payloads)
    payloads, branches = block.payloads.copy(), block.branches.copy()
    ids: list[str | None] = [*block.ids]
    for place in np.flatnonzero(rng.random(count) < mishaps.corrupt).tolist():
        payloads[place], readable = corrupt(payloads[place], choices)
        if not readable:
            ids[place], branches[place] = None, "dead_letters"

    delay_s = rng.random(count) * mishaps.disorder_s + (rng.random(count) < mishaps.late_share) * mishaps.late_s
    at_us = block.event_us + (delay_s * _SECOND_US).astype(np.int64)
    capacities = block.capacities.tolist()
    messages = list(map(Published, at_us.tolist(), payloads, block.drones, ids, branches, capacities))

    again_us = at_us + 1 + (rng.random(count) * mishaps.duplicates_within_s * _SECOND_US).astype(np.int64)
    for place in np.flatnonzero(rng.random(count) < mishaps.duplicates).tolist():
        branch = branches[place] if ids[place] is None else "duplicates"
        messages.append(
            Published(int(again_us[place]), payloads[place], block.drones[place], ids[place], branch, capacities[place])
        )
    return messages
