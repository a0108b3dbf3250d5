"""Kafka topics as sources: units are ranges of offsets of one partition.

No consumer group: partitions are assigned by hand, so there is nothing to rebalance, and where to go on is told by
the lake. What librdkafka can mend (a broker that restarts, a leader that moves) it mends; what it cannot becomes an
error.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any, Final

import numpy as np
import pyarrow as pa
from apache_beam.metrics import Metrics
from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from schemas.errors import InputUnusable, ServiceUnavailable
from schemas.lake import Source
from schemas.urls import KafkaUrl, kafka_config
from sources.payloads import payload_batch
from sources.plans import Chain, Plan, first_planned, read_floors, write_floors
from sources.streams import MICROSECONDS, Look, PlannedUnit, Planner, Stream
from sources.units import Unit

UNIT_MESSAGES: Mapping[Source, int] = {Source.DRONES: 200_000, Source.IMAGES: 1_000}
"""At most so many messages a unit: it is what a worker holds, and what is read again after a crash."""
BATCH_BYTES = 8 << 20
CONSUME: Final[Mapping[Source, int]] = {Source.DRONES: 5_000, Source.IMAGES: 16}
"""Messages taken from librdkafka at once."""
PATIENCE_SECONDS = 120
"""How long a broker may be silent before it is called unavailable."""
START_SECONDS = 20
"""The same before anything was heard of it."""
ANSWER_SECONDS = 10
LISTEN_SECONDS = 0.1
PARTITIONS_SECONDS = 10
"""How often new partitions are looked for."""
FETCHING: Final[Mapping[str, int]] = {
    "fetch.wait.max.ms": 100,
    "fetch.message.max.bytes": 4 << 20,
    "queued.max.messages.kbytes": 16 << 10,
    "fetch.queue.backoff.ms": 5,  # the default waits a second whenever the queue is full: 150 k messages/s, not 700 k
}
MAX_PARKED = 8
"""Consumers that wait for the unit behind the one they read, with what they fetched of it already."""

_log = logging.getLogger(__name__)
_GONE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}
_UNKNOWN_TOPIC = {KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION}
_REFUSED = {
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError._SSL,
    KafkaError._INVALID_ARG,
    KafkaError.UNSUPPORTED_SASL_MECHANISM,
}
"""Errors that another attempt does not mend."""


class KafkaStream(Stream):
    """A topic.

    Args:
        accept_loss: go on where messages were deleted before they were read.
    """

    def __init__(self, url: KafkaUrl, source: Source, accept_loss: bool = False) -> None:
        self.url = url
        self.source = source
        self.accept_loss = accept_loss

    def planner(self, root: str) -> Planner:
        return _KafkaPlanner(self, root)

    def waiting(self, root: str) -> str:
        planner = _KafkaPlanner(self, root)
        again = planner.resume()
        behind = planner.behind()
        begun = f", {len(again)} units begun" if again else ""
        return f"{behind:,} new messages in {planner.partitions} partitions of {self.url.topic}{begun}"

    def payloads(self, unit: Unit, root: str) -> Iterator[pa.RecordBatch]:
        partition = int(unit.path.rpartition("/")[2])
        messages: list[Message] = []
        size = 0
        for some in consume(self, partition, unit.start, unit.end):
            messages += some
            size += sum(map(len, some))
            if size >= BATCH_BYTES:
                yield _batch(messages, unit.start)
                messages, size = [], 0
        yield _batch(messages, unit.start)


def _batch(messages: list[Message], start: int) -> pa.RecordBatch:
    n = len(messages)
    first, last = (_offset(messages[0]), _offset(messages[-1])) if n else (0, -1)
    # Where some were compacted away, or are marks of transactions, the offsets have gaps.
    whole = last - first + 1 == n
    offsets = np.arange(first, last + 1) if whole else np.fromiter(map(_offset, messages), np.int64, n)
    published = np.fromiter((m.timestamp()[1] for m in messages), np.int64, n) * 1000
    return payload_batch([m.value() or b"" for m in messages], offsets - start, offsets, published)


def _offset(message: Message) -> int:
    offset = message.offset()
    if offset is None:
        raise RuntimeError("a message that was consumed has no offset")
    return offset


class _KafkaPlanner(Planner):
    def __init__(self, stream: KafkaStream, root: str) -> None:
        self._stream = stream
        self._root = root
        self._topic = _Topic(stream)
        self._name = f"{stream.source}-kafka-{self._topic.identity()}"
        self._floors = read_floors(root, self._name)
        self._chains: dict[int, Chain] = {}
        self._until: dict[int, int] = {}
        """By partition: what is not planned yet was published after this time."""

    def resume(self) -> list[PlannedUnit]:
        self._chains = {}
        return self._begin(self._topic.ends())

    @property
    def partitions(self) -> int:
        """How many the topic has."""
        return len(self._chains)

    def close(self) -> None:
        pass  # nothing is taken before it is planned

    def outstanding(self) -> int:
        return sum(len(chain.outstanding) for chain in self._chains.values())

    def look(self, room: int) -> Look:
        self._settle()
        now = round(time.time() * MICROSECONDS)
        ends = self._topic.ends()
        units = self._begin(ends)
        while room > 0 and (behind := [p for p, end in ends.items() if self._chains[p].next < end]):
            for partition in behind[:room]:
                units.append(self._extend(partition, ends[partition]))
                room -= 1
        for partition, end in ends.items():
            left = max(end - self._chains[partition].next, 0)
            self._until[partition] = self._published(partition) if left else now
            Metrics.gauge("kafka", f"{self._stream.source}_offset_{partition}").set(self._chains[partition].next)
            Metrics.gauge("kafka", f"{self._stream.source}_lag_{partition}").set(left)
        return Look(units, min(self._until.values(), default=now), self._left(ends))

    def behind(self) -> int:
        """How many messages are there that are not planned yet; nothing is written."""
        return self._left(self._topic.ends())

    def _left(self, ends: Mapping[int, int]) -> int:
        return sum(max(end - self._chains[p].next, 0) for p, end in ends.items() if p in self._chains)

    def _begin(self, partitions: Iterable[int]) -> list[PlannedUnit]:
        """Follow the chains of partitions that were not there before."""
        found: list[PlannedUnit] = []
        for partition in sorted(set(partitions) - self._chains.keys()):
            floor = self._floors.get(partition)
            if floor is None:  # what was read may be deleted since: the plans are asked before the topic
                floor = first_planned(self._root, self._name, partition)
            if floor is None:
                floor = self._topic.first(partition)
            path = f"kafka:{self._stream.url.topic}/{partition}"
            chain = Chain(self._root, self._stream.source, self._name, partition, path, floor)
            found += (PlannedUnit(*unit) for unit in chain.follow())
            self._chains[partition] = chain
        return found

    def _extend(self, partition: int, end: int) -> PlannedUnit:
        chain = self._chains[partition]
        if partition not in self._until:
            self._until[partition] = self._published(partition)
        end = min(end, chain.next + UNIT_MESSAGES[self._stream.source])
        return PlannedUnit(*chain.extend(Plan(end, self._until[partition])))

    def _published(self, partition: int) -> int:
        """When the partition's next message was published; a clock that is ahead is not believed."""
        now = round(time.time() * MICROSECONDS)
        start = self._chains[partition].next
        times = (m.timestamp()[1] * 1000 for some in consume(self._stream, partition, start, start + 1) for m in some)
        return min(next(times, now), now)

    def _settle(self) -> None:
        for chain in self._chains.values():
            chain.settle()
        floors = {p: chain.floor for p, chain in self._chains.items()}
        if floors != self._floors:
            write_floors(self._root, self._name, floors)
            self._floors = floors


