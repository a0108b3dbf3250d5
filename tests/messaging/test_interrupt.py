"""Ctrl-C while the Kafka client calls back."""

import os
import signal
import time

import pytest
from confluent_kafka import Message

from messaging.kafka import TopicProducer
from messaging.urls import KafkaUrl
from tests.apps.topics import MockKafka

pytestmark = pytest.mark.embedded


def test_ctrl_c_during_a_delivery_report_is_a_keyboard_interrupt() -> None:
    broker = MockKafka()
    producer = TopicProducer(KafkaUrl(broker.address, "drones", {}), {})
    reported: list[bytes | None] = []

    def report(message: Message) -> None:
        reported.append(message.value())
        if len(reported) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    producer.send([b"%d" % n for n in range(9)], ["k"] * 9, report)
    time.sleep(1)  # all of them are acknowledged, and reported in one call of the client
    with pytest.raises(KeyboardInterrupt):
        producer.finish()
    producer.close()
    broker.stop()
