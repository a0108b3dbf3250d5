"""Topics of real servers, what is published to them, and what a lake has of it."""

import base64
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import pyarrow.parquet as pq
from confluent_kafka import Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from google.api_core.exceptions import DeadlineExceeded
from google.pubsub_v1 import PublisherClient, SubscriberClient

from lake import lake
from lake.storage import storage
from messaging.urls import kafka_url, pubsub_url
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions, Url
from pipelines.violations.run import run_graph
from schemas.messages import ImageMessage
from sources.streams import kafka_consumer
from tests.support import LOCAL, make_messages, wait_until

T = TypeVar("T")
PROJECT = "prestacop-sources"
LARGEST = 16_000_000
ROOMY = {"queue.buffering.max.messages": 1_000_000, "queue.buffering.max.kbytes": 1_000_000}
"""For a producer that is given all at once."""


class Sent(NamedTuple):
    """Where a message is in its topic, and since when."""

    partition: int
    offset: int
    published_at: datetime


Row = tuple[str, int, str | None, str, datetime]
"""Path, offset, message_id, branch and publish time of a message; a dead letter has no message_id."""


def make_topic(broker: str, topic: str, partitions: int = 4, **settings: str) -> str:
    """Make it; gives its URL."""
    admin = AdminClient({"bootstrap.servers": broker})  # by name: what it has not done ends with it
    admin.create_topics([NewTopic(topic, partitions, 1, config=settings)])[topic].result(timeout=30)
    return f"kafka://{broker}/{topic}"


def publish(
    broker: str, topic: str, payloads: Iterable[bytes | None], partition: int | None = None, **message: Any
) -> list[Sent]:
    """Publish to one partition, or to all in turns, and wait until the broker has all; where each is, in order."""
    sent: dict[int, Sent] = {}
    producer = Producer({"bootstrap.servers": broker, "message.max.bytes": LARGEST, **ROOMY})
    partitions = 0

    def has_partitions() -> bool:
        nonlocal partitions
        partitions = len(producer.list_topics(topic, timeout=30).topics[topic].partitions)
        return partitions > (partition or 0)

    wait_until(has_partitions)  # the broker may not know yet those that were created a moment ago

    def arrived(place: int, error: object, at: Message) -> None:
        assert error is None, error
        sent[place] = where(at)

    for place, payload in enumerate(payloads):
        to = place % partitions if partition is None else partition
        producer.produce(topic, payload, partition=to, on_delivery=partial(arrived, place), **message)
        producer.poll(0)
    assert producer.flush(60) == 0
    return [sent[place] for place in range(len(sent))]


def where(message: Message) -> Sent:
    """Of a message that the broker has."""
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return Sent(partition, offset, datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC))


def payloads_of(recording: Path) -> list[bytes]:
    """The messages of a recording."""
    return recording.read_bytes().split(b"\n")[:-1]


def pictures(path: Path, size: int) -> list[bytes]:
    """Messages of the simulator with pictures of about so many bytes."""
    images = path.with_name(f"{path.name}.images")
    flags = ["--violation-share", "0.3", "--images", f"file:{images}", "--image-bytes", str(size)]
    make_messages(path, 5, 3, *flags)
    return payloads_of(images)


def expected(topic: str, recording: Path, sent: list[Sent]) -> list[Row]:
    """What the lake is to have of a recording without duplicates, whose lines were sent so."""
    truth = pq.read_table(f"{recording}.truth.parquet").to_pylist()
    assert [row["line"] for row in truth] == list(range(len(sent)))
    rows = []
    for row, (partition, offset, published_at) in zip(truth, sent, strict=True):
        refused = row["branch"] == "dead_letters"
        identity = None if refused else row["message_id"]
        rows.append((f"kafka:{topic}/{partition}", offset, identity, row["branch"], published_at))
    return sorted(rows, key=lambda row: row[:2])


def stored(root: Path | str) -> list[Row]:
    """What the lake has of all topics of Kafka."""
    branches = " UNION ALL ".join(
        f"SELECT l.path, l.range_start + record AS place, message_id, '{branch}' AS branch, published_at "
        f"FROM {branch} JOIN ledger l USING (unit)"
        for branch in ("positions", "qualified", "unqualified")
    )
    letters = "SELECT path, \"offset\", NULL, 'dead_letters', published_at FROM dead_letters"
    with lake(str(root)).connect() as connection:
        return connection.sql(f"{branches} UNION ALL {letters} ORDER BY 1, 2").fetchall()


def seen(root: Path) -> Counter[tuple[str, str]]:
    """What readers see: the message_id and the branch of each row, or of a dead letter its name in Pub/Sub."""
    branches = " UNION ALL ".join(
        f"SELECT message_id, '{branch}' FROM {branch}" for branch in ("positions", "qualified", "unqualified")
    )
    with lake(str(root)).connect() as connection:
        query = f"{branches} UNION ALL SELECT source_id, 'dead_letters' FROM dead_letters"
        return Counter(connection.sql(query).fetchall())


