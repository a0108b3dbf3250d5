"""The exporter's page: what a lake and its topics have, ages that grow by themselves, and what a failed look shows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lake.ledger import commit
from lake.publication import publish
from lake.storage import LocalStorage
from messaging.urls import kafka_url
from metrics.lake.collector import Metrics
from metrics.lake.latency import BOUNDS, MOST_WAITING, Histogram, Latencies
from metrics.lake.names import METRICS
from metrics.lake.parts import Ends, LakePart, TopicPart
from metrics.lake.totals import OTHER, REASONS
from metrics.server import Pages
from schemas.errors import LakeDamaged, ServiceUnavailable
from tests.faulty_s3 import FaultyS3, Weather
from tests.lakes import Said, refuse, write
from tests.metrics.support import check_page, get, samples

EVERY = 15.0
Samples = dict[tuple[str, ...], float]


@dataclass
class Clock:
    """A clock that is set by the test."""

    now: float = 2_000_000_000.0

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """One that is years later than all times of the tests."""
    return Clock()


def unit(number: int, partition: int = 0) -> str:
    """The name of a unit of a partition."""
    return f"drones-kafka-fleet-{partition:05d}-{number:019d}"


def row(root: str, start: int, end: int, partition: int = 0, **said: Any) -> dict[str, Any]:
    """A unit of these offsets, whose files are written and whose row is not committed yet."""
    messages = [Said(f"{partition}-{offset}", **said) for offset in range(start, end)]
    return write(root, unit(start, partition), messages) | {"range_start": start, "range_end": end}


def topic_part(ends: dict[int, int], lake: LakePart, clock: Clock) -> TopicPart:
    """The topic of the drones as a look has found it."""
    part = TopicPart(kafka_url("kafka://127.0.0.1:1/fleet"), "drones", lake, None, EVERY, clock)
    part.look = lambda: setattr(part, "found", Ends("drones-kafka-fleet", dict.fromkeys(ends, 2), ends))  # type: ignore[method-assign]
    part.attempt()
    return part


def test_the_rows_of_a_lake_are_counted_by_source_and_dataset(tmp_path: Path) -> None:
    root, part = str(tmp_path), LakePart(str(tmp_path), EVERY)
    metrics = Metrics(part, [])
    commit(root, [row(root, 0, 3), row(root, 3, 5, code=0)])
    part.attempt()
    rows = samples(metrics, "prestacop_committed_rows_total")
    assert rows["drones", "qualified"] == 3
    assert rows["drones", "unqualified"] == 2
    assert samples(metrics, "prestacop_read_rows_total") == {("drones",): 5}
    publish(root)
    commit(root, [row(root, 5, 9, code=None)])
    part.attempt()
    assert samples(metrics, "prestacop_committed_rows_total") == rows | {("drones", "positions"): 4}
    assert samples(metrics, "prestacop_committed_units_total") == {("drones",): 3}
    assert samples(metrics, "prestacop_tail_units") == {(): 1}
    assert samples(metrics, "prestacop_last_change_number") == {(): 1}


def test_copies_that_a_publication_found_were_moved(tmp_path: Path) -> None:
    root, part = str(tmp_path), LakePart(str(tmp_path), EVERY)
    commit(root, [write(root, unit(n), [Said("same")]) for n in (0, 1)])
    publish(root)
    part.attempt()
    assert samples(Metrics(part, []), "prestacop_moved_rows_total") == {("drones", "qualified", "duplicates"): 1}


def test_dead_letters_are_counted_by_reason_since_the_exporter_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, part = str(tmp_path), LakePart(str(tmp_path), EVERY)
    commit(root, [refuse(root, unit(0), [b"x"])])
    part.attempt()
    metrics = Metrics(part, [])
    assert samples(metrics, "prestacop_dead_letters_total") == {}
    assert samples(metrics, "prestacop_committed_rows_total")["drones", "dead_letters"] == 1
    monkeypatch.setattr("metrics.lake.totals.REASONS", frozenset())
    commit(root, [refuse(root, unit(1), [b"x", b"y"])])
    publish(root)
    part.attempt()
    monkeypatch.setattr("metrics.lake.totals.REASONS", frozenset({"empty"}))
    monkeypatch.setattr("metrics.lake.parts._WHOLE_BYTES", 0)
    commit(root, [refuse(root, unit(2), [b"x", b"y", b"z"])])
    part.attempt()
    commit(root, [refuse(root, unit(3), [b"x"])])
    (deleted,) = tmp_path.glob(f"dead_letters/source=drones/{unit(3)}*")
    deleted.unlink()
    part.attempt()
    assert samples(metrics, "prestacop_dead_letters_total") == {("drones", OTHER): 3, ("drones", "empty"): 3}


def test_reasons_are_a_short_list() -> None:
    assert {"payload_empty", "row_cut_short"} <= REASONS
    assert len(REASONS) < 60


def test_ages_and_lags_grow_while_nothing_comes(tmp_path: Path, clock: Clock) -> None:
    root, part = str(tmp_path), LakePart(str(tmp_path), EVERY, clock)
    metrics = Metrics(part, [], clock)
    commit(root, [row(root, 0, 3, published=1_900_000_000)])
    publish(root)
    part.attempt()
    names = ("prestacop_commit_age_seconds", "prestacop_publication_age_seconds", "prestacop_watermark_lag_seconds",
             "prestacop_look_age_seconds")  # fmt: skip
    before = [samples(metrics, name) for name in names]
    assert before[2] == {("drones",): 100_000_000}
    clock.now += 60
    for name, earlier in zip(names, before, strict=True):
        assert samples(metrics, name) == {labels: value + 60 for labels, value in earlier.items()}, name


def test_messages_behind_are_those_of_the_topic_that_no_unit_has(tmp_path: Path, clock: Clock) -> None:
    root, part = str(tmp_path), LakePart(str(tmp_path), EVERY, clock)
    commit(root, [row(root, 2, 4), row(root, 8, 10), row(root, 2, 20, partition=1)])  # 4 to 7 are under way
    part.attempt()
    metrics = Metrics(part, [topic_part({0: 12, 1: 15, 2: 7}, part, clock)], clock)
    behind = {("drones", "0"): 12 - 2 - 4, ("drones", "1"): 0, ("drones", "2"): 7 - 2}
    assert samples(metrics, "prestacop_messages_behind") == behind
    commit(root, [row(root, 4, 8)])
    publish(root)
    part.attempt()
    assert samples(metrics, "prestacop_messages_behind") == behind | {("drones", "0"): 2}
    again = LakePart(root, EVERY, clock)
    again.attempt()
    assert again.totals.places == part.totals.places


class GrowingTopic:
    """Has one partition more each time that it is asked for them."""

    def __init__(self) -> None:
        self._number = 0

    def identity(self) -> str:
        return "fleet"

    def partitions(self) -> list[int]:
        self._number += 1
        return list(range(self._number))

    def firsts(self, partitions: list[int] | None = None) -> dict[int, int]:
        return dict.fromkeys(partitions or self.partitions(), 2)

    def ends(self, partitions: list[int] | None = None) -> dict[int, int]:
        return dict.fromkeys(partitions or self.partitions(), 7)


def test_a_partition_that_is_added_during_a_look_belongs_to_the_next_one(tmp_path: Path, clock: Clock) -> None:
    root, lake = str(tmp_path), LakePart(str(tmp_path), EVERY, clock)
    commit(root, [row(root, 2, 4)])
    lake.attempt()
    topic = TopicPart(kafka_url("kafka://127.0.0.1:1/fleet"), "drones", lake, None, EVERY, clock)
    topic._topic = GrowingTopic()  # type: ignore[assignment]
    for behind in ({0: 3}, {0: 3, 1: 5}):
        assert topic.attempt() is None
        assert topic.behind() == behind


def test_a_pipeline_is_stuck_where_messages_wait_and_nothing_is_committed(tmp_path: Path, clock: Clock) -> None:
    root, part = str(tmp_path), LakePart(str(tmp_path), EVERY, clock)
    commit(root, [row(root, 2, 4)])
    topic = topic_part({0: 4}, part, clock)
    metrics = Metrics(part, [topic], clock, stuck_after=300)

    def stuck(looks: int, end: int) -> list[str]:
        """What is stuck after so many looks, when the topic has this end."""

        def look() -> None:
            topic.found = Ends("drones-kafka-fleet", {0: 2}, {0: end})
            topic.note()

        topic.look = look  # type: ignore[method-assign]
        for _ in range(looks):
            clock.now += EVERY
            assert metrics.look() is None
        return metrics.stuck()

    assert stuck(100, 4) == []  # nothing waits
    assert stuck(20, 9) == []  # messages wait since 285 s
    assert stuck(1, 9) == ["drones: nothing was committed for 300 s, and 5 messages wait"]
    pages = Pages(metrics, metrics.stuck, metrics.old_looks)
    line = "drones: nothing was committed for 300 s, and 5 messages wait\n"
    assert get(pages, "/healthz") == ("503 Service Unavailable", line)
    assert samples(metrics, "prestacop_pipeline_stuck") == {("drones",): 1}
    commit(root, [row(root, 4, 6)])
    assert stuck(20, 12) == []  # it is behind, and works
    assert get(pages, "/healthz") == ("200 OK", "ok\n")
    clock.now += 10_000  # no look succeeds: nothing is known
    assert stuck(20, 14) == []
    assert stuck(1, 14) != []
    assert stuck(1, 6) == []


def test_latencies_are_those_of_a_sample_of_the_new_units(tmp_path: Path, clock: Clock) -> None:
    root, part = str(tmp_path), LakePart(str(tmp_path), EVERY, clock)
    metrics = Metrics(part, [], clock)
    names = [f"prestacop_event_to_{end}_seconds_count" for end in ("commit", "publication")]

    def counts() -> list[Samples]:
        assert part.attempt() is None
        return [samples(metrics, name) for name in names]

    commit(root, [row(root, 0, 3, published=1_900_000_000)])
    assert counts() == [{}, {}]  # of before the process began
    commit(root, [row(root, 3, 5), row(root, 5, 9, published=1_900_000_000)])  # the first was published to no topic
    assert counts() == [{("drones",): 4}, {}]
    publish(root)
    commit(root, [row(root, n, n + 1, published=1_900_000_000) for n in range(10, 20)])
    assert counts() == [{("drones",): 4 + 8}, {("drones",): 4}]
    commit(root, [row(root, 30, 31, published=1_900_000_000)])
    publish(root)  # committed and published between two looks
    assert counts() == [{("drones",): 4 + 8 + 1}, {("drones",): 4 + 8 + 1}]
    assert samples(metrics, "prestacop_event_to_commit_seconds_sum")["drones",] > 0


def test_a_histogram_counts_by_upper_bounds() -> None:
    histogram = Histogram()
    histogram.add(np.array([-5.0, 1.0, 1.5, 4_000.0]))
    assert histogram.counts.tolist() == [2, 1, *([0] * (len(BOUNDS) - 2)), 1]
    assert histogram.sum == 4_002.5


def test_a_unit_that_is_never_published_is_forgotten() -> None:
    latencies = Latencies()
    for n in range(MOST_WAITING + 1):
        latencies.add_committed("drones", str(n), 10.0, np.array([9.0]))
    latencies.add_published({20.0: [str(n) for n in range(MOST_WAITING + 1)]})
    assert latencies.to_publication["drones"].counts.sum() == MOST_WAITING


def test_a_failed_look_leaves_the_figures_and_shows_their_age(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    root, part = str(tmp_path), LakePart(str(tmp_path), EVERY, clock)
    metrics = Metrics(part, [], clock)
    app = Pages(metrics, missing=metrics.old_looks)
    assert get(app, "/readyz") == ("503 Service Unavailable", "no look at lake has succeeded yet\n")
    commit(root, [row(root, 0, 3)])
    part.attempt()
    assert get(app, "/readyz") == ("200 OK", "ok\n")

    def away(self: LocalStorage, path: str) -> list[Any]:
        raise ServiceUnavailable("the storage is away")

    monkeypatch.setattr(LocalStorage, "list", away)
    for _ in range(4):
        clock.now += EVERY
        part.attempt()
    assert get(app, "/readyz") == ("503 Service Unavailable", "the last look at lake is 60 s old\n")
    assert get(app, "/healthz") == ("200 OK", "ok\n")
    assert samples(metrics, "prestacop_up") == {("lake",): 0}
    assert samples(metrics, "prestacop_look_age_seconds") == {("lake",): 60}
    assert samples(metrics, "prestacop_look_failures_total") == {("lake",): 4}
    assert samples(metrics, "prestacop_read_rows_total") == {("drones",): 3}
    monkeypatch.undo()
    part.attempt()
    assert samples(metrics, "prestacop_up") == {("lake",): 1}
    assert [record.getMessage() for record in caplog.records] == [
        "the look at lake failed, and is repeated every 15 s: the storage is away",
        "the look at lake succeeds again",
    ]


@pytest.mark.parametrize("step", ["_reasons", "_times"])
def test_a_look_that_fails_at_its_end_counts_nothing_twice(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, part = str(tmp_path), LakePart(str(tmp_path), EVERY)
    part.attempt()
    commit(root, [refuse(root, unit(0), [b"x"])])
    with monkeypatch.context() as patch:
        patch.setattr(f"metrics.lake.parts.{step}", _fail)
        part.attempt()
    assert part.failures == 1
    publish(root)
    part.attempt()
    part.attempt()
    assert part.totals.read == {"drones": 1}
    assert part.totals.letters.total() == 1


def _fail(*_: Any) -> None:
    raise OSError(5, "Input/output error")


def test_what_no_retry_fixes_ends_the_command_at_the_first_look_alone(tmp_path: Path) -> None:
    (tmp_path / "format.json").write_text("{}")
    root = str(tmp_path)
    assert isinstance(LakePart(root, EVERY).attempt(), LakeDamaged)
    (tmp_path / "format.json").unlink()
    part = LakePart(root, EVERY)
    part.attempt()
    commit(root, [row(root, 0, 1)])
    (damaged,) = tmp_path.glob("ledger/source=drones/*.parquet")
    damaged.write_bytes(b"PAR1")
    part.attempt()
    assert part.failures == 1


def test_the_page_is_one_that_prometheus_reads_and_has_no_other_metrics(tmp_path: Path, clock: Clock) -> None:
    root, part = str(tmp_path), LakePart(str(tmp_path), EVERY, clock)
    commit(root, [row(root, 0, 3, published=1_900_000_000)])
    publish(root)
    part.attempt()
    check_page(Metrics(part, [topic_part({0: 12}, part, clock)], clock), METRICS)


def test_a_look_makes_a_request_for_each_new_row_and_a_few_more(faulty_s3: FaultyS3) -> None:
    """However long the tail is."""
    faulty_s3.weather = Weather(1, 0)  # which counts the requests of objects
    root = "s3://lake/some"
    part = LakePart(root, EVERY)

    def requests(*rows: dict[str, Any], published: bool = False) -> int:
        commit(root, list(rows))
        if published:
            publish(root)
        before = faulty_s3.calls
        part.attempt()
        assert not part.failures
        return faulty_s3.calls - before

    requests(*(row(root, n, n + 1) for n in range(5)))
    assert requests() <= 3  # the next commit of the folded ledger, changes, units
    assert requests(*(row(root, n, n + 1) for n in range(5, 8))) <= 3 + 3 + 3  # the times of each
    assert requests(refuse(root, unit(100), [b"x"])) <= 3 + 1 + 1 + 1  # the reasons, the times
    requests(published=True)
    assert requests(row(root, 200, 201), published=True) <= 3 + 1 + 3  # a commit, a file of its chain, one of changes
    assert requests() <= 3
