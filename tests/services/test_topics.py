"""prestacop topics creates what is missing, reports what differs, and changes it with --update."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it exports them without saying so
    AdminClient,
    ConfigResource,
    ResourceType,
)
from confluent_kafka.cimpl import NewTopic
from google.pubsub_v1 import PublisherClient, SubscriberClient

from runners.provision.command import main
from schemas.messages import MAX_IMAGE_BYTES
from tests.services.support import publish
from tests.services.test_services import consume

pytestmark = pytest.mark.services

PROJECT = "made"


def names(prefix: str) -> list[str]:
    """Flags for topics that no other test has."""
    roles = ("messages", "images", "alerts", "commands", "confirmations")
    return [part for role in roles for part in (f"--{role}", f"{prefix}-{role}")]


def settings(broker: str, topic: str) -> dict[str, str]:
    """Of a topic, its partitions as well."""
    admin = AdminClient({"bootstrap.servers": broker})
    resource = ConfigResource(ResourceType.TOPIC, topic)
    entries = admin.describe_configs([resource])[resource].result(timeout=30)
    partitions = len(admin.list_topics(timeout=10).topics[topic].partitions)
    return {"partitions": str(partitions), **{name: entry.value for name, entry in entries.items()}}


def states(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The first word of each line."""
    return [line.split()[0] for line in capsys.readouterr().out.splitlines()]


