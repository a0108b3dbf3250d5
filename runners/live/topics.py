"""The topics of the system, made where they are not there."""

import os
from typing import NamedTuple

from messaging.urls import kafka_url
from runners.provision import pubsub
from runners.provision.diff import Mode
from runners.provision.kafka import KafkaTopics
from runners.provision.spec import IMAGES, MESSAGES, topics

PARTITIONS = {MESSAGES: 2, IMAGES: 1}
"""Fewer than a deployment has: each makes a unit a second, and each unit some files."""
PROJECT = "prestacop"


class Urls(NamedTuple):
    """Where one kind of message is."""

    publish: str
    stream: str

    def read(self, reader: str) -> str:
        """Where one of its readers finds it: on Pub/Sub each has a subscription of its own."""
        return self.publish if self.stream == "kafka" else f"{self.publish}-{reader}"


def make_topics(stream: str) -> dict[str, Urls]:
    """Those of a service, which the environment leads to; by name. Raises ServiceUnavailable, Refused."""
    wanted = topics({}, PARTITIONS, {})
    at = f"kafka://{os.environ['KAFKA_BOOTSTRAP_SERVERS']}" if stream == "kafka" else f"pubsub://{PROJECT}"
    urls = {topic.name: Urls(f"{at}/{topic.name}", stream) for topic in wanted}
    if stream == "kafka":
        made = KafkaTopics(kafka_url(urls["drones"].publish)).make(wanted, None, Mode())
    else:
        made = pubsub.make(PROJECT, wanted, Mode())
    list(made)  # what was there before may differ, and stays as it is
    return urls
