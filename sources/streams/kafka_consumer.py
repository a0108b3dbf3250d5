"""Read ranges of offsets, with consumers that are kept between two of them."""

import logging
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from confluent_kafka import KafkaError, Message, TopicPartition

from messaging.kafka import Connection, Topic, open_consumer
from messaging.retry import PATIENCE_SECONDS, Patience
from messaging.urls import KafkaUrl
from schemas.errors import InputUnusable
from terminal.logs import about

FETCHING: Final[Mapping[str, int]] = {
    "fetch.wait.max.ms": 100,
    "fetch.message.max.bytes": 1 << 20,
    "queued.max.messages.kbytes": 4 << 10,
    "fetch.queue.backoff.ms": 5,  # the default waits a second whenever the queue is full: 150 k messages/s, not 700 k
}
PEEKING: Final[Mapping[str, int]] = {
    **FETCHING,
    "fetch.message.max.bytes": 64 << 10,
    "queued.max.messages.kbytes": 64,
}
"""For a planner, which reads one message in each unit: its consumers fetched 16 MiB each."""
CHUNK_BYTES = 8 << 20
"""Bytes taken from librdkafka at once, estimated by the last messages; its own queue has 4 MiB more."""
FIRST_CHUNK = 64
"""Messages of the first chunk, whose size is not known."""
MAX_PARKED = 8
"""Consumers kept for the unit after the one they read, of which they have fetched a part already."""


_log = logging.getLogger(__name__)
_GONE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}


class Access(NamedTuple):
    """How a topic is read."""

    url: KafkaUrl
    at_once: int
    """Messages taken from librdkafka at once."""
    accept_loss: bool
    """Continue after messages that were deleted before they were read."""
    fetching: Mapping[str, int] = FETCHING
    """Settings of librdkafka."""

    @property
    def key(self) -> tuple[str, int]:
        """Of the consumers that may be used for it."""
        return str(self.url), self.fetching["fetch.message.max.bytes"]


def offset_of(message: Message) -> int:
    """A message's place in its partition."""
    offset = message.offset()
    if offset is None:
        raise RuntimeError("a message that was consumed has no offset")
    return offset


class _Parked:
    """A consumer between two units."""

    def __init__(self, access: Access) -> None:
        self.broker = Connection(access.url)
        self.place: tuple[int, int] = (-1, -1)
        """The partition and the offset of its next message."""
        settings = {
            "auto.offset.reset": "error",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
            "check.crcs": True,
            **access.fetching,
        }
        self.consumer = open_consumer(self.broker, settings)


_topics: dict[str, Topic] = {}
_parked: defaultdict[tuple[str, int], list[_Parked]] = defaultdict(list)
"""By topic, and by the size of their fetches."""
_parking = threading.Lock()


def consume(topic: Access, partition: int, start: int, end: int) -> Iterator[list[Message]]:
    """The messages of a partition from one offset to before another, in chunks.

    Raises:
        InputUnusable: there is no such topic, or messages were deleted before they were read.
        NotPermitted: the broker refuses the credentials.
        ServiceUnavailable: no message arrived for PATIENCE_SECONDS.
    """
    parked = _take(topic, partition, start)
    place, size = start, CHUNK_BYTES // FIRST_CHUNK
    patience = Patience(PATIENCE_SECONDS, answered=True)
    expected = start
    missing: int | None = None
    while place < end:
        messages = []
        chunk = min(topic.at_once, end - place, max(CHUNK_BYTES // size, 1))
        for message in parked.consumer.consume(chunk, timeout=0.2):
            error = message.error()
            offset = message.offset()
            if error is None:
                messages.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                place = max(place, offset or 0)  # the rest are markers of transactions
            elif error.code() in _GONE:
                expected = place = _after_loss(topic, partition, place, end)
                parked.consumer.assign([TopicPartition(topic.url.topic, partition, place)])
            else:
                parked.broker.check(error)
                _log.warning("%s: %s", parked.broker.name, error, extra=_about(topic, partition, place))
        if messages:
            place = max(place, offset_of(messages[-1]) + 1)  # the end may have come in the same chunk
            size = max(*map(len, messages), size // 2, 1)
            while messages and offset_of(messages[-1]) >= end:  # the offsets before were compacted away
                messages.pop()
            if missing is None:
                missing = _first_missing(messages, expected)
            expected = offset_of(messages[-1]) + 1 if messages else expected
            yield messages
            patience.heard()
        else:
            parked.broker.check()
            patience.check(parked.broker.outage())
    if missing is None and expected < end:
        missing = expected
    if missing is not None:
        _check_not_deleted(topic, partition, missing, end)
    parked.place = partition, place
    with _parking:
        _parked[topic.key].append(parked)


def _take(topic: Access, partition: int, start: int) -> _Parked:
    """A consumer at that position already, else the one that was parked longest, or a new one."""
    with _parking:
        parked = _parked[topic.key]
        for place, one in enumerate(parked):
            if one.place == (partition, start):
                return parked.pop(place)
        one = parked.pop(0) if len(parked) >= MAX_PARKED else _Parked(topic)
    one.consumer.assign([TopicPartition(topic.url.topic, partition, start)])
    return one


def _first_missing(messages: list[Message], expected: int) -> int | None:
    """The first offset from the expected one on that none of these messages has, if one between them is missing."""
    if not messages or offset_of(messages[-1]) - expected + 1 == len(messages):
        return None
    return next(n for n, message in enumerate(messages, expected) if offset_of(message) != n)


def _check_not_deleted(topic: Access, partition: int, missing: int, end: int) -> None:
    """Offsets without a message within the log are markers of transactions, or were compacted away.

    Checked after the last message was read: what retention has deleted by then may have been unread messages. Raises
    InputUnusable unless the loss is accepted.
    """
    first = shared(topic.url).firsts([partition])[partition]
    if first > missing:
        _lose(topic, partition, missing, min(first, end))


def _after_loss(topic: Access, partition: int, place: int, end: int) -> int:
    first = shared(topic.url).firsts([partition])[partition]
    if first <= place:
        raise InputUnusable(
            f"{_path(topic, partition)} ends before offset {place:,}, and messages up to {end - 1:,} were "
            "planned: the topic was truncated, or created again. Restore it, or read it into a new lake"
        )
    _lose(topic, partition, place, first)
    return min(first, end)


def _lose(topic: Access, partition: int, start: int, end: int) -> None:
    """Raise InputUnusable unless the loss is accepted."""
    lost = f"{_path(topic, partition)}: messages {start:,} to {end - 1:,} are gone"
    if not topic.accept_loss:
        raise InputUnusable(
            f"{lost}: the topic's retention deleted them before they were read. Lengthen it; to continue without "
            "them run again with --accept-loss"
        )
    _log.error("%s, and skipped because of --accept-loss", lost, extra=_about(topic, partition, start))


def _path(topic: Access, partition: int) -> str:
    return f"kafka:{topic.url.topic}/{partition}"


def _about(topic: Access, partition: int, offset: int) -> dict[str, object]:
    return about(path=_path(topic, partition), offset=offset)


def topic_of(url: KafkaUrl, answered: bool = False) -> Topic:
    """Metadata of a topic without open transactions. ``answered``: the brokers have answered this run before."""
    return Topic(url, Patience(PATIENCE_SECONDS, _log.warning, answered, longest_nap=1.0), committed=True)


def shared(url: KafkaUrl) -> Topic:
    """The one client of this process for the topic's metadata."""
    with _parking:
        if str(url) not in _topics:
            _topics[str(url)] = topic_of(url, answered=True)
        return _topics[str(url)]
