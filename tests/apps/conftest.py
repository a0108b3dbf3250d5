"""Brokers of this process."""

from collections.abc import Iterator

import pytest

from tests.apps.topics import MockKafka, PubSubDouble


@pytest.fixture
def mock_kafka() -> Iterator[MockKafka]:
    """A broker with four partitions for every topic that is asked for."""
    broker = MockKafka()
    yield broker
    broker.stop()


@pytest.fixture
def pubsub_double(monkeypatch: pytest.MonkeyPatch) -> Iterator[PubSubDouble]:
    """A Pub/Sub of two methods; clients go to it."""
    with PubSubDouble() as double:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", double.address)
        yield double
