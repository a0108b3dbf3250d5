"""The flags of ``prestacop exporter``; imports nothing heavy."""

import argparse
from typing import Final

from messaging.urls import KafkaUrl, kafka_url
from metrics.flags import add_stuck_after
from terminal.arguments import add_lake, command_parser, duration, port, readable

_EPILOG: Final = """\
examples:
  prestacop exporter --lake data/lake
  prestacop exporter --lake s3://prestacop/lake --messages kafka://localhost:9092/drones --every 30s
  prestacop exporter --lake data/lake --messages kafka://localhost:9092/drones --kafka-group prestacop

/metrics is for Prometheus; /healthz is 200 while the process runs, /readyz while the last poll of lake and topics
succeeded and is recent. A poll reads what is new since the last one; a scrape is answered from memory. Metrics:
docs/metrics.md. Pub/Sub does not report how many messages wait; use Google's metrics for it.

exit codes: 2 wrong usage, 3 lake or topic unusable at the first poll, 4 the port is not available, 7 no permission,
130 stopped
"""


def parser() -> argparse.ArgumentParser:
    """Of ``prestacop exporter``."""
    made = command_parser(
        "prestacop exporter", "Serve metrics of a lake and its topics for Prometheus, with any runner.", _EPILOG
    )
    add_lake(made)
    for flag, what in (("--messages", "drone messages"), ("--images", "the drones' pictures")):
        made.add_argument(
            flag,
            type=readable(_topic),
            metavar="URL",
            help=f"also report how far the lake is behind this topic of {what}: kafka://HOST:PORT/TOPIC",
        )
    made.add_argument(
        "--kafka-group",
        metavar="NAME",
        help="also write the committed offsets of these topics to this consumer group, for kafka-consumer-groups and "
        "other tools of Kafka; nothing reads them back",
    )
    made.add_argument(
        "--every",
        type=_every,
        default=15,
        metavar="TIME",
        help="how often to poll lake and topics: 15s (default), 1m",
    )
    add_stuck_after(made)
    made.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1)"
    )
    made.add_argument("--port", type=port, default=9464, metavar="N", help="port to listen on (default: 9464)")
    made.check = _problem
    return made


def _problem(given: argparse.Namespace) -> str | None:
    """What is wrong with the arguments together."""
    if given.kafka_group and not (given.messages or given.images):
        return "--kafka-group needs --messages or --images, the topics whose offsets it gets"
    return None


def _every(text: str) -> int:
    if not (seconds := duration(text)):
        raise argparse.ArgumentTypeError("0s is too often: write 1s or more")
    return seconds


def _topic(text: str) -> KafkaUrl:
    if text.startswith("pubsub:"):
        raise ValueError(
            "Pub/Sub does not tell its clients how many messages wait: leave it out, and watch Google's metric "
            "subscription/num_undelivered_messages"
        )
    return kafka_url(text)
