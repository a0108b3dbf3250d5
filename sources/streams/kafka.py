"""Kafka topics as sources: units are ranges of offsets of one partition.

No consumer group: partitions are assigned by hand, so there is nothing to rebalance, and the lake knows where to
resume. librdkafka recovers from a broker that restarts and a leader that moves; what it cannot recover from becomes an
error.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics
from confluent_kafka import Message

from lake.merged_ledger import kafka_stream
from messaging.kafka import Topic
from messaging.urls import KafkaUrl
from schemas.errors import InputUnusable
from schemas.lake import MICROSECONDS, Source, timestamps
from sources.input import Split
from sources.payloads import payload_batch
from sources.streams.base import PlannedUnit, Planner, Polled, Stream
from sources.streams.kafka_consumer import PEEKING, Access, consume, offset_of, shared, topic_of
from sources.streams.plans import Chain, Plan, check_not_begun, first_planned, read_floors, settle, trim, write_floors
from sources.units import PART_BYTES, ROW_BYTES, Unit

UNIT_MESSAGES: Mapping[Source, int] = {Source.DRONES: 200_000, Source.IMAGES: 1_000, Source.HISTORY: 32}
"""At most so many messages a unit: what a worker has in memory, and what is read again after a crash."""
UNIT_BYTES = PART_BYTES
"""At most so many bytes a unit, estimated by the messages before. Kafka does not report how long messages are; a unit
that is longer than expected is written in parts."""
BATCH_BYTES = 8 << 20
CONSUME: Final[Mapping[Source, int]] = {Source.DRONES: 5_000, Source.IMAGES: 16, Source.HISTORY: 16}
"""Messages taken from librdkafka at once."""
TRIM_SECONDS = 10.0
"""Between two times that floors are written and plans deleted: each is a request or more."""


class KafkaStream(Stream):
    """A topic.

    Args:
        accept_loss: continue after messages that were deleted before they were read.
    """

    def __init__(self, url: KafkaUrl, source: Source, accept_loss: bool = False) -> None:
        self.url = url
        self.source = source
        self.access = Access(url, CONSUME[source], accept_loss)
        self._planned: set[str] = set()
        """What identified the topic (:meth:`plans`) when it was planned."""

    @property
    def path(self) -> str:
        return f"kafka:{self.url.topic}"

    def planner(self, root: str) -> Planner:
        return _KafkaPlanner(self, root)

    def plan(self, root: str) -> list[Split]:
        found = super().plan(root)
        self._planned = {split.place.name.rsplit("-", 2)[0] for split in found}
        return found

    def finish(self, root: str) -> None:
        for stream in self._planned:
            settle(root, stream)

    def waiting(self, root: str) -> str:
        planner = _KafkaPlanner(self, root)
        again = planner.resume()
        behind = planner.behind()
        planned = f", {len(again)} units planned and not committed" if again else ""
        return f"{behind:,} new messages in {planner.partitions} partitions of {self.url.topic}{planned}"

    def everything(self, root: str) -> list[Unit]:
        topic, step = topic_of(self.url), UNIT_MESSAGES[self.source]
        floors = read_floors(root, self.plans(topic))
        found = []
        for partition, end in topic.ends().items():
            path = f"{self.path}/{partition}"
            first = max(topic.firsts([partition])[partition], floors.get(partition, 0))
            starts = range(first - first % step, end, step)  # the same ones when retention has moved the beginning
            units = (Unit(self.source, path, max(start, first), min(start + step, end), "") for start in starts)
            found += [unit for unit in units if unit.start < unit.end]
        return found

    def forget(self, units: Iterable[Unit], root: str) -> None:
        name = self.plans(topic_of(self.url))
        floors: dict[int, int] = {}
        for unit in units:
            floors[_partition(unit)] = max(floors.get(_partition(unit), 0), unit.end)
        write_floors(root, name, floors)

    def payloads(self, unit: Unit, root: str) -> Iterator[pa.RecordBatch]:
        partition = _partition(unit)
        messages: list[Message] = []
        size = 0
        for some in consume(self.access, partition, unit.start, unit.end):
            for message in some:  # so that batches do not depend on how many came at once
                messages.append(message)
                size += len(message)
                if size >= BATCH_BYTES:
                    yield _batch(messages, unit.start)
                    messages, size = [], 0
        if unit.name and not unit.name.startswith(f"{self.plans(shared(self.url))}-"):
            raise InputUnusable(
                f"{self.path}: the topic was deleted and created again since the unit {unit.name} was planned: run "
                "again, and the new topic is read from its beginning; unread messages of the old one are lost"
            )
        yield _batch(messages, unit.start)

    def plans(self, topic: Topic) -> str:
        """What identifies the topic, as a part of a path: another one if it is deleted and created again."""
        return kafka_stream(self.source, topic.identity())


def _partition(unit: Unit) -> int:
    return int(unit.path.rpartition("/")[2])


def _batch(messages: list[Message], start: int) -> pa.RecordBatch:
    n = len(messages)
    first, last = (offset_of(messages[0]), offset_of(messages[-1])) if n else (0, -1)
    # Compaction and the markers of transactions leave gaps between offsets.
    whole = last - first + 1 == n
    offsets = np.arange(first, last + 1) if whole else np.fromiter(map(offset_of, messages), np.int64, n)
    published = timestamps(np.fromiter((m.timestamp()[1] for m in messages), np.int64, n), 1000)
    return payload_batch([m.value() or b"" for m in messages], offsets - start, offsets, published)


class _KafkaPlanner(Planner):
    def __init__(self, stream: KafkaStream, root: str) -> None:
        self._stream = stream
        self._peeking = stream.access._replace(fetching=PEEKING)
        self._root = root
        self._topic = topic_of(stream.url)
        self._name = stream.plans(self._topic)
        self._floors = read_floors(root, self._name)
        self._trim_at = 0.0
        self._chains: dict[int, Chain] = {}
        self._until: dict[int, int] = {}
        """By partition: messages that are not planned yet were published after this time."""
        self._sizes: dict[int, float] = {}
        """By partition the estimated bytes of a message: quick to rise, slow to fall."""

    def resume(self) -> list[PlannedUnit]:
        self._chains = {}
        return self._begin(self._topic.ends())

    @property
    def partitions(self) -> int:
        """How many the topic has."""
        return len(self._chains)

    def most(self) -> int:
        return max(super().most(), 2 * self.partitions)

    def close(self) -> None:
        pass  # it has read nothing beyond what is planned

    def outstanding(self) -> int:
        return sum(len(chain.outstanding) for chain in self._chains.values())

    def poll(self, room: int) -> Polled:
        for chain in self._chains.values():
            chain.settle()
        now = round(time.time() * MICROSECONDS)
        ends = self._topic.ends()
        units = self._begin(ends)
        self._trim()
        while room > 0 and (behind := [p for p, end in ends.items() if self._chains[p].next < end]):
            # Without room for all, those with the most to read come first: no partition waits for ever.
            for partition in sorted(behind, key=lambda p: self._chains[p].next - ends[p])[:room]:
                units.append(self._extend(partition, ends[partition]))
                room -= 1
        for partition, end in ends.items():
            left = max(end - self._chains[partition].next, 0)
            self._until[partition] = self._published(partition, end) if left else now
            Metrics.gauge("kafka", f"{self._stream.source}_offset_{partition}").set(self._chains[partition].next)
            Metrics.gauge("kafka", f"{self._stream.source}_lag_{partition}").set(left)
        return Polled(units, min(self._until.values(), default=now), self._left(ends))

    def behind(self) -> int:
        """How many messages are not planned yet; nothing is written."""
        return self._left(self._topic.ends())

    def _left(self, ends: Mapping[int, int]) -> int:
        return sum(max(end - self._chains[p].next, 0) for p, end in ends.items() if p in self._chains)

    def _begin(self, partitions: Iterable[int]) -> list[PlannedUnit]:
        """Follow the chains of partitions that were not there before."""
        found: list[PlannedUnit] = []
        for partition in sorted(set(partitions) - self._chains.keys()):
            floor = self._floors.get(partition)
            if floor is None:  # the topic may have deleted what was read since: the plans come first
                floor = first_planned(self._root, self._name, partition)
            if floor is None:
                check_not_begun(self._root, self._name, partition)
                floor = self._topic.firsts([partition])[partition]
            path = f"{self._stream.path}/{partition}"
            chain = Chain(self._root, self._stream.source, self._name, partition, path, floor)
            found += (PlannedUnit(*unit) for unit in chain.follow())
            self._chains[partition] = chain
        return found

    def _extend(self, partition: int, end: int) -> PlannedUnit:
        chain = self._chains[partition]
        if partition not in self._until:
            self._until[partition] = self._published(partition, end)
        fit = max(int(UNIT_BYTES / (self._sizes.get(partition, 0) + ROW_BYTES)), 1)
        end = min(end, chain.next + min(UNIT_MESSAGES[self._stream.source], fit))
        return PlannedUnit(*chain.extend(Plan(end, self._until[partition])))

    def _published(self, partition: int, end: int) -> int:
        """When the partition's next message was published; now, where it has no time or one in the future."""
        now = round(time.time() * MICROSECONDS)
        start, step = self._chains[partition].next, 1
        while start < end:
            stop = min(start + step, end)
            messages = [m for some in consume(self._peeking, partition, start, stop) for m in some]
            if messages:
                seen, before = len(messages[0]), self._sizes.get(partition, 0)
                self._sizes[partition] = max(seen, (3 * before + seen) / 4)
                published = timestamps(np.array([messages[0].timestamp()[1]], np.int64), 1000)[0].value
                return now if published is None else min(published, now)
            start, step = stop, 16 * step  # only markers of transactions, or compacted away
        return now

    def _trim(self) -> None:
        """Write the floors and delete the plans below, before any plan of a partition that is new, then every
        TRIM_SECONDS: a plan without a floor means that the floor was lost."""
        floors = {partition: chain.floor for partition, chain in self._chains.items()}
        is_new = not floors.keys() <= self._floors.keys()
        if floors != self._floors and (is_new or time.monotonic() >= self._trim_at):
            trim(self._root, self._name, self._chains)
            self._floors = floors
            self._trim_at = time.monotonic() + TRIM_SECONDS
