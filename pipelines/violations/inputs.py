"""Makes the inputs of a run from the flags, and plans what the graph reads of them."""

import os
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from typing import Any, NamedTuple

from messaging.urls import KafkaUrl, PubSubUrl
from pipelines.violations.graph import Inputs, Reading
from schemas.lake import Source
from sources.files.history import HistoryCsv
from sources.files.input import Files
from sources.files.recordings import RecordedMessages
from sources.input import Input, Split
from sources.loaded.input import LoadedFiles
from sources.streams.base import Stream
from sources.streams.kafka import KafkaStream
from sources.streams.pubsub import PubSubStream
from transforms.refusals import MaxDeadLetters

RUN_BYTES = 8 << 30
"""A local run keeps shuffled data in memory, so a long input is read in several runs."""
LONG_BYTES = 300 << 20
"""A million messages."""

Url = str | KafkaUrl | PubSubUrl
"""A path or pattern of files, or a topic."""


class ReadOptions(NamedTuple):
    """The flags that say what a run reads."""

    history: Url | None = None
    messages: Url | None = None
    images: Url | None = None
    accept_loss: bool = False
    """Continue where messages of a topic were deleted before they were read."""
    max_dead_letters: Fraction = Fraction(1)
    """The share of a unit's rows that may be dead letters."""
    stops_known_topics: bool = False
    """Whether a larger share stops a bounded run also if the lake has units of the topic already. Then everybody who
    may publish to the topic can stop the run."""

    @property
    def urls(self) -> dict[Source, Url]:
        """The URLs that are given, by source."""
        urls = {Source.HISTORY: self.history, Source.DRONES: self.messages, Source.IMAGES: self.images}
        return {source: url for source, url in urls.items() if url is not None}


def inputs_of(options: ReadOptions) -> list[Input]:
    """The inputs of a run; nothing is opened."""
    return [_input(url, source, options.accept_loss) for source, url in options.urls.items()]


def _input(url: Url, source: Source, accept_loss: bool) -> Input:
    if isinstance(url, str):
        return Files(url, HistoryCsv() if source == Source.HISTORY else RecordedMessages(source))
    stream: Stream = KafkaStream(url, source, accept_loss) if isinstance(url, KafkaUrl) else PubSubStream(url, source)
    return LoadedFiles(stream, HistoryCsv()) if source == Source.HISTORY else stream


def _name(of: Input) -> str:
    """What the lake remembers an input by; "" for one without drones."""
    return of.path if isinstance(of, Stream | Files) and of.source == Source.DRONES else ""


class PlannedInput(NamedTuple):
    """An input of a bounded run."""

    input: Input
    splits: list[Split]
    limit: MaxDeadLetters


class Planned(NamedTuple):
    """Everything that a bounded run reads."""

    inputs: list[PlannedInput]
    root: str

    def size(self) -> int:
        """The size in bytes, as far as it is known."""
        return sum(split.size for planned in self.inputs for split in planned.splits)

    def is_long(self) -> bool:
        """Whether worker processes read it faster than threads, although they take a second to start.

        Decoding messages holds the interpreter's lock; reading files hardly does.
        """
        streams = (planned.splits for planned in self.inputs if isinstance(planned.input, Stream))
        return sum(split.size for splits in streams for split in splits) >= LONG_BYTES

    def runs(self) -> Iterator[Inputs]:
        """The inputs of each run of the graph; a long input takes several."""
        run: defaultdict[int, list[Any]] = defaultdict(list)
        filled = 0
        for number, planned in enumerate(self.inputs):
            for split in planned.splits:
                run[number].append(split.place)
                filled += split.size
                if filled >= RUN_BYTES:
                    yield self._read(run)
                    run.clear()
                    filled = 0
        if run:
            yield self._read(run)

    def finish(self) -> None:
        """Finish the inputs after the last run. Raises NotReconciled."""
        for planned in self.inputs:
            planned.input.finish(self.root)

    def _read(self, run: dict[int, list[Any]]) -> Inputs:
        chosen = [(self.inputs[number], places) for number, places in run.items()]
        return {
            of.input.source: Reading(of.input.read(places, self.root), of.limit, _name(of.input))
            for of, places in chosen
        }


def is_in_lake(options: ReadOptions, root: str) -> bool:
    """Whether the lake has every unit of the inputs, which are files; reads them. Of a topic it is not asked.

    Raises InputUnusable, NotPermitted, ServiceUnavailable.
    """
    files = [of for of in inputs_of(options) if isinstance(of, Files)]
    if len(files) < len(options.urls):
        return False
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        cells = [(of, split.place) for of in files for split in of.plan(root)]
        return all(pool.map(lambda cell: cell[0].has_units(cell[1], root), cells))


def plan(options: ReadOptions, root: str) -> Planned:
    """Plan all inputs up to their current end. Raises InputUnusable, NotPermitted, ServiceUnavailable."""
    inputs = [(source, source.plan(root)) for source in inputs_of(options)]
    return Planned([PlannedInput(of, splits, _limit(of, splits, options, root)) for of, splits in inputs], root)


def _limit(of: Input, splits: list[Split], options: ReadOptions, root: str) -> MaxDeadLetters:
    """The limit of dead letters for an input.

    A file that is mostly refused is the wrong file, and so is a topic of which the lake has no unit yet. Later messages
    of a topic stop no run unless the flag is given, because others publish there.
    """
    stops = options.stops_known_topics or not of.is_in_lake(splits, root)
    return MaxDeadLetters(options.max_dead_letters, stops)


def unplanned(options: ReadOptions, root: str) -> Inputs:
    """The inputs of a bounded run that reads nothing: its graph."""
    return {of.source: Reading(of.read([], root), name=_name(of)) for of in inputs_of(options)}


def follow(options: ReadOptions, root: str, skew: float) -> Inputs:
    """What an unbounded run reads: topics continuously, files up to their end.

    Args:
        skew: seconds by which the watermark stays behind the publish times.

    Raises InputUnusable, NotPermitted, ServiceUnavailable.
    """
    limit = MaxDeadLetters(options.max_dead_letters, stops=False)
    return {of.source: Reading(of.follow(root, skew), limit, _name(of)) for of in inputs_of(options)}
