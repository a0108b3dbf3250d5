"""Brokers of this process, and a console without topics."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.console.console import Console
from tests.apps.console_support import Clock, make_console
from tests.apps.topics import MockKafka, PubSubDouble


@pytest.fixture
def clock() -> Clock:
    """The console's clock."""
    return Clock()


@pytest.fixture
def console(tmp_path: Path, clock: Clock) -> Iterator[Console]:
    """A console in ``tmp_path / "state"`` with an account of each role and no alert."""
    made = make_console(tmp_path / "state", clock)
    yield made
    made.stop()


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
