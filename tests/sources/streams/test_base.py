"""Streams: what is planned is given out, again where a runner forgot it, and each row of a unit is read once."""

import pickle
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.io.watermark_estimators import ManualWatermarkEstimator
from apache_beam.testing.util import assert_that, equal_to
from apache_beam.transforms.window import TimestampedValue
from apache_beam.utils.timestamp import Duration, Timestamp

from lake.ledger import commit
from schemas.errors import InputUnusable, LakeTooNew, ServiceUnavailable
from schemas.lake import LEDGER_ROW, MICROSECONDS, ROWS_IN, Source
from sources.payloads import payload_batch
from sources.progress import progress
from sources.streams.base import (
    MAX_OUTSTANDING,
    TICK_SECONDS,
    PlannedUnit,
    Planner,
    Polled,
    Stream,
    StreamTicks,
    plan_until_now,
    read_unit,
)
from sources.ticks import PlanTicks, Ticks
from sources.units import BATCHES, TALLIES, Tally, Unit, UnitBatch
from tests.sources.ticks import tracker
from tests.support import LOCAL

SKEW = 2.5


class FakePlanner(Planner):
    """Plans one unit each time, as long as there is room."""

    def __init__(self) -> None:
        self.planned: list[PlannedUnit] = []
        self.given_up = 0
        """Units that are committed."""
        self.polls: list[int] = []
        """The room of each."""
        self.resumed = 0
        self.until = 1_000 * MICROSECONDS
        self.fails = False
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def resume(self) -> list[PlannedUnit]:
        self.resumed += 1
        return self.planned[self.given_up :]

    def poll(self, room: int) -> Polled:
        self.polls.append(room)
        if room:
            self.planned.append(PlannedUnit(unit(len(self.planned)), self.until))
        if self.fails:
            raise ServiceUnavailable("fails as the test wants")
        return Polled(self.planned[-1:] if room else [], self.until, behind=7)

    def outstanding(self) -> int:
        return len(self.planned) - self.given_up


class FakeStream(Stream):
    """A stream whose unit ``n`` has the batches ``sizes[n]``."""

    source = Source.DRONES

    path = "fake"

    def everything(self, root: str) -> list[Unit]:
        raise NotImplementedError

    def forget(self, units: Iterable[Unit], root: str) -> None:
        raise NotImplementedError

    def __init__(self, *sizes: list[int], planner: Planner | None = None) -> None:
        self._sizes = sizes
        self._planner = planner

    def planner(self, root: str) -> Planner:
        assert self._planner
        return self._planner

    def waiting(self, root: str) -> str:
        return ""

    def payloads(self, unit: Unit, root: str) -> Iterator[pa.RecordBatch]:
        first = 0
        for size in self._sizes[unit.start]:
            records = range(first, first + size)
            yield payload_batch([b"%d" % record for record in records], records, records)
            first += size


def unit(n: int) -> Unit:
    """The n-th one."""
    return Unit(Source.DRONES, "fake", n, n + 1, f"drones-fake-{n}")


def rows(items: list[Any]) -> list[tuple[list[bytes], bool]]:
    """The payloads of each batch, and whether it is the last one."""
    return [(item.rows["payload"].to_pylist(), item.last) for item in items if isinstance(item, UnitBatch)]


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        ([3], [([b"0", b"1", b"2"], True)]),
        ([2, 1], [([b"0", b"1"], False), ([b"2"], True)]),
        ([1, 1, 1], [([b"0"], False), ([b"1"], False), ([b"2"], True)]),
        ([0], [([], True)]),
        ([1, 0], [([b"0"], False), ([], True)]),
    ],
)
def test_each_row_of_a_unit_is_read_once_and_its_last_batch_is_marked(
    tmp_path: Path, sizes: list[int], expected: list[tuple[list[bytes], bool]]
) -> None:
    items = list(read_unit(unit(0), FakeStream(sizes), str(tmp_path)))
    assert rows(items) == expected
    assert items[-1] == ("drones-fake-0", Tally(ROWS_IN, sum(sizes), unit=unit(0)))
    assert len(items) == len(expected) + 1


def test_a_unit_that_is_committed_is_not_read_again(tmp_path: Path) -> None:
    commit(str(tmp_path), [ledger_row(unit(0))])
    assert list(read_unit(unit(0), FakeStream([3], [4]), str(tmp_path))) == []
    assert len(list(read_unit(unit(1), FakeStream([3], [4]), str(tmp_path)))) == 2


