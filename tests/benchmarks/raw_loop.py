"""The ceiling of any Kafka pipeline in Python: consume, decode the JSON, keep nothing.

With a lake: put the pictures of the messages there, and do nothing else.
"""

import binascii
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import msgspec
from confluent_kafka import Consumer, TopicPartition

from messaging.urls import kafka_config, kafka_url
from schemas.messages import DroneMessage, ImageMessage
from sources.streams.kafka_consumer import FETCHING

PUTS = 16
"""Parallel uploads, as in the pipeline."""


def consumed(url: str, messages: int, at_once: int) -> Iterator[list[bytes]]:
    """So many messages of a topic, with the settings of the pipeline's own consumer."""
    topic = kafka_url(url)
    consumer = Consumer(
        {
            **kafka_config(topic),
            **FETCHING,
            "group.id": "raw",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
        }
    )
    partitions = consumer.list_topics(topic.topic).topics[topic.topic].partitions
    consumer.assign([TopicPartition(topic.topic, partition, 0) for partition in partitions])
    seen = 0
    while seen < messages:
        some = [m.value() or b"" for m in consumer.consume(at_once, timeout=1) if m.error() is None]
        seen += len(some)
        yield some
    consumer.close()


def decode(url: str, messages: int) -> None:
    """Decode the messages."""
    read = msgspec.json.Decoder(DroneMessage).decode
    for some in consumed(url, messages, 5_000):
        for payload in some:
            read(payload)


def copy_pictures(url: str, messages: int, root: str) -> None:
    """Put the pictures of the messages into a lake."""
    from lake.storage import storage  # noqa: PLC0415  # the loop that decodes starts without it

    read = msgspec.json.Decoder(ImageMessage).decode
    put, numbers = storage(root).put, count()

    def copy(payload: bytes) -> None:
        put(f"pictures/{next(numbers)}.jpg", binascii.a2b_base64(read(payload).data))

    with ThreadPoolExecutor(PUTS) as pool:
        for some in consumed(url, messages, 16):
            for _ in pool.map(copy, some):
                pass


def main(url: str, messages: int, *root: str) -> None:
    """Read so many messages, and print messages/s."""
    started = time.perf_counter()
    if root:
        copy_pictures(url, messages, *root)
    else:
        decode(url, messages)
    print(f"{messages / (time.perf_counter() - started):.0f}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
