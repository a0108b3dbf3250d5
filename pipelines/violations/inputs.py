"""From the flags to what the graph reads: files are planned here, topics up to now; without end, by the graph."""

import logging
import re
from collections.abc import Iterator
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import apache_beam as beam

from lake.ledger import unit_paths
from messaging.urls import KafkaUrl, PubSubUrl
from pipelines.violations.graph import Inputs, Limits
from schemas.errors import InputUnusable, NotReconciled
from schemas.lake import Source
from sources.files.copies import once
from sources.files.grid import Cell
from sources.files.history import HistoryCsv
from sources.files.read import Format, ReadFiles, plan
from sources.files.recordings import RecordedMessages
from sources.loaded.file import ReadLoaded, cells_of
from sources.loaded.follow import FollowLoaded
from sources.loaded.topic import Loaded, LoadedCell, LoadedTopic, landed, remember, remembered, spent
from sources.streams.base import MESSAGE_BYTES, FollowStream, ReadUnits, Stream, plan_until_now
from sources.streams.kafka import KafkaStream
from sources.streams.pubsub import PubSubStream
from sources.units import Unit
from transforms.refusals import MaxDeadLetters

RUN_BYTES = 8 << 30
"""A local run keeps what it shuffles, so a long input is read in several runs."""

_OF_A_STREAM = re.compile(
    r"(?P<kafka>[a-z]+-kafka-.+)-\d{5}-\d{19}|(?P<pubsub>[a-z]+-pubsub-.+)-\d{20}-[0-9a-f]{12}-\d+", re.ASCII
)
"""The name of a unit: that of its stream, then its place there."""

_log = logging.getLogger(__name__)

Url = str | KafkaUrl | PubSubUrl
"""A path or pattern of recordings, or a topic."""


class Asked(NamedTuple):
    """What the user wants to be read."""

    history: Url | None = None
    messages: Url | None = None
    images: Url | None = None
    accept_loss: bool = False
    """Go on where a topic's messages were deleted before they were read."""
    max_dead_letters: Fraction = Fraction(1)
    """The share of a unit's rows that may be dead letters."""
    stops_known_topics: bool = False
    """Whether more of them stop a bounded run also where the lake has units of the topic already: whoever may write
    there can stop it then."""


class Files(NamedTuple):
    """Cells of files of one kind."""

    pieces: list[Cell]
    form: Format

    def sizes(self) -> list[int]:
        """Bytes of each piece."""
        return [cell.end - cell.start for cell in self.pieces]

    def reading(self, some: list[Any], root: str) -> beam.PTransform:
        """Of some of the pieces."""
        return ReadFiles(some, self.form, root)


class LoadedFiles(NamedTuple):
    """Cells of files that the loader has sent to a topic."""

    pieces: list[LoadedCell]
    topic: LoadedTopic
    stream: Stream
    form: Format
    files: list[Loaded]
    spent: set[Unit]
    """Of the stream: not needed any more when all pieces are in the lake."""

    def sizes(self) -> list[int]:
        """Bytes of each piece."""
        return [piece.cell.end - piece.cell.start for piece in self.pieces]

    def reading(self, some: list[Any], root: str) -> beam.PTransform:
        """Of some of the pieces."""
        return ReadLoaded(some, self.stream, self.form, root)


class Units(NamedTuple):
    """Planned units of a stream."""

    pieces: list[Unit]
    stream: Stream

    def sizes(self) -> list[int]:
        """Bytes of each piece, as far as they are known before it is read."""
        return [(unit.end - unit.start) * MESSAGE_BYTES for unit in self.pieces]

    def reading(self, some: list[Any], root: str) -> beam.PTransform:
        """Of some of the pieces."""
        return ReadUnits(some, self.stream, root)


class Planned(NamedTuple):
    """All that a bounded run reads."""

    history: Files | LoadedFiles | None
    messages: Files | Units | None
    images: Files | Units | None
    limits: Limits = Limits()

    @property
    def sources(self) -> "tuple[Files | LoadedFiles | Units | None, ...]":
        """The three."""
        return self.history, self.messages, self.images

    def size(self) -> int:
        """Bytes, as far as they are known."""
        return sum(sum(source.sizes()) for source in self.sources if source)

    def runs(self, root: str) -> Iterator[Inputs]:
        """What the graph reads, in one run after another where it is long."""
        parts: list[list[Any]] = [[], [], []]
        filled = 0
        for part, source in zip(parts, self.sources, strict=True):
            for piece, size in zip(source.pieces, source.sizes(), strict=True) if source else ():
                part.append(piece)
                filled += size
                if filled >= RUN_BYTES:
                    yield self._reading(parts, root)
                    parts[0][:], parts[1][:], parts[2][:], filled = [], [], [], 0
        if any(parts):
            yield self._reading(parts, root)

    def tidy(self, root: str) -> None:
        """Remove what was only needed until all was committed."""
        for source in self.sources:
            if isinstance(source, Units):
                source.stream.tidy(root)
            elif isinstance(source, LoadedFiles):
                _check_landed(source.pieces, root)
                remember(source.files, root)
                if source.spent:
                    source.topic.forget(source.spent)

    def _reading(self, parts: list[list[Any]], root: str) -> Inputs:
        pairs = zip(self.sources, parts, strict=True)
        history, messages, images = (source.reading(part, root) if source and part else None for source, part in pairs)
        return Inputs(history, messages, images, self.limits)


