"""Brokers of this process, small loads, and a console without topics."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.console.console import Console
from apps.loader import load as loading
from apps.loader import to_file
from tests.apps.console.support import Clock, make_console
from tests.apps.loader.loads import HEADER, ROWS
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


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A load writes a journal entry a block, and blocks of some bytes."""
    monkeypatch.setattr(loading, "WRITTEN_EVERY_S", -1)
    monkeypatch.setattr(to_file, "CHUNK_BYTES", 24)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A small file of tickets."""
    path = tmp_path / "tickets.csv"
    path.write_bytes(HEADER + ROWS)
    return path
