"""To a Kafka topic: messages of whole records."""

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from functools import partial
from typing import IO, Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from messaging.urls import KafkaUrl, kafka_config
from schemas.errors import OutputUnusable, PrestaCopError
from schemas.loaded import encode

from .kafka_refusals import DENIED, NO_TOPIC, TOLD_BEFORE, name_of, refusal
from .kafka_state import Acknowledged, TopicState, check_still_there, topic_state
from .pieces import Place, pieces
from .source import SourceFile
from .target import Patience, Target

# The options of a URL go before these.
_CONFIG: Final[dict[str, Any]] = {
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "lz4",
    # All that is under way; more than this, and send() waits. A message larger than this would never be taken.
    "queue.buffering.max.kbytes": 512,
    "batch.size": 600_000,
    "max.in.flight": 2,
    # For ever: how long to wait is decided here.
    "message.timeout.ms": 0,
    "reconnect.backoff.max.ms": 10_000,
    # Its own lines on stderr say less than what is told here.
    "log_level": 0,
}
_NAP_S: Final = 0.002
_APPEARS_S: Final = 3.0
"""A topic that was made a moment ago may not be known to every broker yet."""


class _Sent:
    """A message under way."""

    def __init__(self, chunk: bytes, upto: Place) -> None:
        self.chunk = chunk
        self.upto = upto
        self.is_there = False


class ToKafka(Target):
    """A topic. All of a file has the same key, so that it stays in order.

    The idempotent producer keeps a message from being there twice as long as this process lives; behind a restart some
    are sent again, and readers know them by the file's fingerprint and their offset.
    """

    text = True

    def __init__(self, url: KafkaUrl, rows: int, patience: Patience) -> None:
        self._url = url
        self._rows = rows
        self._patience = patience
        self._name = name_of(url)
        self._under_way: deque[_Sent] = deque()
        self._timed_out: deque[_Sent] = deque()
        """Those that the URL's ``message.timeout.ms`` gave up: how long to wait is decided here."""
        self._failed: KafkaError | None = None
        self._trouble = ""
        self._place = Place(0)
        self._acknowledged: Acknowledged = {}
        self._producer = self._new_producer()
        self._find()

    def begin(self, source: SourceFile) -> Mapping[str, Any]:
        self._acknowledged = {}
        return {"topic": self._state().identity}

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
        if not self._under_way:
            self._patience.asks()
        sent = _Sent(chunk, upto)
        while not self._produce(sent):
            self._wait()
        self._under_way.append(sent)
        self._serve()

    def arrived(self) -> Place:
        self._serve()
        return self._place

    def where(self) -> Mapping[str, Any]:
        return {"acknowledged": self._acknowledged}

    def finish(self) -> None:
        while self._under_way:
            self._wait()

    def check_there(self, source: SourceFile, known: Mapping[str, Any]) -> None:
        check_still_there(self._name, known, self._state())

    def close(self) -> None:
        self._producer.purge()
        self._producer.close()

    @property
    def next_step(self) -> str:
        return self._name

    def _new_producer(self) -> Producer:
        try:
            return Producer({**_CONFIG, **kafka_config(self._url), "error_cb": self._on_error})
        except KafkaException as error:
            raise OutputUnusable(f"Kafka's client does not take the options: {error.args[0].str()}") from error

    def _state(self) -> TopicState:
        return self._patience.attempt(lambda: topic_state(self._url), self._state_trouble)

    def _state_trouble(self, error: Exception) -> str | PrestaCopError:
        if not isinstance(error, KafkaException | TimeoutError):
            raise error
        problem = error.args[0] if isinstance(error, KafkaException) else None
        if problem is not None and problem.code() in (*DENIED, *NO_TOPIC):
            return refusal(self._url, problem)
        return f"{self._name} does not answer ({problem.str() if problem else 'in time'})"

    def _find(self) -> None:
        appears = math.inf
        while True:
            try:
                found = self._producer.list_topics(self._url.topic, timeout=1).topics[self._url.topic].error
            except KafkaException as error:
                found = error.args[0]
            if found is None:
                self._patience.heard()
                return
            self._poll()
            self._raise_if_denied(found)
            if found.code() in NO_TOPIC:
                appears = min(appears, time.monotonic() + _APPEARS_S)
                if time.monotonic() >= appears:
                    raise refusal(self._url, found)
            else:
                self._patience.check(f"{self._name} does not answer ({self._trouble or found.str()})")
            time.sleep(_NAP_S)

    def _produce(self, sent: _Sent) -> bool:
        deliver = partial(self._on_delivery, sent)
        try:
            self._producer.produce(self._url.topic, sent.chunk, self._key, on_delivery=deliver)
        except BufferError:
            return False
        except KafkaException as error:
            if error.args[0].code() not in TOLD_BEFORE:
                self._failed = error.args[0]
            return False
        return True

    def _wait(self) -> None:
        # Where Ctrl-C comes while it waits itself, poll() may lose it (SystemError, confluent-kafka 2.16).
        time.sleep(_NAP_S)
        self._serve()
        if self._under_way:
            self._patience.check(f"{self._name} does not answer{self._trouble and f' ({self._trouble})'}")

    def _serve(self) -> None:
        """Take the reports of deliveries."""
        self._poll()
        if self._failed is not None:
            raise refusal(self._url, self._failed)
        while self._timed_out and self._produce(self._timed_out[0]):
            self._timed_out.popleft()

    def _poll(self) -> None:
        try:
            self._producer.poll(0)
        except KafkaException as error:  # a fatal one
            self._failed = self._failed or error.args[0]

    def _on_delivery(self, sent: _Sent, error: KafkaError | None, message: Message) -> None:
        if error is None:
            sent.is_there = True
            partition, offset = str(message.partition()), message.offset() or 0
            first, last = self._acknowledged.get(partition, (offset, offset))
            self._acknowledged[partition] = min(first, offset), max(last, offset)
            while self._under_way and self._under_way[0].is_there:
                self._place = self._under_way.popleft().upto
            self._trouble = ""
            self._patience.heard()
        elif error.code() == KafkaError._MSG_TIMED_OUT:
            self._timed_out.append(sent)
        elif error.code() not in TOLD_BEFORE:
            self._failed = self._failed or error

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() in DENIED:
            self._failed = self._failed or error
        elif error.code() != KafkaError._ALL_BROKERS_DOWN:  # which does not say why
            self._trouble = error.str()

    def _raise_if_denied(self, error: KafkaError) -> None:
        for problem in (self._failed, error):
            if problem is not None and problem.code() in DENIED:
                raise refusal(self._url, problem)
