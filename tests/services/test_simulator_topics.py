"""The fleet publishes to real servers: all of it arrives, once, also where the broker is killed meanwhile."""

import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from google.pubsub_v1 import PublisherClient, SubscriberClient

from apps.simulator.command import main
from runners.services import Services
from schemas.messages import DroneMessage, ImageMessage
from tests.apps.topics import consumed

pytestmark = pytest.mark.services

MISHAPS = ["--v0-share", "0.2", "--duplicates", "0.05", "--disorder", "4", "--corrupt", "0.01"]


def simulate(*arguments: str) -> int:
    return main(["drones", "--quiet", *arguments])


def make_topics(broker: str, *topics: str) -> None:
    admin = AdminClient({"bootstrap.servers": broker})  # by name: what it has not done ends with it
    for made in admin.create_topics([NewTopic(topic, 3, 1) for topic in topics]).values():
        made.result(timeout=30)


def payload(message: Message) -> bytes:
    value = message.value()
    assert value is not None
    return value


def test_kafka_gets_what_a_file_gets(kafka: str, tmp_path: Path) -> None:
    make_topics(kafka, "fleet")
    fleet = ["--drones", "1000", "--seconds", "30", *MISHAPS]
    assert simulate(*fleet, "--output", f"file:{tmp_path / 'lines'}") == 0
    assert simulate(*fleet, "--output", f"kafka://{kafka}/fleet", "--truth", str(tmp_path / "truth")) == 0
    messages = consumed(kafka, "fleet")
    assert sorted(map(payload, messages)) == sorted((tmp_path / "lines").read_bytes().split(b"\n")[:-1])
    assert (tmp_path / "truth").read_bytes() == (tmp_path / "lines.truth.parquet").read_bytes()
    partitions = defaultdict(set)
    for message in messages:
        partitions[message.key()].add(message.partition())
    assert len(partitions) == 1000
    assert {len(found) for found in partitions.values()} == {1}


def test_kafka_takes_pictures_of_megabytes(kafka: str) -> None:
    make_topics(kafka, "pictured", "pictures")
    fleet = ["--drones", "20", "--seconds", "10", "--image-bytes", "3000000"]
    assert simulate(*fleet, "--output", f"kafka://{kafka}/pictured", "--images", f"kafka://{kafka}/pictures") == 0
    messages = [msgspec.json.decode(payload(message), type=DroneMessage) for message in consumed(kafka, "pictured")]
    pictures = consumed(kafka, "pictures")
    assert len(pictures) > 10
    assert {message.key() for message in pictures} == {m.image_id.encode() for m in messages if m.image_id}
    for message in pictures:
        image = msgspec.json.decode(payload(message), type=ImageMessage)
        assert image.image_id.encode() == message.key()
        assert len(image.data) >= 4_000_000


def test_an_unknown_topic_exits_3_and_prints_how_to_create_it(kafka: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("--drones", "1", "--seconds", "1", "--output", f"kafka://{kafka}/nowhere") == 3
    printed = capsys.readouterr().err
    assert f"kafka-topics.sh --bootstrap-server {kafka} --create --topic nowhere" in printed
    assert sum(line.startswith("error:") for line in printed.splitlines()) == 1  # a broker that begins adds warnings


def test_a_killed_broker_loses_and_duplicates_nothing(kafka: str, services: Services, tmp_path: Path) -> None:
    make_topics(kafka, "flying")
    fleet = ["--drones", "500", "--seconds", "15", "--live", "--output", f"kafka://{kafka}/flying"]
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(simulate, *fleet, "--truth", str(tmp_path / "truth"))
        time.sleep(4)
        services.kill("kafka")
        time.sleep(1)
        services.up("kafka")
        assert running.result(timeout=300) == 0
    messages = [msgspec.json.decode(payload(message), type=DroneMessage) for message in consumed(kafka, "flying")]
    assert sorted(m.message_id for m in messages) == sorted(pq.read_table(tmp_path / "truth")["message_id"].to_pylist())
    assert len(messages) == 7500
    spoken = defaultdict(list)
    for message in messages:
        spoken[message.drone_id].append(message.event_time)
    assert all(times == sorted(times) for times in spoken.values())


@contextmanager
def subscription(topic: str) -> Iterator[tuple[SubscriberClient, str]]:
    """A topic with a subscription."""
    with PublisherClient() as publisher, SubscriberClient() as subscriber:
        publisher.create_topic(name=f"projects/prestacop/topics/{topic}")
        name = f"projects/prestacop/subscriptions/{topic}"
        subscriber.create_subscription(name=name, topic=f"projects/prestacop/topics/{topic}")
        yield subscriber, name


def received(subscriber: SubscriberClient, name: str, count: int) -> list[tuple[bytes, str]]:
    """Payloads and keys."""
    found: list[tuple[bytes, str]] = []
    while len(found) < count:
        messages = subscriber.pull(subscription=name, max_messages=1000, timeout=30).received_messages
        assert messages
        found += [(message.message.data, message.message.attributes["key"]) for message in messages]
        subscriber.acknowledge(subscription=name, ack_ids=[message.ack_id for message in messages])
    return found


def test_pubsub_gets_what_a_file_gets(pubsub: str, tmp_path: Path) -> None:
    fleet = ["--drones", "200", "--seconds", "30", *MISHAPS]
    assert simulate(*fleet, "--output", f"file:{tmp_path / 'lines'}") == 0
    lines = sorted((tmp_path / "lines").read_bytes().split(b"\n")[:-1])
    with subscription("fleet") as (subscriber, name):
        assert simulate(*fleet, "--output", "pubsub://prestacop/fleet", "--truth", str(tmp_path / "truth")) == 0
        messages = received(subscriber, name, len(lines))
    assert sorted(data for data, _ in messages) == lines
    assert len({key for _, key in messages}) == 200
    assert (tmp_path / "truth").read_bytes() == (tmp_path / "lines.truth.parquet").read_bytes()


def test_pubsub_live(pubsub: str) -> None:
    with subscription("live") as (subscriber, name):
        began = time.time()
        fleet = ["--drones", "300", "--seconds", "3", "--live", "--output", "pubsub://prestacop/live"]
        assert simulate(*fleet) == 0
        assert time.time() - began >= 3
        assert len(received(subscriber, name, 900)) == 900


def test_an_unknown_topic_of_pubsub_exits_3(pubsub: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert simulate("--drones", "1", "--seconds", "1", "--output", "pubsub://prestacop/nowhere") == 3
    assert "gcloud pubsub topics create nowhere --project prestacop" in capsys.readouterr().err
