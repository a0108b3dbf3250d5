"""Kafka: the configuration of clients, the meaning of their errors, a topic's metadata, and a producer."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, TypeVar

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # it exports them silently

from messaging.errors import DENIED, LOST, OPTIONS, OUTAGE, REFUSED, TOO_LARGE, UNKNOWN, Condition
from messaging.retry import Patience
from messaging.urls import KafkaUrl, kafka_config
from schemas.errors import PrestaCopError, ServiceUnavailable
from terminal.logs import LIBRDKAFKA

Client = TypeVar("Client", Producer, Consumer, AdminClient)

CONDITIONS: Final[Mapping[int, Condition]] = {
    **dict.fromkeys(
        (KafkaError._UNKNOWN_TOPIC, KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_PARTITION), UNKNOWN
    ),
    **dict.fromkeys(
        (
            KafkaError._AUTHENTICATION,
            KafkaError._SSL,
            KafkaError.CLUSTER_AUTHORIZATION_FAILED,
            KafkaError.GROUP_AUTHORIZATION_FAILED,
            KafkaError.SASL_AUTHENTICATION_FAILED,
            KafkaError.TOPIC_AUTHORIZATION_FAILED,
            KafkaError.UNSUPPORTED_SASL_MECHANISM,
        ),
        DENIED,
    ),
    KafkaError._INVALID_ARG: OPTIONS,
    **dict.fromkeys((KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE), TOO_LARGE),
    **dict.fromkeys(
        (
            KafkaError.INVALID_CONFIG,
            KafkaError.INVALID_PARTITIONS,
            KafkaError.INVALID_RECORD,
            KafkaError.INVALID_REPLICA_ASSIGNMENT,
            KafkaError.INVALID_REPLICATION_FACTOR,
            KafkaError.INVALID_REQUEST,
            KafkaError.INVALID_TIMESTAMP,
            KafkaError.POLICY_VIOLATION,
            KafkaError.TOPIC_EXCEPTION,
            KafkaError.UNSUPPORTED_VERSION,
        ),
        REFUSED,
    ),
    **dict.fromkeys((KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, KafkaError.UNKNOWN_PRODUCER_ID), LOST),
}
"""Errors that no retry fixes, by their code; every other error is retried."""

ANSWER_SECONDS: Final = 10.0
PARTITIONS_SECONDS: Final = 10.0
"""How often new partitions are looked for."""
_LISTEN_SECONDS: Final = 0.1
_NAP_SECONDS: Final = 0.002
_APPEARS_SECONDS: Final = 3.0
"""A topic that was created a moment ago may not be known to every broker yet."""
_REPORTED_BEFORE: Final = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._FATAL)
"""The consequences of a fatal error, which is reported by itself."""
_BATCHES: Final[Mapping[str, Any]] = {
    "compression.type": "lz4",
    # A full queue is the backpressure: send() waits.
    "queue.buffering.max.messages": 100_000,
    "queue.buffering.max.kbytes": 64 * 1024,
    # Only the topic limits the size of a message.
    "message.max.bytes": 16 * 1024 * 1024,
}
_EXACTLY_ONCE: Final[Mapping[str, Any]] = {"enable.idempotence": True, "acks": "all"}


class Connection:
    """The errors that a client has reported of its cluster, and their meaning."""

    def __init__(self, url: KafkaUrl) -> None:
        self.url = url
        self.name = f"kafka://{url.bootstrap}/{url.topic}".rstrip("/")
        self._last: KafkaError | None = None

    def open(self, kind: type[Client], settings: Mapping[str, Any]) -> Client:
        """A client with these settings, secrets from the environment; it logs while it is polled.

        Raises OptionsRefused.
        """
        try:
            config: dict[str, Any] = {**settings, "error_cb": self._on_error}
            return kind(config, logger=LIBRDKAFKA)
        except KafkaException as error:
            raise self.error(error.args[0], OPTIONS) from error

    def about(self, topic: str) -> "Connection":
        """The same for another topic of the cluster."""
        other = Connection(self.url._replace(topic=topic))
        other._last = self._last
        return other

    def check(self, *errors: KafkaError | None) -> None:
        """Raise for the first of the errors, and of those that the client has reported, that no retry fixes."""
        for error in (*errors, self._last):
            if error is not None and (error.code() in CONDITIONS or error.fatal()):
                raise self.error(error)

    def forget(self) -> None:
        """The cluster answers again: earlier errors explain nothing any more, but for a fatal one."""
        if self._last is not None and not self._last.fatal():
            self._last = None

    def error(self, error: KafkaError, condition: Condition | None = None, note: str = "") -> PrestaCopError:
        """The project's error for one of Kafka's."""
        found = condition or CONDITIONS.get(error.code(), OUTAGE)
        if found is UNKNOWN:
            what = f"{self.name}: there is no topic {self.url.topic}"
        elif found is OUTAGE:
            what = self.outage(error)
        elif found is LOST:
            what = f"{self.name} has lost messages that it had acknowledged ({error.str()})"
        else:
            what = f"{self.name}: {error.str()}"
        hint = found.kafka.format(bootstrap=self.url.bootstrap, topic=self.url.topic)
        return found.error(f"{what}{note}. {hint}")

    def outage(self, error: KafkaError | None = None) -> str:
        """Why the cluster does not answer, as far as it is known."""
        reasons = dict.fromkeys(e.str() for e in (error, self._last) if e is not None)
        return f"{self.name} does not answer{' (' + '; '.join(reasons) + ')' if reasons else ''}"

    def reason(self, error: Exception) -> str | PrestaCopError:
        """For :meth:`messaging.retry.Patience.attempt`."""
        if isinstance(error, TimeoutError):
            return self.outage()
        if not isinstance(error, KafkaException):
            raise error
        problem = error.args[0]
        self.check(problem)
        return self.outage(problem)

    def _on_error(self, error: KafkaError) -> None:
        # librdkafka's callback: what it raised would be lost. That all brokers are down does not say why.
        if error.code() != KafkaError._ALL_BROKERS_DOWN and not (self._last and self._last.fatal()):
            self._last = error


def open_consumer(connection: Connection, settings: Mapping[str, Any]) -> Consumer:
    """A consumer without a group: its user assigns partitions and stores positions.

    Its settings are placed after the options of the URL, which must not overrule a guarantee. Raises OptionsRefused.
    """
    # librdkafka demands a group; nothing is ever committed to it.
    own = {"group.id": "prestacop", "enable.auto.commit": False, **settings}
    return connection.open(Consumer, {**kafka_config(connection.url), **own})


@contextmanager
def _interruptible() -> Iterator[None]:
    """For calls that serve callbacks. A KeyboardInterrupt of the signal's handler is lost where it comes in a callback:
    the client has noted a failure and raises this instead (confluent-kafka-python 2.16, issue 1708)."""
    try:
        yield
    except SystemError as lost:
        raise KeyboardInterrupt from lost


def partitions_of(consumer: Consumer, connection: Connection, patience: Patience) -> list[int]:
    """All partitions of a topic; it is not created. Raises TopicUnusable, NotPermitted, ServiceUnavailable."""
    topic = connection.url.topic

    def list_partitions() -> list[int]:
        with _interruptible():
            found = consumer.list_topics(topic, timeout=ANSWER_SECONDS).topics[topic]
        if found.error is not None:
            raise KafkaException(found.error)
        return sorted(found.partitions)

    return patience.attempt(list_partitions, connection.reason)


class Topic:
    """The metadata of a topic; each request is retried while ``patience`` lasts.

    The methods raise TopicUnusable (no such topic), NotPermitted, ServiceUnavailable.

    Args:
        committed: leave open transactions out of the ends.
    """

    def __init__(self, url: KafkaUrl, patience: Patience, committed: bool = False) -> None:
        """Raises OptionsRefused."""
        self._name = url.topic
        self._connection = Connection(url)
        self._patience = patience
        self._isolation = IsolationLevel.READ_COMMITTED if committed else IsolationLevel.READ_UNCOMMITTED
        self._admin = self._connection.open(AdminClient, kafka_config(url))
        self._partitions: list[int] = []
        self._looked = 0.0

    def identity(self) -> str:
        """32 hexadecimal digits; a topic that is deleted and created again gets others. Zeros before Kafka 2.8."""
        found = self._describe()
        # Its text is Base64, which has a slash.
        halves = found.topic_id.get_most_significant_bits(), found.topic_id.get_least_significant_bits()
        return "".join(f"{half % 2**64:016x}" for half in halves)

    def partitions(self) -> list[int]:
        """All of them; new ones are noticed after PARTITIONS_SECONDS."""
        if not self._partitions or time.monotonic() - self._looked > PARTITIONS_SECONDS:
            self._partitions = sorted(p.id for p in self._describe().partitions)
            self._looked = time.monotonic()
        return self._partitions

    def firsts(self, partitions: Sequence[int] | None = None) -> dict[int, int]:
        """By partition, all if none are given, the offset of the oldest message."""
        return self._offsets(partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]

    def ends(self, partitions: Sequence[int] | None = None) -> dict[int, int]:
        """By partition, all if none are given, the offset behind the last message."""
        return self._offsets(partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]

    def commit_offsets(self, group: str, offsets: Mapping[int, int]) -> None:
        """Write the offsets of partitions to a consumer group, which has no consumer, where Kafka's own tools look."""
        places = [TopicPartition(self._name, partition, offset) for partition, offset in sorted(offsets.items())]
        wanted = [ConsumerGroupTopicPartitions(group, places)]

        def write() -> None:
            written = self._result(self._admin.alter_consumer_group_offsets(wanted)[group])
            for error in (place.error for place in written.topic_partitions if place.error):
                raise KafkaException(error)  # as "not coordinator", of a cluster's first group

        self._patience.attempt(write, self._reason)

    def _describe(self) -> Any:
        topics = TopicCollection([self._name])
        return self._request(lambda: {"": self._admin.describe_topics(topics)[self._name]})[""]

    def _offsets(self, partitions: Sequence[int] | None, which: OffsetSpec) -> dict[int, int]:
        requested = {TopicPartition(self._name, p): which for p in partitions or self.partitions()}
        found = self._request(lambda: self._admin.list_offsets(requested, isolation_level=self._isolation))
        return {place.partition: int(answer.offset) for place, answer in found.items()}

    def _request(self, request: Callable[[], dict[Any, Any]]) -> dict[Any, Any]:
        return self._patience.attempt(
            lambda: {key: self._result(answer) for key, answer in request().items()}, self._reason
        )

    def _reason(self, error: Exception) -> str | PrestaCopError:
        reason = self._connection.reason(error)
        # The client caches the leader epoch of a partition and does not refresh it after an error: after a broker's
        # restart each response would be FENCED_LEADER_EPOCH.
        with suppress(KafkaException), _interruptible():
            self._admin.list_topics(self._name, timeout=1)
        return reason

    def _result(self, answer: Future[Any]) -> Any:
        """Wait for it, and for reports of the client: some are permanent, others explain the delay."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            try:
                return answer.result(_LISTEN_SECONDS)
            except TimeoutError:
                with _interruptible():
                    self._admin.poll(0)
                self._connection.check()
                if time.monotonic() > deadline:
                    raise


class TopicProducer:
    """Publishes to one topic: idempotent, each message acknowledged by all replicas in sync, each failure reported.

    What has the same key stays in order. :meth:`send` waits where the queue is full (backpressure).

    Args:
        settings: of librdkafka; options of the URL overrule them, the guarantees overrule both.
        patience: how long messages may wait for an acknowledgement; for ever, but for ``message.timeout.ms``, if None.
        resend: send again, in their order, messages that were given up after ``message.timeout.ms``.
    """

    def __init__(
        self, url: KafkaUrl, settings: Mapping[str, Any], patience: Patience | None = None, resend: bool = False
    ) -> None:
        """Raises OptionsRefused."""
        self.sent = 0
        self.acknowledged = 0
        self._failed = 0
        self.connection = Connection(url)
        self._patience = patience or Patience(float("inf"), answered=True)
        self._resend = resend
        self._given_up: deque[tuple[Message, Callable[..., None]]] = deque()
        self._failure: KafkaError | None = None
        self._closed = False
        self._count: Callable[..., None] = partial(self._on_delivery, None)
        config: dict[str, Any] = {**_BATCHES, **settings, **kafka_config(url), **_EXACTLY_ONCE}
        self._client = self.connection.open(Producer, config)

    @property
    def waiting(self) -> int:
        """How many messages are under way."""
        return self.sent - self.acknowledged - self._failed

    def find(self, patience: Patience) -> None:
        """Wait until the brokers know the topic. Raises TopicUnusable, NotPermitted, ServiceUnavailable."""
        patience.start()
        appears = float("inf")
        topic = self.connection.url.topic
        while True:
            try:
                with _interruptible():
                    found = self._client.list_topics(topic, timeout=1).topics[topic].error
            except KafkaException as error:
                found = error.args[0]
            if found is None:
                patience.heard()
                self.connection.forget()
                return
            self._poll()
            if CONDITIONS.get(found.code()) is UNKNOWN:
                appears = min(appears, time.monotonic() + _APPEARS_SECONDS)
                if time.monotonic() >= appears:
                    raise self.connection.error(found)
            else:
                self.connection.check(found)
                patience.check(self.connection.outage(found))
            time.sleep(_NAP_SECONDS)

    def send(
        self,
        payloads: Iterable[bytes],
        keys: Iterable[str],
        on_acknowledged: Callable[[Message], None] | None = None,
    ) -> None:
        """Publish messages; returns when all are in the queue. Raises for whatever was not delivered meanwhile.

        Args:
            on_acknowledged: gets each message when it is acknowledged, in :meth:`send`, :meth:`poll` or :meth:`finish`.
        """
        report = partial(self._on_delivery, on_acknowledged) if on_acknowledged else self._count
        produce, topic = self._client.produce, self.connection.url.topic
        if not self.waiting:
            self._patience.start()
        for payload, key in zip(payloads, keys, strict=True):
            while True:
                try:
                    produce(topic, payload, key, on_delivery=report)
                    break
                except BufferError:
                    self._wait()
                except KafkaException as error:
                    self._fail(error.args[0])
                    self._wait()
            self.sent += 1
        self.poll()

    def poll(self) -> None:
        """Take the reports of deliveries. Raises TopicUnusable, NotPermitted, AcknowledgedLost, ServiceUnavailable."""
        if self._closed:
            raise ServiceUnavailable(f"{self.connection.name}: the producer was closed")
        self._poll()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            note = f"; {self.sent - self.acknowledged:,} of {self.sent:,} messages are not acknowledged"
            raise self.connection.error(failure, note=note)
        self.connection.check()
        while self._given_up:
            message, report = self._given_up[0]
            try:
                self._client.produce(message.topic() or "", message.value(), message.key(), on_delivery=report)
            except BufferError:
                return
            self._given_up.popleft()

    def finish(self) -> None:
        """Return when every message is acknowledged. Raises what :meth:`poll` raises."""
        self.poll()
        while self.waiting:
            self._wait()

    def close(self) -> None:
        """Give up what is not acknowledged."""
        self._closed = True
        self._client.purge()  # close() would wait for it
        self._client.close()

    def _wait(self) -> None:
        time.sleep(_NAP_SECONDS)  # flush() and poll() with a timeout may lose a Ctrl-C that comes while they wait
        self.poll()
        if self.waiting:
            self._patience.check(self.connection.outage())

    def _poll(self) -> None:
        before = self.acknowledged
        try:
            with _interruptible():
                self._client.poll(0)
        except KafkaException as error:  # a fatal one
            self._fail(error.args[0])
        if self.acknowledged > before:
            self.connection.forget()
            self._patience.heard()

    def _on_delivery(self, report: Callable[[Message], None] | None, error: KafkaError | None, m: Message) -> None:
        if error is None:
            self.acknowledged += 1
            if report is not None:
                report(m)
        elif self._resend and error.code() == KafkaError._MSG_TIMED_OUT:
            self._given_up.append((m, partial(self._on_delivery, report)))
        elif error.code() not in _REPORTED_BEFORE:
            self._failed += 1
            self._fail(error)

    def _fail(self, error: KafkaError) -> None:
        if error.code() not in _REPORTED_BEFORE:
            self._failure = self._failure or error
