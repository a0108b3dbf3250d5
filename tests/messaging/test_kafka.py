"""The guarantees of producers and consumers, whatever a URL says, and what a producer does with failed deliveries."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, Producer

from messaging import kafka
from messaging.retry import Patience
from messaging.urls import KafkaUrl
from schemas.errors import ServiceUnavailable, TopicUnusable
from terminal import logs
from tests.logs import own_log

URL = KafkaUrl("broker:9092", "drones", {"linger.ms": "7"})
UNSAFE = KafkaUrl("broker:9092", "drones", {"acks": "0", "enable.idempotence": "false", "enable.auto.commit": "true"})


class _Message:
    """A message as a delivery report has it."""

    def __init__(self, value: bytes, key: str) -> None:
        self._value, self._key = value, key

    def topic(self) -> str:
        return "drones"

    def value(self) -> bytes:
        return self._value

    def key(self) -> str:
        return self._key


class _Client:
    """A client whose queue has room for two messages, and that delivers with the errors it is given."""

    def __init__(self, config: dict[str, Any], **_: Any) -> None:
        self.config = config
        self.errors: list[KafkaError | None] = []
        self.delivered: list[bytes] = []
        self._queue: list[tuple[_Message, Callable[..., None]]] = []

    def produce(self, topic: str, value: bytes, key: str, on_delivery: Callable[..., None]) -> None:
        if len(self._queue) == 2:
            raise BufferError
        self._queue.append((_Message(value, key), on_delivery))

    def poll(self, timeout: float) -> None:
        queue, self._queue = self._queue, []
        for message, on_delivery in queue:
            error = self.errors.pop(0) if self.errors else None
            if error is None:
                self.delivered.append(message.value())
            on_delivery(error, message)

    def purge(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture(autouse=True)
def clients(monkeypatch: pytest.MonkeyPatch) -> list[_Client]:
    """Those that were opened."""
    opened: list[_Client] = []

    def client(config: dict[str, Any], **arguments: Any) -> _Client:
        opened.append(_Client(config, **arguments))
        return opened[-1]

    monkeypatch.setattr(kafka, "Producer", client)
    monkeypatch.setattr(kafka, "Consumer", client)
    return opened


@pytest.mark.parametrize("level", ["warning", "info"])
def test_librdkafka_logs_where_the_command_does(level: str, capfd: pytest.CaptureFixture[str]) -> None:
    with own_log():
        logs.set_up(level, logs.JSON)
        client = kafka.Connection(URL).open(Producer, {"fetch.min.bytes": 2})  # an option of a consumer
        client.poll(0)
        logs.LIBRDKAFKA.error("FAIL [of a connection]")
        records = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    assert (records[0]["logger"], records[0]["level"]) == ("librdkafka", "warning")
    assert "fetch.min.bytes is a consumer property" in records[0]["message"]
    # Of a connection that fails the command itself prints one line.
    assert any(record["message"].startswith("FAIL") for record in records) == (level == "info")


def test_no_option_of_a_url_overrules_what_exactly_once_depends_on(clients: list[_Client]) -> None:
    kafka.TopicProducer(UNSAFE, {"acks": "1"})
    kafka.open_consumer(kafka.Connection(UNSAFE), {})
    producer, consumer = clients
    assert (producer.config["acks"], producer.config["enable.idempotence"]) == ("all", True)
    assert consumer.config["enable.auto.commit"] is False


def test_an_option_of_a_url_overrules_how_batches_are_filled(clients: list[_Client]) -> None:
    kafka.TopicProducer(URL, {"linger.ms": 20})
    assert clients[0].config["linger.ms"] == "7"


def test_a_full_queue_is_backpressure_and_every_message_is_acknowledged(clients: list[_Client]) -> None:
    producer = kafka.TopicProducer(URL, {})
    payloads = [b"%d" % n for n in range(7)]
    producer.send(payloads, ["k"] * 7)
    producer.finish()
    assert clients[0].delivered == payloads
    assert (producer.sent, producer.acknowledged, producer.waiting) == (7, 7, 0)


def test_a_message_that_timed_out_is_sent_again_where_that_is_wanted(clients: list[_Client]) -> None:
    producer = kafka.TopicProducer(URL, {}, resend=True)
    clients[0].errors = [KafkaError(KafkaError._MSG_TIMED_OUT), KafkaError(KafkaError._MSG_TIMED_OUT)]
    acknowledged: list[bytes | None] = []
    producer.send([b"a", b"b", b"c"], ["k"] * 3, lambda message: acknowledged.append(message.value()))
    producer.finish()
    assert sorted(clients[0].delivered) == [b"a", b"b", b"c"]
    assert [m for m in clients[0].delivered if m != b"c"] == [b"a", b"b"]
    assert sorted(map(bytes, filter(None, acknowledged))) == [b"a", b"b", b"c"]


def test_a_message_that_timed_out_is_an_outage_otherwise(clients: list[_Client]) -> None:
    producer = kafka.TopicProducer(URL, {})
    clients[0].errors = [KafkaError(KafkaError._MSG_TIMED_OUT)]
    with pytest.raises(ServiceUnavailable, match="1 of 1 messages are not acknowledged"):
        producer.send([b"a"], ["k"])


def test_a_message_that_is_refused_fails_and_the_next_one_is_delivered(clients: list[_Client]) -> None:
    producer = kafka.TopicProducer(URL, {})
    clients[0].errors = [KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)]
    with pytest.raises(TopicUnusable, match=r"max\.message\.bytes"):
        producer.send([b"a"], ["k"])
    producer.send([b"b"], ["k"])
    producer.finish()
    assert clients[0].delivered == [b"b"]


def test_purged_messages_are_never_taken_for_delivered(clients: list[_Client]) -> None:
    producer = kafka.TopicProducer(URL, {}, Patience(0))
    clients[0].errors = [KafkaError(KafkaError._PURGE_QUEUE)]
    producer.send([b"a"], ["k"])
    with pytest.raises(ServiceUnavailable):
        producer.finish()


def test_a_producer_that_another_thread_has_closed_waits_no_longer(clients: list[_Client]) -> None:
    producer = kafka.TopicProducer(URL, {})
    clients[0].errors = [KafkaError(KafkaError._PURGE_QUEUE)]
    producer.send([b"a"], ["k"])
    producer.close()
    with pytest.raises(ServiceUnavailable, match="closed"):
        producer.finish()
