"""When a message was published is a time that the lake takes, or null, whatever its service says."""

from typing import Any

import pytest
from google.cloud.pubsub_v1.types import PubsubMessage, ReceivedMessage

from sources.streams import kafka
from sources.streams.pubsub import published_at

NOON = 1_768_478_400


class KafkaMessage:
    """What of a message the batch is made of."""

    def __init__(self, offset: int, timestamp: int) -> None:
        self._offset, self._timestamp = offset, timestamp

    def error(self) -> None:
        return None

    def offset(self) -> int:
        return self._offset

    def timestamp(self) -> tuple[int, int]:
        return 1, self._timestamp

    def value(self) -> bytes:
        return b"x"


@pytest.mark.parametrize(
    "timestamp", [-1, NOON * 1_000_000, NOON * 1_000_000_000, -(2**63), 2**63 - 1, 7_258_118_400_000]
)
def test_a_timestamp_of_kafka_that_is_no_time_is_null(timestamp: int) -> None:
    messages: list[Any] = [KafkaMessage(7, timestamp), KafkaMessage(8, NOON * 1000 + 5)]
    found = kafka._batch(messages, 7).to_pylist()
    assert found[0]["published_at"] is None
    assert found[1]["published_at"].isoformat() == "2026-01-15T12:00:00.005000+00:00"


@pytest.mark.parametrize("nanos", [-1, 1_000_000_000, -(2**31), 2**31 - 1])
@pytest.mark.parametrize("seconds", [0, NOON, 7_258_118_399])
def test_nanoseconds_of_pubsub_that_are_none_make_no_time(seconds: int, nanos: int) -> None:
    message = PubsubMessage()
    PubsubMessage.pb(message).publish_time.seconds = seconds
    PubsubMessage.pb(message).publish_time.nanos = nanos
    assert published_at([ReceivedMessage(message=message)]).to_pylist() == [None]


@pytest.mark.parametrize("seconds", [-1, 7_258_118_400, 10**18, -(2**63)])
def test_a_time_of_pubsub_that_is_none_is_null(seconds: int) -> None:
    messages = []
    for value, nanos in ((seconds, 0), (NOON, 5_999)):
        message = PubsubMessage()
        PubsubMessage.pb(message).publish_time.seconds = value
        PubsubMessage.pb(message).publish_time.nanos = nanos
        messages.append(ReceivedMessage(message=message))
    first, second = published_at(messages).to_pylist()
    assert first is None
    assert second.isoformat() == "2026-01-15T12:00:00.000005+00:00"