class Spool(FakeStream):
    """Another run removes its only unit after this one has found that it is not committed."""

    def __init__(self, committed: bool) -> None:
        super().__init__([3])
        self._committed = committed

    def payloads(self, unit: Unit, root: str) -> Iterator[pa.RecordBatch]:
        if self._committed:
            commit(root, [ledger_row(unit)])
        raise FileNotFoundError(unit.name)
        yield from ()


def test_a_unit_that_another_run_committed_and_removed_is_done(tmp_path: Path) -> None:
    assert list(read_unit(unit(0), Spool(committed=True), str(tmp_path))) == []


def test_a_unit_that_is_gone_and_not_committed_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputUnusable, match=r"fake: drones-fake-0 is gone .* not in the lake"):
        list(read_unit(unit(0), Spool(committed=False), str(tmp_path)))


def test_a_stream_without_a_batch_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no batch"):
        list(read_unit(unit(0), FakeStream([]), str(tmp_path)))


def test_messages_are_counted_for_the_progress_bar(tmp_path: Path) -> None:
    messages, size = progress.messages, progress.message_bytes
    list(read_unit(unit(0), FakeStream([1_000, 0, 500]), str(tmp_path)))
    assert progress.messages - messages == 1_500
    assert progress.message_bytes - size >= sum(len(b"%d" % n) for n in [*range(1_000), *range(500)])


def test_units_are_read_in_a_pipeline_and_reported(tmp_path: Path) -> None:
    sizes = [2, 3], [0], [4]
    with beam.Pipeline(options=LOCAL) as pipeline:
        read = pipeline | FakeStream(*sizes).read([unit(n) for n in range(3)], str(tmp_path))
        batches = read[BATCHES] | beam.Map(lambda b: (b.unit.start, b.rows.num_rows, b.last))
        assert_that(batches, equal_to([(0, 2, False), (0, 3, True), (1, 0, True), (2, 4, True)]), label="batches")
        tallies = [(f"drones-fake-{n}", Tally(ROWS_IN, sum(sizes[n]), unit=unit(n))) for n in range(3)]
        assert_that(read[TALLIES], equal_to(tallies), label="tallies")


class Backlog(FakePlanner):
    """Messages of an hour are there, and more come while they are planned."""

    def __init__(self) -> None:
        super().__init__()
        self.planned = [PlannedUnit(unit(n), 0) for n in range(3)]
        self.until = round((time.time() - 3600) * MICROSECONDS)

    def poll(self, room: int) -> Polled:
        assert len(self.polls) < 10, "it does not end"
        self.until += 1000 * MICROSECONDS
        return super().poll(room)


def test_a_bounded_run_plans_up_to_now_and_not_what_arrives_meanwhile() -> None:
    planner = Backlog()
    units = plan_until_now(FakeStream(planner=planner), "")
    assert planner.resumed == 1
    assert len(planner.polls) == 4  # 1,000 s each
    assert all(room >= 10**9 for room in planner.polls)
    assert units == [unit(n) for n in range(3 + 4)]


class Following:
    """An unbounded run over a stream."""

    def __init__(self, planner: FakePlanner) -> None:
        self.planner = planner
        self.plan = PlanTicks(partial(StreamTicks, FakeStream(planner=planner), "no-lake", SKEW), TICK_SECONDS)
        self.watermark = ManualWatermarkEstimator(None)

    def values(self, tick: int) -> list[TimestampedValue]:
        """What comes out at a tick."""
        return list(self.plan.process(b"", tracker(tick), self.watermark))

    def tick(self, tick: int) -> list[int]:
        """The numbers of the units that come out at a tick."""
        return [value.value.start for value in self.values(tick)]


def test_each_tick_gives_new_units() -> None:
    following = Following(FakePlanner())
    assert [following.tick(n) for n in range(3)] == [[0], [1], [2]]
    assert following.planner.resumed == 1


def test_a_run_resumes_with_the_units_that_are_planned_and_not_committed() -> None:
    planner = FakePlanner()
    planner.planned = [PlannedUnit(unit(n), 0) for n in range(3)]
    planner.given_up = 1
    following = Following(planner)
    assert following.tick(0) == [1, 2, 3]
    assert following.tick(1) == [4]


@pytest.mark.parametrize("again", [0, 2, 3, 7])
def test_a_runner_that_goes_back_to_a_checkpoint_gets_uncommitted_units_again(again: int) -> None:
    """It may have lost what it was given: to go back is to go to any tick but the next one."""
    following = Following(FakePlanner())
    assert [following.tick(n) for n in range(4)] == [[0], [1], [2], [3]]
    following.planner.given_up = 2
    assert following.tick(again) == [2, 3, 4]
    assert following.tick(again + 1) == [5]
    assert following.planner.resumed == 2


