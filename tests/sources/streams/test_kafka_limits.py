"""Units of Kafka are cut by bytes, the same in each attempt, and a gap that nothing explains is never committed."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError

from messaging.kafka import Connection
from messaging.urls import KafkaUrl
from schemas.errors import InputUnusable
from schemas.lake import Source
from sources.streams import kafka, kafka_consumer
from sources.streams.base import plan_until_now
from sources.streams.kafka import KafkaStream
from sources.streams.kafka_consumer import Access, consume
from sources.units import ROW_BYTES, Unit

URL = KafkaUrl("127.0.0.1:1", "fleet", {})


class FakeMessage:
    """A message of so many bytes, or a partition's end."""

    def __init__(self, offset: int, size: int, end: bool = False) -> None:
        self._offset, self._size, self._end = offset, size, end

    def offset(self) -> int:
        return self._offset

    def __len__(self) -> int:
        return self._size

    def value(self) -> bytes:
        return b"x" * self._size

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_700_000_000_000

    def error(self) -> Any:
        return _Eof() if self._end else None


class _Eof:
    def code(self) -> int:
        return int(KafkaError._PARTITION_EOF)


class FakeTopic:
    """What the brokers say."""

    def __init__(self, sizes: Mapping[int, int], end: int, first: int = 0) -> None:
        self.sizes, self.end, self.oldest = sizes, end, first
        self.id = "ab"

    def identity(self) -> str:
        return self.id

    def firsts(self, partitions: Sequence[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, self.oldest)

    def ends(self) -> dict[int, int]:
        return {0: self.end}

    def parked(self, chunk: int) -> Any:
        """A parked consumer that gives at most so many messages at once, then the partition's end."""
        left = [FakeMessage(offset, size) for offset, size in sorted(self.sizes.items())]
        at_once: list[int] = []

        class Consumer:
            def consume(_, n: int, timeout: float) -> list[FakeMessage]:  # noqa: N805
                n = min(n, chunk)
                at_once.append(n)
                some, left[:] = left[:n], left[n:]
                return some or [FakeMessage(self.end, 0, end=True)]

        class Parked:
            consumer = Consumer()
            place = (-1, -1)
            broker = Connection(URL)

        parked = Parked()
        parked.at_once = at_once  # type: ignore[attr-defined]
        return parked


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Let a topic answer."""

    def answer(topic: FakeTopic, chunk: int = 5_000) -> Any:
        parked = topic.parked(chunk)
        monkeypatch.setattr(kafka_consumer, "_take", lambda *_: parked)
        monkeypatch.setattr(kafka_consumer, "shared", lambda _: topic)
        monkeypatch.setattr(kafka, "shared", lambda _: topic)
        monkeypatch.setattr(kafka, "topic_of", lambda _: topic)
        return parked

    monkeypatch.setattr(kafka_consumer, "_parked", defaultdict(list))
    return answer


def offsets(start: int, end: int, accept_loss: bool = False) -> list[int]:
    """Those that a reader of this range gets."""
    access = Access(URL, 5_000, accept_loss)
    return [m.offset() or 0 for some in consume(access, 0, start, end) for m in some]


def batches(unit: Unit) -> list[list[int]]:
    stream = KafkaStream(URL, Source.DRONES)
    return [batch["offset"].to_pylist() for batch in stream.payloads(unit, "")]


UNIT = Unit(Source.DRONES, "kafka:fleet/0", 0, 40, "drones-kafka-ab-00000-0000000000000000000")


@pytest.mark.parametrize("chunk", [1, 3, 40])
def test_batches_are_cut_message_by_message_whatever_comes_at_once(
    on: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(kafka, "BATCH_BYTES", 100)
    on(FakeTopic({n: 30 if n < 20 else 250 for n in range(40)}, 40), chunk)
    expected = [list(range(n, n + 4)) for n in range(0, 20, 4)] + [[n] for n in range(20, 40)] + [[]]
    assert batches(UNIT) == expected


def test_few_large_messages_are_taken_at_once(on: Callable[..., Any]) -> None:
    parked = on(FakeTopic(dict.fromkeys(range(200), 4 << 20), 200))
    assert offsets(0, 200) == list(range(200))
    assert parked.at_once[0] == 64
    assert max(parked.at_once[1:]) == 2


def test_a_planner_cuts_units_by_bytes(on: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "UNIT_BYTES", 1_000_000)
    size = 60_000 - ROW_BYTES
    on(FakeTopic(dict.fromkeys(range(100), size), 100))
    monkeypatch.setattr(kafka, "consume", lambda *_: iter([[FakeMessage(0, size)]]))
    units = plan_until_now(KafkaStream(URL, Source.DRONES), str(tmp_path))
    assert [(unit.start, unit.end) for unit in units] == [(n, min(n + 16, 100)) for n in range(0, 100, 16)]


def test_one_message_that_is_larger_than_a_unit_is_a_unit(
    on: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "UNIT_BYTES", 10)
    on(FakeTopic({0: 50, 1: 50}, 2))
    monkeypatch.setattr(kafka, "consume", lambda *_: iter([[FakeMessage(0, 50)]]))
    assert len(plan_until_now(KafkaStream(URL, Source.DRONES), str(tmp_path))) == 2


def there(*gone: range, end: int = 40) -> dict[int, int]:
    """All messages but these."""
    return {n: 10 for n in range(end) if not any(n in some for some in gone)}


@pytest.mark.parametrize("gone", [[range(10)], [range(12, 15)], [range(35, 40)], [range(40)], [range(3, 4), range(9)]])
def test_gaps_within_the_log_are_marks_of_transactions_or_compacted(on: Callable[..., Any], gone: list[range]) -> None:
    on(FakeTopic(there(*gone), 40))
    assert offsets(0, 40) == sorted(there(*gone))


@pytest.mark.parametrize(
    ("gone", "first", "expected_text"),
    [
        ([range(10)], 10, "messages 0 to 9 are gone"),
        ([range(12, 15)], 15, "messages 12 to 14 are gone"),
        ([range(2, 4), range(30, 35)], 33, "messages 2 to 32 are gone"),
        ([range(35, 40)], 90, "messages 35 to 39 are gone"),
        ([range(40)], 40, "messages 0 to 39 are gone"),
    ],
)
def test_a_gap_that_retention_may_have_made_is_an_error_until_the_loss_is_accepted(
    on: Callable[..., Any], gone: list[range], first: int, expected_text: str
) -> None:
    on(FakeTopic(there(*gone), 40, first))
    with pytest.raises(InputUnusable, match=rf"kafka:fleet/0: {expected_text}.*--accept-loss"):
        offsets(0, 40)
    on(FakeTopic(there(*gone), 40, first))
    with pytest.raises(InputUnusable, match=expected_text):
        batches(UNIT)
    on(FakeTopic(there(*gone), 40, first))
    assert offsets(0, 40, accept_loss=True) == sorted(there(*gone))


def test_what_is_deleted_after_it_was_read_is_no_loss(on: Callable[..., Any]) -> None:
    on(FakeTopic(there(), 40, first=90))
    assert offsets(0, 40) == list(range(40))


def test_a_topic_that_was_made_again_since_a_unit_was_planned_is_not_read_as_that_unit(on: Callable[..., Any]) -> None:
    topic = FakeTopic(there(), 40)
    on(topic)
    assert sum(map(len, batches(UNIT))) == 40
    topic.id = "cd"
    on(topic)
    with pytest.raises(InputUnusable, match=r"deleted and created again since the unit .* was planned: run again"):
        batches(UNIT)
