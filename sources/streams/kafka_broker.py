"""A Kafka cluster, as far as planning needs it, and which of its errors are errors of ours."""

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from messaging.urls import KafkaUrl, kafka_config
from schemas.errors import InputUnusable, ServiceUnavailable

PATIENCE_SECONDS = 120
"""How long a broker may be silent before it is called unavailable."""
START_SECONDS = 20
"""The same before anything was heard of it."""
ANSWER_SECONDS = 10
LISTEN_SECONDS = 0.1
PARTITIONS_SECONDS = 10
"""How often new partitions are looked for."""

_log = logging.getLogger(__name__)
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


class Topic:
    """What the brokers say of a topic."""

    def __init__(self, url: KafkaUrl) -> None:
        self._name = url.topic
        self._broker = Broker(url)
        settings: dict[str, Any] = {**kafka_config(url), "error_cb": self._broker.heard, "log_level": 0}
        with self._broker.options():
            self._admin = AdminClient(settings)
        self._partitions: list[int] = []
        self._looked = 0.0

    def identity(self, patience: float | None = None) -> str:
        """The topic's name for ever: a topic that is deleted and made again has another one.

        Args:
            patience: seconds to wait for an answer; START_SECONDS if not given.
        """
        topics = TopicCollection([self._name])
        seconds = START_SECONDS if patience is None else patience
        found = self._ask(lambda: self._admin.describe_topics(topics)[self._name], seconds)
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
                    f"{self.name}: there is no topic {self._topic}; check the name, or make it with prestacop topics"
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