def truth(recording: Path, names: list[str]) -> Counter[tuple[str, str]]:
    """The same of a recording without duplicates, whose lines were given these names."""
    rows = pq.read_table(f"{recording}.truth.parquet").to_pylist()
    pairs = zip(rows, names, strict=True)
    return Counter((n if r["branch"] == "dead_letters" else r["message_id"], r["branch"]) for r, n in pairs)


def sent_pictures(payloads: list[bytes]) -> list[tuple[str, bytes]]:
    """What the lake is to have of such messages: the name and the bytes of each picture."""
    messages = [msgspec.json.decode(payload, type=ImageMessage) for payload in payloads]
    return sorted((message.image_id, base64.b64decode(message.data)) for message in messages)


def stored_pictures(root: Path | str) -> list[tuple[str, bytes]]:
    """What it has."""
    rows = lake(str(root)).sql("SELECT image_id, object FROM images").to_pylist()
    return sorted((row["image_id"], storage(str(root)).read(row["object"])) for row in rows)


def rows_in(root: Path | str) -> int:
    """How many rows the ledger says that were read."""
    return sum(lake(str(root)).ledger["rows_in"].to_pylist())


def read_up_to_now(root: Path | str, messages: str | None = None, images: str | None = None, **options: Any) -> None:
    """Run the graph as the command does, over the topics of these URLs; no consumer outlives it."""
    try:
        run_graph(ReadOptions(None, _url(messages), _url(images), **options), Settings(str(root), 3600), LOCAL)
    finally:
        kafka_consumer._parked.clear()


def _url(text: str | None) -> Url | None:
    if text is None:
        return None
    return kafka_url(text) if text.startswith("kafka:") else pubsub_url(text)


def command(root: Path | str, *arguments: str) -> list[str]:
    """The command line of a pipeline."""
    return [sys.executable, "-m", "prestacop", "run", "--quiet", "--lake", str(root), *arguments]


def without_commits(root: Path | str, *arguments: str) -> list[str]:
    """The command line of one that commits nothing before it is killed, however late that is."""
    code = "import time, lake.ledger; lake.ledger.commit = lambda *_: time.sleep(3600)\n"
    code += "from prestacop.main import run; run()"
    options = ["--direct_running_mode", "multi_threading"]  # worker processes would not have it
    return [sys.executable, "-c", code, *command(root, *arguments, *options)[3:]]


def run(
    root: Path | str, *arguments: str, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run it as a user does."""
    return subprocess.run(
        command(root, *arguments),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | (environment or {}),
        timeout=300,
    )


class Subscription:
    """A topic with a subscription, on the server of the environment."""

    def __init__(self, name: str) -> None:
        self._publisher = PublisherClient()
        self._subscriber = SubscriberClient()
        self._topic = f"projects/{PROJECT}/topics/{name}"
        self._name = f"projects/{PROJECT}/subscriptions/{name}"
        self.url = f"pubsub://{PROJECT}/{name}"
        self._publisher.create_topic(name=self._topic)
        self._subscriber.create_subscription(name=self._name, topic=self._topic, ack_deadline_seconds=60)

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(self, *_: object) -> None:
        self._publisher.transport.close()
        self._subscriber.transport.close()

    def publish(self, payloads: Sequence[bytes]) -> list[str]:
        """Publish them; the name that the server gave to each.

        The server first has to notice who is gone: a request that waits there would take messages with it.
        """
        time.sleep(0.6)
        names: list[str] = []
        for some in batched(payloads, 1_000):
            messages = [{"data": payload, "attributes": {"key": "a drone"}} for payload in some]
            names += self._publisher.publish(topic=self._topic, messages=messages).message_ids
        return names

    def give_back(self, ids: list[str]) -> None:
        """Let the server deliver these again at once, as it does when they were not acknowledged in time."""
        for some in batched(ids, 1_000):
            self._subscriber.modify_ack_deadline(subscription=self._name, ack_ids=some, ack_deadline_seconds=0)

    def waiting(self) -> list[bytes]:
        """What would be delivered now."""
        try:
            answer = self._subscriber.pull(subscription=self._name, max_messages=1_000, timeout=1, retry=None)
        except DeadlineExceeded:
            return []
        self.give_back([message.ack_id for message in answer.received_messages])
        return [message.message.data for message in answer.received_messages]


def batched(items: Sequence[T], size: int) -> Iterator[list[T]]:
    """In lists of that size, the last one shorter."""
    for start in range(0, len(items), size):
        yield list(items[start : start + size])
