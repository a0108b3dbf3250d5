"""What happens between a drone and the topic: messages are late, out of order, spoiled, and come twice."""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from apps.simulator.fleet.corrupt import corrupt
from apps.simulator.fleet.delays import Delays, Published
from apps.simulator.fleet.flight import Block, Flight, fly
from apps.simulator.fleet.images import Picture
from apps.simulator.transport.command_reader import CommandReader

DUPLICATE_WITHIN_S: Final = 10.0
"""A message is published again at most this many seconds after the first time, unless said otherwise."""

_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Mishaps:
    """Shares are of messages, times are in seconds.

    Each message is published up to ``disorder_s`` after its event, ``late_share`` of them ``late_s`` after that;
    ``duplicates`` of them are published once more within ``duplicates_within_s``, the identical bytes; ``corrupt`` of
    them are spoiled.
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


class Step(NamedTuple):
    """What is published next: each list in the order of its times."""

    messages: list[Published]
    pictures: list[Picture]


def publish(
    flight: Flight, mishaps: Mishaps, *, block_s: float = math.inf, reader: CommandReader | None = None
) -> Iterator[Step]:
    """What is published during each block of the flight, and at last what is still under way."""
    # Streams of their own: without its mishaps the flight is the same.
    rng = np.random.default_rng((flight.seed, 1))
    choices = random.Random(flight.seed)
    delays = Delays()
    for block in fly(flight, block_s=block_s, reader=reader):
        messages = _messages(block, mishaps, rng, choices)
        if mishaps.delays:
            delays.put(messages)
            messages = delays.due(block.until_us)
        yield Step(messages, block.pictures)
    yield Step(delays.rest(), [])


def _messages(block: Block, mishaps: Mishaps, rng: np.random.Generator, choices: random.Random) -> list[Published]:
    """The messages of a block, spoiled and delayed, and after them those that are published again."""
    count = len(block.payloads)
    payloads, branches = block.payloads.copy(), block.branches.copy()
    ids: list[str | None] = [*block.ids]
    for place in np.flatnonzero(rng.random(count) < mishaps.corrupt).tolist():
        payloads[place], readable = corrupt(payloads[place], choices)
        if not readable:
            ids[place], branches[place] = None, "dead_letters"

    delay_s = rng.random(count) * mishaps.disorder_s + (rng.random(count) < mishaps.late_share) * mishaps.late_s
    at_us = block.event_us + (delay_s * _SECOND_US).astype(np.int64)
    messages = list(map(Published, at_us.tolist(), payloads, block.drones, ids, branches))

    again_us = at_us + 1 + (rng.random(count) * mishaps.duplicates_within_s * _SECOND_US).astype(np.int64)
    for place in np.flatnonzero(rng.random(count) < mishaps.duplicates).tolist():
        branch = branches[place] if ids[place] is None else "duplicates"
        messages.append(Published(int(again_us[place]), payloads[place], block.drones[place], ids[place], branch))
    return messages
