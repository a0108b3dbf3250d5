"""Publish the messages of a fleet, with the mishaps of a real network, and write down the truth."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from tqdm import tqdm

from .corrupt import corrupt
from .delays import Delays, Published
from .drone_truth import DroneTruth
from .files import appearing
from .flight import Block, Flight, fly
from .sinks import LineFile, Sink

DUPLICATE_WITHIN_S: Final = 10.0
"""A message is published again at most this many seconds after the first time."""

_SECOND_US: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Mishaps:
    """What happens between a drone and the topic. Shares are of messages, times are in seconds.

    Each message is published up to ``disorder_s`` after its event, ``late_share`` of them ``late_s`` after that;
    ``duplicates`` of them are published once more, the identical bytes; ``corrupt`` of them are spoiled.
    """

    duplicates: float = 0.0
    disorder_s: float = 0.0
    late_share: float = 0.0
    late_s: float = 0.0
    corrupt: float = 0.0

    @property
    def delays(self) -> bool:
        """Whether messages may be published in another order than that of their events."""
        return bool(self.duplicates or self.disorder_s or (self.late_share and self.late_s))


def write_drones(
    flight: Flight, mishaps: Mishaps, *, output: Path, images: Path | None = None, quiet: bool = False
) -> int:
    """Write messages to ``output``, one a line, the truth beside it, and images to ``images``; returns the lines.

    The files get their names at the end, and are the same for the same arguments. Raises OSError.
    """
    truth = output.with_name(output.name + ".truth.parquet")
    finals = [truth, output] if images is None else [truth, images, output]
    with ExitStack() as stack:
        parts = stack.enter_context(appearing(*finals))
        record = stack.enter_context(DroneTruth(parts[0]))
        sink: Sink = stack.enter_context(closing(LineFile(parts[-1])))
        pictures: Sink | None = stack.enter_context(closing(LineFile(parts[1]))) if images else None
        progress = stack.enter_context(tqdm(total=flight.messages, unit=" messages", unit_scale=True, disable=quiet))
        lines = 0
        for block, messages in publish(flight, mishaps):
            sink.write([message.payload for message in messages])
            record.add(messages)
            lines += len(messages)
            if block is not None:
                if pictures is not None:
                    pictures.write([make(image_id, time) for make, image_id, time in block.images])
                progress.update(len(block.payloads))
        return lines


def publish(flight: Flight, mishaps: Mishaps) -> Iterator[tuple[Block | None, list[Published]]]:
    """Each block of the flight with what is published meanwhile, and at last what is still under way."""
    # Streams of their own: without its mishaps the flight is the same.
    rng = np.random.default_rng((flight.seed, 1))
    choices = random.Random(flight.seed)
    delays = Delays()
    for block in fly(flight):
        messages = _messages(block, mishaps, rng, choices)
        if mishaps.delays:
            delays.put(messages)
            messages = delays.due(block.until_us)
        yield block, messages
    yield None, delays.rest()


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
    messages = list(map(Published, at_us.tolist(), payloads, ids, branches))

    again_us = at_us + 1 + (rng.random(count) * DUPLICATE_WITHIN_S * _SECOND_US).astype(np.int64)
    for place in np.flatnonzero(rng.random(count) < mishaps.duplicates).tolist():
        branch = branches[place] if ids[place] is None else "duplicates"
        messages.append(Published(int(again_us[place]), payloads[place], ids[place], branch))
    return messages