class _Topic:
    """What the brokers say of a topic."""

    def __init__(self, stream: KafkaStream) -> None:
        self._name = stream.url.topic
        self._broker = Broker(stream.url)
        settings: dict[str, Any] = {**kafka_config(stream.url), "error_cb": self._broker.heard, "log_level": 0}
        with self._broker.options():
            self._admin = AdminClient(settings)
        self._partitions: list[int] = []
        self._looked = 0.0

    def identity(self) -> str:
        """The topic's name for ever: a topic that is deleted and made again has another one."""
        topics = TopicCollection([self._name])
        found = self._ask(lambda: self._admin.describe_topics(topics)[self._name], START_SECONDS)
        # Its text is Base64, which has a slash.
        halves = found.topic_id.get_most_significant_bits(), found.topic_id.get_least_significant_bits()
        return "".join(f"{half % 2**64:016x}" for half in halves)

    def first(self, partition: int) -> int:
        """The offset of the oldest message that is there."""
        return self._offsets([partition], OffsetSpec.earliest())[partition]  # type: ignore[no-untyped-call]

    def ends(self) -> dict[int, int]:
        """The offset after the last message of each partition, open transactions left out; new partitions are found."""
        if time.monotonic() - self._looked > PARTITIONS_SECONDS:
            topics = TopicCollection([self._name])
            found = self._ask(lambda: self._admin.describe_topics(topics)[self._name])
            self._partitions = sorted(p.id for p in found.partitions)
            self._looked = time.monotonic()
        return self._offsets(self._partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def _offsets(self, partitions: list[int], which: OffsetSpec) -> dict[int, int]:
        wanted = {TopicPartition(self._name, p): which for p in partitions}
        asked = self._ask_all(lambda: self._admin.list_offsets(wanted, isolation_level=IsolationLevel.READ_COMMITTED))
        return {place.partition: found.offset for place, found in asked.items()}

    def _ask(self, question: Callable[[], Any], patience: float = PATIENCE_SECONDS) -> Any:
        return self._ask_all(lambda: {"": question()}, patience)[""]

    def _ask_all(self, question: Callable[[], dict[Any, Any]], patience: float = PATIENCE_SECONDS) -> dict[Any, Any]:
        deadline = time.monotonic() + patience
        while True:
            try:
                return {key: self._result(answer) for key, answer in question().items()}
            except (KafkaException, TimeoutError) as error:
                self._broker.check(error.args[0] if isinstance(error, KafkaException) else None)
                if time.monotonic() > deadline:
                    raise self._broker.unavailable() from error
                _log.warning("%s; asking again", self._broker.unavailable())
                time.sleep(1)
                self._look_for_leaders()

    def _look_for_leaders(self) -> None:
        # The client remembers who leads a partition since when, and looks again for no error that this leads to: after
        # a broker has been restarted, each of its answers would be FENCED_LEADER_EPOCH.
        with suppress(KafkaException):
            self._admin.list_topics(self._name, timeout=1)

    def _result(self, answer: Future[Any]) -> Any:
        """Wait for it, and listen meanwhile: some errors no patience mends, and others say why it does not come."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                return answer.result(LISTEN_SECONDS)
            except TimeoutError:
                self._admin.poll(0)
                self._broker.check(None)
                if time.monotonic() > deadline:
                    raise


class Broker:
    """What was heard of a cluster, and which of it is an error of ours."""

    def __init__(self, url: KafkaUrl) -> None:
        self.name = f"kafka://{url.bootstrap}/{url.topic}"
        self._topic = url.topic
        self._last: KafkaError | None = None

    def heard(self, error: KafkaError) -> None:
        """librdkafka's callback; what it raised would be lost."""
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # which does not say why
            self._last = error

    @contextmanager
    def options(self) -> Iterator[None]:
        """While a client is made from the URL's options. Raises ServiceUnavailable where they are wrong."""
        try:
            yield
        except KafkaException as error:
            self.check(error.args[0])
            raise

    def check(self, error: KafkaError | None) -> None:
        """Raise what another attempt does not mend. Raises InputUnusable, ServiceUnavailable."""
        for problem in (error, self._last):
            if problem is None:
                continue
            if problem.code() in _UNKNOWN_TOPIC:
                raise InputUnusable(
                    f"{self.name}: there is no topic {self._topic}; check the name, or make it with "
                    "python -m runners.topics"
                )
            if problem.code() in _REFUSED or problem.fatal():
                raise ServiceUnavailable(
                    f"{self.name}: {problem.str()}. Check security.protocol and the other options of the URL, and "
                    "KAFKA_SASL_PASSWORD"
                )

    def unavailable(self) -> ServiceUnavailable:
        """To be raised when patience is at its end."""
        why = f" ({self._last.str()})" if self._last else ""
        return ServiceUnavailable(f"{self.name} does not answer{why}. Check the address, and that the broker runs")


class _Parked:
    """A consumer between two units."""

    def __init__(self, stream: KafkaStream) -> None:
        self.broker = Broker(stream.url)
        self.place: tuple[int, int] = (-1, -1)
        """The partition and the offset of its next message."""
        settings: dict[str, Any] = {
            "group.id": "prestacop",  # librdkafka wants one; nothing is ever committed to it
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            **FETCHING,
            "error_cb": self.broker.heard,
        }
        with self.broker.options():
            self.consumer = Consumer({**settings, **kafka_config(stream.url)}, logger=_log)


_parked: defaultdict[str, list[_Parked]] = defaultdict(list)
_parking = threading.Lock()


def consume(stream: KafkaStream, partition: int, start: int, end: int) -> Iterator[list[Message]]:
    """The messages of a partition from one offset to before another, as long as it takes to get them.

    Raises:
        InputUnusable: the topic is not there, or messages were deleted before they were read.
        ServiceUnavailable: the broker refuses us, or was silent for longer than PATIENCE_SECONDS.
    """
    parked = _take(stream, partition, start)
    place, heard = start, time.monotonic()
    while place < end:
        messages = []
        for message in parked.consumer.consume(min(CONSUME[stream.source], end - place), timeout=0.2):
            error = message.error()
            offset = message.offset()
            if error is None:
                messages.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                place = max(place, offset or 0)  # the rest are marks of transactions
            elif error.code() in _GONE:
                place = _after_loss(stream, partition, place, end)
                parked.consumer.assign([TopicPartition(stream.url.topic, partition, place)])
            else:
                parked.broker.check(error)
                _log.warning("%s: %s", parked.broker.name, error)
        if messages:
            place = max(place, _offset(messages[-1]) + 1)  # the end may have been told in the same breath
            heard = time.monotonic()
            while messages and _offset(messages[-1]) >= end:  # the offsets before were compacted away
                messages.pop()
            yield messages
        elif time.monotonic() - heard > PATIENCE_SECONDS:
            raise parked.broker.unavailable()
        else:
            parked.broker.check(None)
    parked.place = partition, place
    with _parking:
        _parked[str(stream.url)].append(parked)


def _take(stream: KafkaStream, partition: int, start: int) -> _Parked:
    """A consumer that stands there already, else the one that was parked longest, or a new one."""
    with _parking:
        parked = _parked[str(stream.url)]
        for place, one in enumerate(parked):
            if one.place == (partition, start):
                return parked.pop(place)
        one = parked.pop(0) if len(parked) >= MAX_PARKED else _Parked(stream)
    one.consumer.assign([TopicPartition(stream.url.topic, partition, start)])
    return one


def _after_loss(stream: KafkaStream, partition: int, place: int, end: int) -> int:
    first = _Topic(stream).first(partition)
    lost = f"kafka:{stream.url.topic}/{partition}: messages {place:,} to {first - 1:,} are gone"
    if first <= place:
        raise InputUnusable(f"kafka:{stream.url.topic}/{partition} ends before offset {place:,}: it was cut short")
    if not stream.accept_loss:
        raise InputUnusable(
            f"{lost}: the topic's retention deleted them before they were read. Lengthen it; to go on without them "
            "run again with --accept-loss"
        )
    _log.error("%s, and left out as --accept-loss says", lost)
    return min(first, end)
