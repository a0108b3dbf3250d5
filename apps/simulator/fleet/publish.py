"""Publish the messages and images of a fleet, and write the truth."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from apps.simulator.files import appearing
from apps.simulator.fleet.faults import Fault, write_faults
from apps.simulator.fleet.flight import Flight
from apps.simulator.fleet.images import DRAWN_BYTES, Picture
from apps.simulator.fleet.live import BLOCK_S, paced
from apps.simulator.fleet.mishaps import Mishaps, Step, publish
from apps.simulator.fleet.truth import DroneTruth
from apps.simulator.fleet.upload import Uploads
from apps.simulator.interrupt import Stop, graceful_stop
from apps.simulator.transport.command_reader import CommandReader
from apps.simulator.transport.open import Target, open_command_reader, open_sink
from apps.simulator.transport.sink import Sink
from messaging.urls import Topic
from schemas.simulator import FLIES
from terminal import logs
from terminal.bars import Bar

_PORTION_BYTES: Final = 8_000_000


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The messages published, the time taken, the delay of a live fleet's last message, and whether Ctrl-C ended it."""

    messages: int
    seconds: float
    behind_s: float
    interrupted: bool

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """Where messages and images go, and the topic that commands come from.

    Images have at least ``image_bytes``, or are drawn where that is None. With ``uploads``, a lake, those of drones
    with JSON messages are uploaded there first, and their messages name them. The ``truth`` is written beside a file of
    messages if no place is given. The fleet obeys the ``commands`` (a topic of Kafka, a subscription of Pub/Sub) that
    come after take-off and publishes to ``confirmations`` that it does. ``faults`` is where the truth of the drones'
    faults is written.
    """

    messages: Target
    images: Target | None = None
    image_bytes: int | None = 0
    uploads: str | None = None
    truth: Path | None = None
    commands: Topic | None = None
    confirmations: Topic | None = None
    faults: Path | None = None

    @property
    def truth_file(self) -> Path | None:
        """Where the truth is written."""
        if self.truth is None and isinstance(self.messages, Path):
            return self.messages.with_name(self.messages.name + ".truth.parquet")
        return self.truth


class _Writer(NamedTuple):
    """The open outputs."""

    messages: Sink
    images: Sink | None
    image_bytes: int | None
    uploads: Uploads | None
    truth: DroneTruth | None
    commands: CommandReader | None
    faults: Path | None

    def write_faults(self, faults: Sequence[Fault]) -> None:
        """Write the truth of the faults, with the first step."""
        if self.faults is not None and not self.faults.exists():
            write_faults(self.faults, faults)

    def write(self, step: Step) -> int:
        """Publish; gives how many payloads are not acknowledged yet."""
        self.messages.write([m.payload for m in step.messages], [m.drone for m in step.messages])
        if self.truth is not None:
            self.truth.add(step.messages)
        waiting = self.messages.waiting()
        if self.images is not None:
            _write_images(self.images, step.pictures, self.image_bytes, self.uploads)
            waiting += self.images.waiting()
        return waiting


def write_drones(
    flight: Flight, mishaps: Mishaps, outputs: Outputs, *, live: bool = False, quiet: bool = False
) -> Outcome:
    """Publish a flight. ``live`` publishes each message when it is due; otherwise as fast as the output takes them.

    Files get their names at the end, and are the same for the same arguments. When this returns, every message to a
    topic was acknowledged. Messages in a topic cannot be taken back: there Ctrl-C ends the flight early, and the files
    have the messages that were published until then.

    Raises OSError, OutputUnusable, TopicUnusable, ServiceUnavailable.
    """
    is_topic = not isinstance(outputs.messages, Path)
    count = 0
    behind_s = 0.0
    progress = Bar(desc="simulator", unit=" messages", quiet=quiet, total=_expected(flight, mishaps))
    with graceful_stop() if is_topic else nullcontext(Stop()) as stop, _opened(outputs) as writer, progress:
        began = time.perf_counter()
        steps = publish(flight, mishaps, block_s=BLOCK_S if live else math.inf, reader=writer.commands)
        for step in paced(steps, stop) if live else steps:
            writer.write_faults(step.faults)
            waiting = writer.write(step)
            if live and step.messages:
                if not (count or quiet):
                    logs.COMMAND.info(FLIES)
                behind_s = max(time.time() - step.messages[-1].at_us / 1e6, 0.0)
            count += len(step.messages)
            acknowledged = f"{waiting:,} not acknowledged yet" if is_topic else ""
            behind = f"{behind_s:.1f} s behind" if live else ""
            progress.note = ", ".join(filter(None, (acknowledged, behind)))
            progress.update(len(step.messages))
            if stop.requested:
                break
    return Outcome(messages=count, seconds=time.perf_counter() - began, behind_s=behind_s, interrupted=stop.requested)


@contextmanager
def _opened(outputs: Outputs) -> Iterator[_Writer]:
    """The open outputs; files get their names when the block ends without an error."""
    places = (outputs.truth_file, outputs.faults, outputs.images, outputs.messages)
    files = [target for target in places if isinstance(target, Path)]
    with ExitStack() as stack:
        parts = dict(zip(files, stack.enter_context(appearing(*files)), strict=True))

        def sink(target: Target) -> Sink:
            return stack.enter_context(open_sink(parts[target] if isinstance(target, Path) else target))

        truth = stack.enter_context(DroneTruth(parts[outputs.truth_file])) if outputs.truth_file else None
        messages = sink(outputs.messages)
        images = sink(outputs.images) if outputs.images else None
        confirming = sink(outputs.confirmations) if outputs.confirmations else None
        commands = stack.enter_context(open_command_reader(outputs.commands, confirming)) if outputs.commands else None
        uploads = Uploads(outputs.uploads) if outputs.uploads else None
        faults = parts[outputs.faults] if outputs.faults else None
        yield _Writer(messages, images, outputs.image_bytes, uploads, truth, commands, faults)


def _expected(flight: Flight, mishaps: Mishaps) -> int | None:
    return None if math.isinf(flight.seconds) else round(flight.messages * (1 + mishaps.duplicates))


def _write_images(sink: Sink, pictures: Sequence[Picture], size: int | None, uploads: Uploads | None) -> None:
    """Make and publish the images, a few at a time to save memory."""
    portion = max(1, _PORTION_BYTES // max(DRAWN_BYTES if size is None else size, 1_000))
    for at in range(0, len(pictures), portion):
        some = pictures[at : at + portion]
        made = [(picture, picture.jpeg(size)) for picture in some]
        if uploads is None:
            payloads = [picture.payload(jpeg) for picture, jpeg in made]
        else:
            uploads.put([jpeg for picture, jpeg in made if not picture.old])
            payloads = [
                picture.payload(jpeg) if picture.old else picture.uploaded_payload(jpeg) for picture, jpeg in made
            ]
        sink.write(payloads, [picture.image_id for picture in some])