def _check_landed(cells: list[LoadedCell], root: str) -> None:
    """Raise NotReconciled where the rows of a cell are not in the ledger, as it is read now."""
    there, before = landed(cells, root), remembered(root)
    missing = {c.file.path for c in cells if c.key not in there and c.file.fingerprint not in before}
    if missing:
        raise NotReconciled(
            f"{', '.join(sorted(missing))}: the run has ended, and the ledger does not have all units of it; the topic "
            "keeps the messages: run again"
        )


def planned(asked: Asked, root: str) -> Planned:
    """Plan all inputs up to now. Raises InputUnusable, ServiceUnavailable."""
    found = Planned(
        _history(asked.history, asked, root),
        _planned(asked.messages, Source.DRONES, asked, root),
        _planned(asked.images, Source.IMAGES, asked, root),
    )
    return found._replace(limits=Limits(*(_limit(source, asked, root) for source in found.sources)))


def _limit(source: Files | LoadedFiles | Units | None, asked: Asked, root: str) -> MaxDeadLetters:
    """A file that is mostly refused is the wrong one, and so is a topic of which the lake has nothing yet; what comes
    later in a topic stops no run, unless somebody wants it: others write there."""
    is_known = not isinstance(source, Files | None) and _is_known(source, root)
    return MaxDeadLetters(asked.max_dead_letters, stops=asked.stops_known_topics or not is_known)


def _is_known(source: LoadedFiles | Units, root: str) -> bool:
    """Whether the lake has something of a topic."""
    if isinstance(source, LoadedFiles):
        return bool(remembered(root))
    planned_units = {_topic_of(unit.name) for unit in source.pieces}
    return any(_topic_of(PurePosixPath(path).stem) in planned_units for path in unit_paths(root))


def _topic_of(unit: str) -> str:
    """The name of a stream, out of that of its unit; of another unit this one's."""
    found = _OF_A_STREAM.fullmatch(unit)
    return (found["kafka"] or found["pubsub"]) if found else unit


def followed(asked: Asked, root: str, skew: float) -> Inputs:
    """The topics without end; files, which have one, are planned. Raises InputUnusable, ServiceUnavailable."""

    def reading(url: Url | None, source: Source) -> beam.PTransform | None:
        if isinstance(url, str | None):
            is_history = source == Source.HISTORY
            files = _history(url, asked, root) if is_history else _planned(url, source, asked, root)
            return files.reading(files.pieces, root) if files else None
        topic = stream(url, source, asked.accept_loss)
        topic.planner(root).close()  # what is wrong with it is told in one line; a worker would tell it in a hundred
        if source == Source.HISTORY:
            return FollowLoaded(topic, HistoryCsv(), root)
        return FollowStream(topic, root, skew)

    limit = MaxDeadLetters(asked.max_dead_letters, stops=False)
    return Inputs(
        reading(asked.history, Source.HISTORY),
        reading(asked.messages, Source.DRONES),
        reading(asked.images, Source.IMAGES),
        Limits(limit, limit, limit),
    )


def stream(url: KafkaUrl | PubSubUrl, source: Source, accept_loss: bool) -> Stream:
    """The live source that a URL names."""
    if isinstance(url, KafkaUrl):
        return KafkaStream(url, source, accept_loss)
    return PubSubStream(url, source)


def _history(url: Url | None, asked: Asked, root: str) -> Files | LoadedFiles | None:
    if url is None:
        return None
    form = HistoryCsv()
    if isinstance(url, str):
        return Files(once(plan(url, form), form), form)
    topic = stream(url, form.source, asked.accept_loss)
    loaded = LoadedTopic(topic, root)
    files, before = loaded.look(), remembered(root)
    if loaded.refusals and not files and not before:  # a topic of something else, not one that somebody disturbs
        raise InputUnusable(f"{loaded.refusals[0]}; give --history a topic of the loader's alone")
    complete = [file for file in files if file.is_complete]
    # A stream forgets in its own steps, so something of a file that was read may be left.
    awaited = [file for file in files if not file.is_complete and file.fingerprint not in before]
    for file in awaited:
        _log.warning("%s: %d bytes are there, and its end is not; a later run reads it", file.path, file.there)
    cells = [cell for file in complete for cell in cells_of(file, topic, form, root)]
    return LoadedFiles(cells, loaded, topic, form, complete, spent(files, awaited, loaded.refusals))


def _planned(url: Url | None, source: Source, asked: Asked, root: str) -> Files | Units | None:
    if url is None:
        return None
    if isinstance(url, str):
        form = RecordedMessages(source)
        return Files(once(plan(url, form), form), form)
    topic = stream(url, source, asked.accept_loss)
    return Units(plan_until_now(topic, root), topic)