def test_bundles_of_a_pipeline_share_its_planner() -> None:
    """Each may have a copy of the DoFn; another pipeline, of the same topic too, has a planner of its own."""
    following, other = Following(FakePlanner()), Following(FakePlanner())
    assert following.tick(0) == [0]
    copied = pickle.loads(pickle.dumps(following.plan))
    assert [v.value.start for v in copied.process(b"", tracker(1), following.watermark)] == [1]
    assert following.planner.polls == [MAX_OUTSTANDING, MAX_OUTSTANDING - 1]
    assert other.tick(1) == [0]
    assert (following.planner.resumed, other.planner.resumed) == (1, 1)


def test_backpressure_bounds_the_outstanding_units() -> None:
    following = Following(FakePlanner())
    ticks = MAX_OUTSTANDING + 3
    assert [following.tick(n) for n in range(ticks)] == [[n] for n in range(MAX_OUTSTANDING)] + [[]] * 3
    assert following.planner.polls[-4:] == [1, 0, 0, 0]
    following.planner.given_up = 5
    assert following.tick(ticks) == [MAX_OUTSTANDING]
    assert following.planner.polls[-1] == 5


def test_more_outstanding_units_than_the_bound_are_resumed() -> None:
    planner = FakePlanner()
    planner.planned = [PlannedUnit(unit(n), 0) for n in range(MAX_OUTSTANDING + 5)]
    assert len(Following(planner).tick(0)) == MAX_OUTSTANDING + 5
    assert planner.polls == [0]


def test_units_of_a_tick_that_failed_halfway_are_resumed() -> None:
    following = Following(FakePlanner())
    assert following.tick(0) == [0]
    following.planner.fails = True
    with pytest.raises(ServiceUnavailable):
        following.tick(1)
    following.planner.fails = False
    assert following.tick(1) == [0, 1, 2]


def test_units_and_watermark_stay_behind_the_publish_times_by_the_skew() -> None:
    following = Following(FakePlanner())
    assert [value.timestamp for value in following.values(0)] == [Timestamp(1_000 - SKEW)]
    assert following.watermark.current_watermark() == Timestamp(1_000 - SKEW)
    following.planner.until = 1_007 * MICROSECONDS
    assert [value.timestamp for value in following.values(1)] == [Timestamp(1_007 - SKEW)]
    assert following.watermark.current_watermark() == Timestamp(1_007 - SKEW)


def test_the_watermark_does_not_go_back() -> None:
    following = Following(FakePlanner())
    following.tick(0)
    following.planner.until = 900 * MICROSECONDS  # a new partition, of old messages
    assert len(following.tick(1)) == 1
    assert following.watermark.current_watermark() == Timestamp(1_000 - SKEW)


def test_the_next_tick_is_deferred() -> None:
    following = Following(FakePlanner())
    view = tracker(41)
    list(following.plan.process(b"", view, following.watermark))
    deferred = view._threadsafe_restriction_tracker.deferred_status()
    assert deferred is not None
    rest, delay = deferred
    assert rest.start == 42
    assert Duration(seconds=0) < delay <= Duration(seconds=TICK_SECONDS)


def test_the_lag_is_reported() -> None:
    following = Following(FakePlanner())
    following.planner.until = round((time.time() - 30) * MICROSECONDS)
    following.tick(0)
    lag = progress.lag[Source.DRONES]
    assert lag.messages == 7
    assert 30 <= lag.seconds < 60


def test_the_restriction_of_ticks_is_not_split() -> None:
    ticks = Ticks()
    restriction = ticks.initial_restriction(b"")
    one = ticks.create_tracker(restriction)
    assert not one.is_bounded()
    assert one.try_claim(0)
    for fraction in (0.1, 0.5, 0.99):
        assert one.try_split(fraction) is None
    assert one.current_restriction() == restriction
    primary, rest = one.try_split(0)  # a checkpoint
    assert (primary.stop, rest.start, rest.stop) == (1, 1, restriction.stop)
    assert not one.try_claim(1)


def test_a_drained_pipeline_plans_no_more() -> None:
    ticks: Any = Ticks()
    assert ticks.truncate(b"", ticks.initial_restriction(b"")) is None


def ledger_row(done: Unit) -> dict[str, Any]:
    """One of a unit without rows."""
    counts = {f.name: 0 for f in LEDGER_ROW if pa.types.is_int64(f.type)}
    return counts | {"unit": done.name, "source": str(done.source), "path": done.path, "files": []}


def test_the_planner_on_a_worker_refuses_a_newer_lake(tmp_path: Path) -> None:
    (tmp_path / "format.json").write_text('{"format": 999}')
    with pytest.raises(LakeTooNew):
        StreamTicks(FakeStream(planner=FakePlanner()), str(tmp_path), SKEW)
