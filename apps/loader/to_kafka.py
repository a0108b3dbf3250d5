"""To a Kafka topic: messages of whole records."""

from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from typing import IO, Any, Final

from confluent_kafka import Message

from messaging.kafka import Topic, TopicProducer
from messaging.retry import Patience
from messaging.urls import KafkaUrl
from schemas.loaded import encode

from .kafka_state import Acknowledged, check_still_there, topic_state
from .pieces import Place, pieces
from .source import SourceFile
from .target import Target

_SETTINGS: Final[dict[str, Any]] = {
    # All that is under way; more than this, and send() waits. A message larger than this would never be taken.
    "queue.buffering.max.kbytes": 512,
    "batch.size": 600_000,
    "max.in.flight": 2,
    # For ever: how long to wait is decided by Patience.
    "message.timeout.ms": 0,
}


class _Sent:
    """A message under way."""

    def __init__(self, upto: Place) -> None:
        self.upto = upto
        self.is_acknowledged = False


class ToKafka(Target):
    """A topic. All of a file has the same key, so that it stays in order.

    The idempotent producer keeps a message from being duplicated as long as this process lives; after a restart some
    are sent again, and readers recognize them by the file's fingerprint and their offset.
    """

    text = True

    def __init__(self, url: KafkaUrl, rows: int, patience: Patience) -> None:
        self._rows = rows
        self._under_way: deque[_Sent] = deque()
        self._place = Place(0)
        self._acknowledged: Acknowledged = {}
        self._topic = Topic(url, patience)
        self._producer = TopicProducer(url, _SETTINGS, patience, resend=True)
        self._producer.find(patience)

    def begin(self, source: SourceFile) -> Mapping[str, Any]:
        self._acknowledged = {}
        return {"topic": topic_state(self._topic).identity}

    def resume(self, source: SourceFile, known: Mapping[str, Any], arrived: Place) -> Place | None:
        self._key, self._place = source.fingerprint, arrived
        if arrived.offset:
            self.check_there(source, known)
        self._acknowledged = {p: (first, last) for p, (first, last) in known.get("acknowledged", {}).items()}
        return arrived

    def chunks(self, source: SourceFile, file: IO[bytes], at: Place) -> Iterator[tuple[bytes, Place]]:
        for piece, behind in pieces(source, file, at, self._rows):
            yield encode(piece), behind

    def send(self, chunk: bytes, upto: Place) -> None:
        sent = _Sent(upto)
        self._under_way.append(sent)
        self._producer.send([chunk], [self._key], partial(self._on_acknowledged, sent))

    def arrived(self) -> Place:
        self._producer.poll()
        return self._place

    def where(self) -> Mapping[str, Any]:
        return {"acknowledged": self._acknowledged}

    def finish(self) -> None:
        self._producer.finish()

    def check_there(self, source: SourceFile, known: Mapping[str, Any]) -> None:
        check_still_there(self.next_step, known, topic_state(self._topic))

    def close(self) -> None:
        self._producer.close()

    @property
    def next_step(self) -> str:
        return self._producer.connection.name

    def _on_acknowledged(self, sent: _Sent, message: Message) -> None:
        sent.is_acknowledged = True
        partition, offset = str(message.partition()), message.offset() or 0
        first, last = self._acknowledged.get(partition, (offset, offset))
        self._acknowledged[partition] = min(first, offset), max(last, offset)
        while self._under_way and self._under_way[0].is_acknowledged:
            self._place = self._under_way.popleft().upto
