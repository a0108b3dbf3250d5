"""What a Kafka topic refuses for good, and what to do then."""

from typing import Final

from confluent_kafka import KafkaError

from messaging.urls import KafkaUrl
from schemas.errors import InputUnusable, NotPermitted, OutputUnusable, PrestaCopError

from .target import ArrivedIsGone

NO_TOPIC: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)
DENIED: Final = (
    KafkaError._AUTHENTICATION,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError._SSL,
)
"""What waiting does not mend."""
_LOST: Final = (KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER, KafkaError.UNKNOWN_PRODUCER_ID)
"""The broker does not have what it acknowledged: its disk was lost, or one that was behind became the leader."""
TOLD_BEFORE: Final = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT, KafkaError._FATAL)
"""Of a fatal error poll() says which it is."""


def name_of(url: KafkaUrl) -> str:
    """The topic as people call it, without the options of its URL."""
    return f"kafka://{url.bootstrap}/{url.topic}"


def refusal(url: KafkaUrl, error: KafkaError) -> PrestaCopError:
    """What to tell of an error after which nothing more is sent."""
    name = name_of(url)
    if error.code() in NO_TOPIC:
        return InputUnusable(
            f"{name}: there is no topic {url.topic}; check the name, or make it: kafka-topics.sh "
            f"--bootstrap-server {url.bootstrap} --create --topic {url.topic}"
        )
    if error.code() in DENIED:
        return NotPermitted(
            f"{name}: {error.str()}. Check security.protocol and the other options of the URL, and KAFKA_SASL_PASSWORD"
        )
    if error.code() in _LOST:
        return ArrivedIsGone(
            f"{name} has lost messages that it had acknowledged ({error.str()}). See that its disks are "
            "sound; run the same command again, it starts from the beginning of the file"
        )
    if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
        return OutputUnusable(f"{name} refuses a message for its size: raise its max.message.bytes to 1 MiB")
    return OutputUnusable(f"{name} takes no messages: {error.str()}")
