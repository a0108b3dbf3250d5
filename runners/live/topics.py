"""The topics of the fleet's messages and images, made if they are not there."""

import os
from contextlib import suppress
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from google.api_core.exceptions import AlreadyExists, GoogleAPICallError
from google.cloud import pubsub_v1

from schemas.errors import ServiceUnavailable

PARTITIONS = {"drones": 2, "images": 1}
"""Each makes a unit a second, and each unit some files."""
PROJECT = "prestacop"
SECONDS = 20


class Urls(NamedTuple):
    """Where one of the two kinds of messages is."""

    publish: str
    read: str


def make_topics(stream: str) -> dict[str, Urls]:
    """Those of a service, which is found by the environment. Raises ServiceUnavailable."""
    return _kafka(os.environ["KAFKA_BOOTSTRAP_SERVERS"]) if stream == "kafka" else _pubsub()


def _kafka(bootstrap: str) -> dict[str, Urls]:
    # What the client logs about a broker that goes away is not for our users.
    admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    wanted = [NewTopic(name, partitions, replication_factor=1) for name, partitions in PARTITIONS.items()]
    for made in admin.create_topics(wanted, request_timeout=SECONDS).values():
        try:
            made.result(SECONDS)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise ServiceUnavailable(f"Kafka at {bootstrap} makes no topic: {error.args[0].str()}") from error
    return {name: Urls(url, url) for name in PARTITIONS for url in (f"kafka://{bootstrap}/{name}",)}


def _pubsub() -> dict[str, Urls]:
    found = {}
    with pubsub_v1.PublisherClient() as publisher, pubsub_v1.SubscriberClient() as subscriber:
        for name in PARTITIONS:
            topic = publisher.topic_path(PROJECT, name)
            subscription = subscriber.subscription_path(PROJECT, f"{name}-lake")
            try:
                with suppress(AlreadyExists):
                    publisher.create_topic(name=topic, timeout=SECONDS)
                with suppress(AlreadyExists):
                    subscriber.create_subscription(name=subscription, topic=topic, timeout=SECONDS)
            except GoogleAPICallError as error:
                raise ServiceUnavailable(f"Pub/Sub makes no topic: {error}") from error
            found[name] = Urls(f"pubsub://{PROJECT}/{name}", f"pubsub://{PROJECT}/{name}-lake")
    return found
