"""The topics of the fleet's messages and images, made where they are not there."""

import os
from typing import NamedTuple

from runners.topics import pubsub
from runners.topics.kafka import KafkaTopics
from runners.topics.lines import Mode
from runners.topics.wanted import IMAGES, MESSAGES, topics
from schemas.urls import kafka_url

PARTITIONS = {MESSAGES: 2, IMAGES: 1}
"""Fewer than a deployment has: each makes a unit a second, and each unit some files."""
PROJECT = "prestacop"


class Urls(NamedTuple):
    """Where one kind of message is."""

    publish: str
    read: str


def make_topics(stream: str) -> dict[str, Urls]:
    """Those of a service, which the environment leads to; by name. Raises ServiceUnavailable, Refused."""
    wanted = [topic for topic in topics({}, PARTITIONS, {}) if topic.feeds_lake]
    if stream == "kafka":
        cluster = f"kafka://{os.environ['KAFKA_BOOTSTRAP_SERVERS']}"
        urls = {topic.name: Urls(f"{cluster}/{topic.name}", f"{cluster}/{topic.name}") for topic in wanted}
        made = KafkaTopics(kafka_url(urls["drones"].read)).make(wanted, None, Mode())
    else:
        project = f"pubsub://{PROJECT}"
        urls = {topic.name: Urls(f"{project}/{topic.name}", f"{project}/{topic.name}-lake") for topic in wanted}
        made = pubsub.make(PROJECT, wanted, Mode())
    list(made)  # what was there before may differ, and stays as it is
    return urls
