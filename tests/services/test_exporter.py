"""The exporter beside a real broker: messages wait until a run has committed them, and Kafka's tools see the same."""

from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions
from confluent_kafka.admin import AdminClient

from messaging.urls import kafka_url
from metrics.lake.parts import LakePart, TopicPart
from tests.services.support import make_topic, payloads_of, publish, read_up_to_now
from tests.support import make_messages

pytestmark = pytest.mark.services


def test_messages_are_behind_until_a_run_has_committed_them(kafka: str, tmp_path: Path) -> None:
    root, url = str(tmp_path / "lake"), make_topic(kafka, "watched", partitions=2)
    lake = LakePart(root, 15.0)
    topic = TopicPart(kafka_url(url), "drones", lake, "watchers", 15.0)

    def behind() -> dict[int, int]:
        for part in (lake, topic):
            part.attempt()
            assert not part.failures
        return topic.behind()

    payloads = payloads_of(make_messages(tmp_path / "first", 5, 4))
    publish(kafka, "watched", payloads, partition=1)
    assert behind() == {0: 0, 1: len(payloads)}
    read_up_to_now(root, url)
    assert behind() == {0: 0, 1: 0}
    publish(kafka, "watched", payloads[:3], partition=1)
    assert behind() == {0: 0, 1: 3}

    admin = AdminClient({"bootstrap.servers": kafka})
    groups = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions("watchers")])
    places = groups["watchers"].result(timeout=30).topic_partitions
    assert [(place.topic, place.partition, place.offset) for place in places] == [("watched", 1, len(payloads))]