def test_kafka_gets_its_topics_once(kafka: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--kafka", kafka, *names("once"), "--partitions", "messages=12", "--strict"]
    assert main([*flags, "--dry-run"]) == 0
    assert capsys.readouterr().out.count("would create kafka topic once-") == 5
    admin = AdminClient({"bootstrap.servers": kafka})
    assert "once-messages" not in admin.list_topics(timeout=10).topics
    assert main(flags) == 0
    assert states(capsys) == ["created"] * 5
    assert main(flags) == 0
    assert states(capsys) == ["exists"] * 5
    found = settings(kafka, "once-messages")
    expected = {"partitions": "12", "retention.ms": "604800000", "compression.type": "producer"}
    assert found | expected == found
    for role, kind in {"messages": "LogAppendTime", "images": "LogAppendTime", "alerts": "CreateTime"}.items():
        assert settings(kafka, f"once-{role}")["message.timestamp.type"] == kind
    assert settings(kafka, "once-alerts")["retention.ms"] == str(30 * 24 * 3600 * 1000)
    assert settings(kafka, "once-commands")["retention.ms"] == str(24 * 3600 * 1000)
    assert settings(kafka, "once-images")["max.message.bytes"] == str(16 * 2**20)


def test_the_largest_picture_goes_through_the_topic_of_images(kafka: str) -> None:
    assert main(["--kafka", kafka, *names("large")]) == 0
    largest = bytes(MAX_IMAGE_BYTES * 4 // 3 + 1000)
    publish(kafka, "large-images", [largest])
    assert consume(kafka, "large-images", 1) == [largest]


def test_when_a_message_for_the_lake_came_is_not_for_its_sender_to_say(kafka: str) -> None:
    flags = [*names("dated"), "--partitions", "messages=1"]
    assert main(["--kafka", kafka, *flags]) == 0
    before = time.time() * 1000
    publish(kafka, "dated-messages", [b"from 1970"], timestamp=1)
    group = {"group.id": "dated", "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({"bootstrap.servers": kafka, **group})
    consumer.assign([TopicPartition("dated-messages", 0, 0)])
    (message,) = consumer.consume(1, timeout=30)
    consumer.close()
    kind, milliseconds = message.timestamp()
    assert kind == TIMESTAMP_LOG_APPEND_TIME
    assert milliseconds >= before - 1000


def test_a_topic_that_differs_is_reported_and_changed_by_update_alone(
    kafka: str, capsys: pytest.CaptureFixture[str]
) -> None:
    admin = AdminClient({"bootstrap.servers": kafka})
    there = NewTopic("other-images", 6, 1, config={"cleanup.policy": "compact", "segment.bytes": "20971520"})
    more = NewTopic("other-alerts", 3, 1, config={"retention.ms": str(30 * 24 * 3600 * 1000)})
    for made in admin.create_topics([there, more]).values():
        made.result(timeout=30)
    before = settings(kafka, "other-images")
    flags = ["--kafka", kafka, *names("other"), "--partitions", "images=8", "--partitions", "alerts=1"]
    assert main(flags) == 0
    out = capsys.readouterr().out
    assert "partitions 6, expected 8" in out
    assert "cleanup.policy compact, expected delete" in out
    assert "differs      kafka topic other-alerts" in out
    assert "partitions 3, expected 1 (partitions are never taken away)\n" in out
    assert main([*flags, "--update", "--dry-run"]) == 0
    assert "would update kafka topic other-images" in capsys.readouterr().out
    assert settings(kafka, "other-images") == before
    assert main([*flags, "--update"]) == 0
    assert "updated      kafka topic other-images" in capsys.readouterr().out
    after = settings(kafka, "other-images")
    changed = {"partitions": "8", "cleanup.policy": "delete", "segment.bytes": "20971520"}
    assert after | changed == after
    assert settings(kafka, "other-alerts")["partitions"] == "3"
    assert main([*flags, "--strict"]) == 3
    assert states(capsys) == ["exists", "exists", "differs", "exists", "exists"]


def test_more_copies_than_brokers_are_refused(kafka: str, capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (["--dry-run"], []):
        assert main(["--kafka", kafka, *names("copied"), "--replication", "2", *flags]) == 3
        assert "/copied-messages: " in capsys.readouterr().err
    assert main(["--kafka", kafka, *names("copied")]) == 0
    assert main(["--kafka", kafka, *names("copied"), "--replication", "2", "--update"]) == 0
    assert "replication 1, expected 2 (kafka-reassign-partitions.sh moves copies)" in capsys.readouterr().out


def test_many_at_the_same_time_make_each_topic_once(
    kafka: str, pubsub: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal.signal", lambda *_: None)  # threads may not
    flags = ["--kafka", kafka, "--pubsub", PROJECT, *names("raced")]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(main, [flags] * 4)) == [0] * 4
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("created") for line in lines) == 16
    assert sum(line.startswith("exists") for line in lines) == 48


def test_pubsub_gets_its_topics_and_subscriptions_once(pubsub: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--pubsub", PROJECT, *names("sub"), "--answers", "sub-answers", "--strict"]
    assert main([*flags, "--dry-run"]) == 0
    assert capsys.readouterr().out.count("would create") == 13
    assert main(flags) == 0
    assert states(capsys) == ["created"] * 13
    assert main(flags) == 0
    assert states(capsys) == ["exists"] * 13
    with SubscriberClient() as subscriber, PublisherClient() as publisher:
        for role in ("messages", "images", "answers"):
            found = subscriber.get_subscription(subscription=f"projects/{PROJECT}/subscriptions/sub-{role}-lake")
            assert found.topic == f"projects/{PROJECT}/topics/sub-{role}"
            assert found.ack_deadline_seconds == 60
            assert found.message_retention_duration == timedelta(days=7)
            assert "expiration_policy" in found
            assert "ttl" not in found.expiration_policy
            assert "dead_letter_policy" not in found
        topic = publisher.get_topic(topic=f"projects/{PROJECT}/topics/sub-alerts")
        assert topic.message_retention_duration == timedelta(days=30)


def test_a_subscription_that_differs_is_reported_and_changed_by_update_alone(
    pubsub: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = f"projects/{PROJECT}/{{}}/odd-messages{{}}".format
    name = path("subscriptions", "-lake")
    odd: dict[str, Any] = {
        "name": name,
        "topic": path("topics", ""),
        "ack_deadline_seconds": 10,
        "message_retention_duration": timedelta(hours=1),
        "expiration_policy": {"ttl": timedelta(days=2)},
        "dead_letter_policy": {"dead_letter_topic": path("topics", ""), "max_delivery_attempts": 5},
    }
    flags = ["--pubsub", PROJECT, *names("odd")]
    with SubscriberClient() as subscriber, PublisherClient() as publisher:
        publisher.create_topic(name=path("topics", ""))
        before = subscriber.create_subscription(request=odd)
        assert main(flags) == 0
        out = capsys.readouterr().out
        assert "message_retention_duration none, expected 7d; --update changes it" in out
        for difference in (
            "message_retention_duration 1h, expected 7d",
            "ack_deadline_seconds 10, expected 60",
            "expiration_policy 2d, expected never",
            f"dead_letter_policy {path('topics', '')}, expected none",
        ):
            assert difference in out
        assert main([*flags, "--update", "--dry-run"]) == 0
        assert subscriber.get_subscription(subscription=name) == before
        assert main([*flags, "--update"]) == 0
        assert subscriber.get_subscription(subscription=name).ack_deadline_seconds == 60
        capsys.readouterr()
        assert main([*flags, "--strict"]) == 0
        assert set(states(capsys)) == {"exists"}


def test_a_subscription_of_another_topic_stays(pubsub: str, capsys: pytest.CaptureFixture[str]) -> None:
    with SubscriberClient() as subscriber, PublisherClient() as publisher:
        elsewhere = f"projects/{PROJECT}/topics/elsewhere"
        name = f"projects/{PROJECT}/subscriptions/moved-messages-lake"
        publisher.create_topic(name=elsewhere)
        subscriber.create_subscription(name=name, topic=elsewhere, ack_deadline_seconds=60)
        assert main(["--pubsub", PROJECT, *names("moved"), "--update", "--strict"]) == 3
        assert "a subscription stays with its topic: remove it, and run this again" in capsys.readouterr().out
        assert subscriber.get_subscription(subscription=name).topic == elsewhere


def test_a_server_without_lifecycle_rules_is_a_warning(
    s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    assert main(["--lake", "s3://prestacop/lake"]) == 0
    assert capsys.readouterr().out.startswith("warning      s3 rules of prestacop")
    assert main(["--lake", "s3://prestacop/lake", "--strict"]) == 3
