"""The ceiling of any Kafka pipeline in Python: consume, decode the JSON, keep nothing."""

import sys
import time

import msgspec
from confluent_kafka import Consumer, TopicPartition

from messaging.urls import kafka_config, kafka_url
from schemas.messages import DroneMessage
from sources.streams.kafka_consumer import FETCHING


def main(url: str, messages: int) -> None:
    """Read so many messages of a topic with the settings of the pipeline's own consumer, and print messages/s."""
    decode = msgspec.json.Decoder(DroneMessage).decode
    topic = kafka_url(url)
    started = time.perf_counter()
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
        some = [decode(m.value() or b"") for m in consumer.consume(5_000, timeout=1) if m.error() is None]
        seen += len(some)
    consumer.close()
    print(f"{seen / (time.perf_counter() - started):.0f}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
