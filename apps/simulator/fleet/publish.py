"""Publish the messages of a fleet, with the mishaps of a real network, and write down the truth."""

import math
import time
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from apps.simulator.files import appearing
from apps.simulator.fleet.flight import Flight
from apps.simulator.fleet.images import Picture
from apps.simulator.fleet.mishaps import Mishaps, publish
from apps.simulator.fleet.pace import BLOCK_S, as_it_comes
from apps.simulator.fleet.progress import Progress
from apps.simulator.fleet.truth import DroneTruth
from apps.simulator.interrupt import Stop, noted_interrupts
from apps.simulator.transport.open import Target, open_command_reader, open_sink
from apps.simulator.transport.sink import Sink
from messaging.urls import Topic

_PORTION_BYTES: Final = 8_000_000


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was published, in how long, how late the last message of a live fleet was, and whether Ctrl-C ended it."""

    messages: int
    seconds: float
    behind_s: float
    interrupted: bool

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds


def write_drones(
    flight: Flight,
    mishaps: Mishaps,
    *,
    output: Target,
    images: Target | None = None,
    image_bytes: int = 0,
    truth: Path | None = None,
    live: bool = False,
    commands: Topic | None = None,
    confirmations: Topic | None = None,
    quiet: bool = False,
) -> Outcome:
    """Publish messages to ``output``, images of at least ``image_bytes`` to ``images``, and write ``truth``.

    Files get their names at the end, and are the same for the same arguments; the truth is written beside a file
    if ``truth`` does not say where. When this returns, everything published to a topic was acknowledged. ``live``
    publishes each message when its time comes; otherwise it goes as fast as the output takes it. The fleet obeys what
    comes from ``commands`` (of Pub/Sub a subscription) after it took off, and says so to ``confirmations``.

    A topic cannot be taken back: Ctrl-C ends that early, and the files have what was published until then.

    Raises OSError, OptionsRefused, TopicUnusable, NotPermitted, ServiceUnavailable.
    """
    if truth is None and isinstance(output, Path):
        truth = output.with_name(output.name + ".truth.parquet")
    files = [target for target in (truth, images, output) if isinstance(target, Path)]
    topic = not isinstance(output, Path)
    messages = 0
    behind_s = 0.0
    with ExitStack() as stack:
        stop = stack.enter_context(noted_interrupts() if topic else nullcontext(Stop()))
        parts = dict(zip(files, stack.enter_context(appearing(*files)), strict=True))
        record = stack.enter_context(DroneTruth(parts[truth])) if truth else None
        sink = stack.enter_context(open_sink(_part(output, parts)))
        pictures = stack.enter_context(open_sink(_part(images, parts))) if images else None
        confirming = stack.enter_context(open_sink(confirmations)) if confirmations else None
        reader = stack.enter_context(open_command_reader(commands, confirming)) if commands else None
        progress = stack.enter_context(
            Progress(expected=_expected(flight, mishaps), live=live, topic=topic, quiet=quiet)
        )
        began = time.perf_counter()
        steps = publish(flight, mishaps, block_s=BLOCK_S if live else math.inf, reader=reader)
        for said, shown in as_it_comes(steps, stop) if live else steps:
            sink.write([message.payload for message in said], [message.drone for message in said])
            if record is not None:
                record.add(said)
            waiting = sink.waiting()
            if pictures is not None:
                _show(pictures, shown, image_bytes)
                waiting += pictures.waiting()
            messages += len(said)
            if live and said:
                behind_s = max(time.time() - said[-1].at_us / 1e6, 0.0)
            progress.show(messages, waiting, behind_s)
            if stop.asked:
                break
    return Outcome(messages=messages, seconds=time.perf_counter() - began, behind_s=behind_s, interrupted=stop.asked)


def _part(target: Target, parts: dict[Path, Path]) -> Target:
    """Where a file stands until it is whole; a topic is where it is."""
    return parts[target] if isinstance(target, Path) else target


def _expected(flight: Flight, mishaps: Mishaps) -> int | None:
    return None if math.isinf(flight.seconds) else round(flight.messages * (1 + mishaps.duplicates))


def _show(sink: Sink, pictures: Sequence[Picture], size: int) -> None:
    """Make the images, never more at once than memory has room for."""
    portion = max(1, _PORTION_BYTES // max(size, 1_000))
    for at in range(0, len(pictures), portion):
        some = pictures[at : at + portion]
        sink.write([picture.payload(size) for picture in some], [picture.image_id for picture in some])
