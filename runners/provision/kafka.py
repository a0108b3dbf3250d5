"""Topics of a Kafka cluster."""

import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # it exports them without saying so
    AdminClient,
    AlterConfigOpType,
    ClusterMetadata,
    ConfigEntry,
    ConfigResource,
    ResourceType,
    TopicMetadata,
)
from confluent_kafka.cimpl import NewPartitions, NewTopic

from messaging.errors import UNKNOWN
from messaging.kafka import CONDITIONS, Connection
from messaging.retry import HINT
from messaging.urls import KafkaUrl, kafka_config
from runners.provision.diff import CREATED, Difference, Line, Mode, compared
from runners.provision.spec import Topic
from schemas.errors import ServiceUnavailable

ANSWER_SECONDS: Final = 20
REPLICAS: Final = 3
_NAP_SECONDS: Final = 0.05
_PARTITIONS: Final = "partitions"


class KafkaTopics:
    """The topics of the cluster that a URL names; the topic of the URL means nothing here."""

    def __init__(self, url: KafkaUrl) -> None:
        """Raises OptionsRefused."""
        self._connection = Connection(url._replace(topic=""))
        self._admin = self._connection.open(AdminClient, kafka_config(url))

    def make(self, topics: list[Topic], replication: int | None, mode: Mode) -> Iterator[Line]:
        """Make those that are missing, compare the others.

        Args:
            replication: copies of each message; as many as there are brokers, up to three, where nothing is given.
        """
        cluster = self._cluster()
        copies = replication or min(REPLICAS, len(cluster.brokers))
        for topic in topics:
            if not _is_known(cluster, topic.name) and self._create(topic, copies, mode):
                yield Line(CREATED, _thing(topic), _detail(topic, copies))
            else:
                yield from self._compare(topic, replication, mode)

    def _create(self, topic: Topic, copies: int, mode: Mode) -> bool:
        """Whether this process created it, and not another one meanwhile."""
        new = NewTopic(topic.name, topic.partitions, copies, config=_config(topic, copies))
        # The broker validates a dry run too: more replicas than brokers is an error already there.
        future = self._admin.create_topics([new], validate_only=mode.dry_run)[topic.name]
        self._result(future, topic.name, but=KafkaError.TOPIC_ALREADY_EXISTS)
        made = future.exception() is None
        if made and not mode.dry_run:
            self._found(topic.name, topic.partitions)
        return made

    def _compare(self, topic: Topic, replication: int | None, mode: Mode) -> list[Line]:
        found = self._found(topic.name)
        copies = len(found.partitions[0].replicas)
        differences = [
            *_partitions(len(found.partitions), topic.partitions),
            *_copies(copies, replication or copies),
            *self._settings(topic.name, _config(topic, copies)),
        ]
        changed, lines = compared(_thing(topic), _detail(topic, copies), differences, mode)
        if not mode.dry_run:
            self._change(topic, changed)
        return lines

    def _settings(self, name: str, expected: dict[str, str]) -> list[Difference]:
        resource = ConfigResource(ResourceType.TOPIC, name)
        entries = self._result(self._admin.describe_configs([resource])[resource], name)
        found = {key: entries[key].value for key in expected}
        return [Difference(key, found[key], value) for key, value in expected.items() if found[key] != value]

    def _change(self, topic: Topic, differences: list[Difference]) -> None:
        name = topic.name
        if any(d.name == _PARTITIONS for d in differences):
            self._result(self._admin.create_partitions([NewPartitions(name, topic.partitions)])[name], name)
            self._found(name, topic.partitions)
        entries = [
            ConfigEntry(d.name, str(d.expected), incremental_operation=AlterConfigOpType.SET)
            for d in differences
            if d.name != _PARTITIONS
        ]
        if entries:
            resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=entries)
            self._result(self._admin.incremental_alter_configs([resource])[resource], name)

    def _found(self, name: str, partitions: int = 1) -> TopicMetadata:
        """A topic that is there; one that was made or grew a moment ago may not be known to every broker yet."""
        appears = time.monotonic() + ANSWER_SECONDS
        while True:
            cluster = self._cluster()
            if _is_known(cluster, name):
                found = cluster.topics[name]
                if found.error is not None:
                    raise self._connection.about(name).error(found.error)
                if len(found.partitions) >= partitions:
                    return found
            if time.monotonic() > appears:
                raise ServiceUnavailable(
                    f"{self._connection.about(name).name}: created, and unknown to a broker. {HINT}"
                )
            time.sleep(_NAP_SECONDS)

    def _cluster(self) -> ClusterMetadata:
        try:
            return self._admin.list_topics(timeout=ANSWER_SECONDS)
        except KafkaException as error:
            self._admin.poll(0)
            raise self._connection.error(error.args[0]) from error

    def _result(self, future: "Future[Any]", name: str, but: int | None = None) -> Any:  # a type for each request
        """What was answered; nothing where it is the error ``but``."""
        connection = self._connection.about(name)
        try:
            return future.result(timeout=2 * ANSWER_SECONDS)
        except KafkaException as error:
            if error.args[0].code() == but:
                return None
            raise connection.error(error.args[0]) from error
        except TimeoutError as error:
            raise ServiceUnavailable(f"{connection.outage()}. {HINT}") from error


def _is_known(cluster: ClusterMetadata, name: str) -> bool:
    found = cluster.topics.get(name)
    if found is None or found.error is None:
        return found is not None
    code = found.error.code()
    return code != KafkaError.LEADER_NOT_AVAILABLE and CONDITIONS.get(code) is not UNKNOWN


def _config(topic: Topic, copies: int) -> dict[str, str]:
    """The settings that are ours; all others stay the broker's."""
    config = {
        "retention.ms": str(topic.retention_seconds * 1000),
        "cleanup.policy": "delete",  # a compacted topic would keep the last message of each drone
        "compression.type": "producer",  # messages stay as they were packed: the broker does not do it again
        # An acknowledged message is on two machines, and one of three may be away.
        "min.insync.replicas": "2" if copies >= REPLICAS else "1",
    }
    if topic.feeds_lake:
        # Of several messages with one id the first counts, by the time of the broker and not of the sender.
        config["message.timestamp.type"] = "LogAppendTime"
    if topic.max_message_bytes:
        config["max.message.bytes"] = str(topic.max_message_bytes)
    return config


def _partitions(found: int, expected: int) -> list[Difference]:
    kept = "partitions are never taken away" if found > expected else ""
    return [] if found == expected else [Difference(_PARTITIONS, found, expected, kept)]


def _copies(found: int, expected: int) -> list[Difference]:
    kept = "kafka-reassign-partitions.sh moves copies"
    return [] if found == expected else [Difference("replication", found, expected, kept)]


def _thing(topic: Topic) -> str:
    return f"kafka topic {topic.name}"


def _detail(topic: Topic, copies: int) -> str:
    config = " ".join(f"{key}={value}" for key, value in _config(topic, copies).items())
    return f"{topic.partitions} partitions, replication {copies}, {config}"
