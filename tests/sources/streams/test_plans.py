"""Whoever plans a partition, and however often it begins again, its units are the same, without overlap or gap."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Barrier

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.ledger import commit, unit_paths
from lake.publication import publish
from lake.storage import storage
from schemas.errors import LakeDamaged
from schemas.lake import LEDGER_ROW, Source
from sources.streams.plans import (
    Chain,
    Plan,
    agree,
    check_not_begun,
    first_planned,
    plan_path,
    planned,
    read_floors,
    settle,
    tidy,
    trim,
    write_floors,
)
from sources.units import Unit

STREAM = "drones-kafka-0123"
PARTITION = 3


def chain(root: str, floor: int = 0, partition: int = PARTITION) -> Chain:
    """A planner of the partition that has just begun."""
    return Chain(root, Source.DRONES, STREAM, partition, f"kafka:drones/{partition}", floor)


def extended(one: Chain, *ends: int) -> list[Unit]:
    """The units that it plans up to these ends."""
    return [one.extend(Plan(end, since=end * 1000))[0] for end in ends]


def followed(root: str, floor: int = 0) -> list[Unit]:
    """The units that whoever begins now is to read."""
    return [unit for unit, _ in chain(root, floor).follow()]


def committed(root: str, units: Iterable[Unit]) -> None:
    """Put the units into the ledger."""
    nothing = {f.name: 0 for f in LEDGER_ROW if pa.types.is_integer(f.type)}
    rows = [
        nothing | {"unit": u.name, "source": str(u.source), "path": u.path, "range_end": u.end, "files": []}
        for u in units
    ]
    assert len(commit(root, rows)) == len(rows)


def test_a_restart_at_an_offset_takes_the_same_end(root: str) -> None:
    assert planned(root, STREAM, PARTITION, 0) is None
    assert agree(root, STREAM, PARTITION, 0, Plan(10, since=5)) == Plan(10, since=5)
    assert agree(root, STREAM, PARTITION, 0, Plan(99, since=7)) == Plan(10, since=5)
    assert planned(root, STREAM, PARTITION, 0) == Plan(10, since=5)
    assert agree(root, STREAM, PARTITION + 1, 0, Plan(99, since=7)) == Plan(99, since=7)
    assert agree(root, STREAM + "4", PARTITION, 0, Plan(98, since=7)) == Plan(98, since=7)


def test_concurrent_planners_of_an_offset_take_the_same_end(root: str) -> None:
    runners = 16
    start = Barrier(runners)

    def run(n: int) -> Plan | None:
        start.wait()
        return agree(root, STREAM, PARTITION, 0, Plan(100 + n, since=n))

    with ThreadPoolExecutor(runners) as pool:
        taken = set(pool.map(run, range(runners)))
    assert len(taken) == 1
    (plan,) = taken
    assert plan is not None
    assert plan.end == 100 + plan.since
    assert planned(root, STREAM, PARTITION, 0) == plan


def test_concurrent_planners_of_a_partition_make_one_chain(tmp_path: Path) -> None:
    root = str(tmp_path)
    racers = 8
    start = Barrier(racers)

    def race(n: int) -> list[Unit]:
        one = chain(root)
        while one.next < 200:
            start.wait()
            one.extend(Plan(min(200, one.next + 3 * n + 1), since=n))
        return list(one.outstanding)

    with ThreadPoolExecutor(racers) as pool:
        chains = list(pool.map(race, range(racers)))
    assert all(found == chains[0] for found in chains)
    assert chains[0] == followed(root)
    assert len({unit.end - unit.start for unit in chains[0]}) > 1  # not one of them planned it all


def test_a_chain_resumes_after_the_plans_of_another_run(root: str) -> None:
    units = extended(chain(root), 10, 25, 30)
    assert [(u.start, u.end) for u in units] == [(0, 10), (10, 25), (25, 30)]
    assert len({u.name for u in units}) == 3
    other = chain(root)
    assert other.follow() == [(u, u.end * 1000) for u in units]
    assert (other.next, list(other.outstanding)) == (30, units)
    assert other.follow() == [(u, u.end * 1000) for u in units]  # as often as it likes
    assert list(other.outstanding) == units
    (last,) = extended(other, 31)
    assert (last.start, last.end) == (30, 31)
    assert followed(root) == [*units, last]


def test_a_chain_takes_plans_that_another_run_wrote_meanwhile(root: str) -> None:
    first, second = chain(root), chain(root)
    units = extended(first, 10, 25)
    taken = [second.extend(Plan(7, since=1)), second.extend(Plan(50, since=2))]
    assert taken == [(u, u.end * 1000) for u in units]
    assert second.next == 25


def test_partitions_have_plans_of_their_own(tmp_path: Path) -> None:
    extended(chain(str(tmp_path), partition=1), 10, 20)
    assert chain(str(tmp_path), partition=2).follow() == []


def test_committed_units_are_skipped(root: str) -> None:
    one = chain(root)
    units = extended(one, 10, 20, 30, 40)
    committed(root, units[:2])
    assert followed(root) == units[2:]
    one.settle()
    assert (one.floor, list(one.outstanding), one.next) == (20, units[2:], 40)
    committed(root, units[2:])
    assert followed(root) == []
    one.settle()
    assert (one.floor, list(one.outstanding), one.next) == (40, [], 40)


def test_the_floor_stays_below_the_first_unit_that_is_not_committed(root: str) -> None:
    one = chain(root)
    units = extended(one, 10, 20, 30)
    committed(root, units[1:])  # workers commit in an order of their own
    one.settle()
    assert one.floor == 0
    assert units[0] in followed(root)
    committed(root, units[:1])
    one.settle()
    assert one.floor == 30
    assert followed(root) == []


def test_floors_are_read_as_written_and_empty_at_first(root: str) -> None:
    assert read_floors(root, STREAM) == {}
    write_floors(root, STREAM, {0: 12, 11: 2**62})
    write_floors(root, STREAM, {0: 15, 11: 2**62})
    assert read_floors(root, STREAM) == {0: 15, 11: 2**62}
    assert read_floors(root, STREAM + "4") == {}


@pytest.mark.parametrize("floor", [0, 10, 20])
def test_a_floor_that_is_old_gives_the_same_units(tmp_path: Path, floor: int) -> None:
    root = str(tmp_path)
    units = extended(chain(root), 10, 20, 30, 40)
    committed(root, units[:2])
    one = chain(root, floor)
    assert [unit for unit, _ in one.follow()] == units[2:]
    assert (one.floor, one.next) == (20, 40)


STEPS = st.one_of(
    st.tuples(st.just("extend"), st.integers(0, 2), st.integers(1, 9)),
    st.tuples(st.just("follow"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("settle"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("trim"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("tidy"), st.just(0), st.just(0)),
    st.tuples(st.just("lower the floor"), st.just(0), st.integers(0, 9)),
    st.tuples(st.just("die with a plan"), st.integers(0, 2), st.integers(1, 9)),
    st.tuples(st.just("begin again"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("commit"), st.just(0), st.integers(0, 9)),
)
"""What, by which of three planners, and how much of it (of a commit: which of the units that wait for it)."""


@given(st.lists(STEPS, max_size=40))
def test_independent_planners_never_overlap_and_leave_no_gap(
    steps: list[tuple[str, int, int]],
) -> None:
    with TemporaryDirectory() as root:
        planners = [chain(root) for _ in range(3)]
        waiting: dict[str, Unit] = {}
        seen: dict[int, Unit] = {}
        done: set[str] = set()
        for what, who, much in steps:
            one = planners[who]
            given_out: list[Unit] = []
            match what:
                case "extend":
                    given_out = [one.extend(Plan(one.next + much, since=0))[0]]
                case "follow":
                    given_out = [unit for unit, _ in one.follow()]
                    assert waiting.keys() <= {unit.name for unit in given_out}
                case "settle":
                    one.settle()
                case "trim":
                    trim(root, STREAM, {PARTITION: one})
                case "tidy":
                    tidy(root)
                case "lower the floor":  # as the slower one of two processes does, or an old copy of the file
                    older = sorted({0, *(unit.start for unit in seen.values())})
                    floors = f'{{"{PARTITION}": {min(older[much % len(older)], one.floor)}}}'
                    storage(root).put(f"plans/{STREAM}/floors.json", floors.encode())
                case "die with a plan":  # before it has looked at the ledger
                    agree(root, STREAM, PARTITION, one.next, Plan(one.next + much, since=0))
                    planners[who] = chain(root, read_floors(root, STREAM).get(PARTITION, 0))
                case "begin again":
                    planners[who] = chain(root, read_floors(root, STREAM).get(PARTITION, 0))
                case "commit" if waiting:
                    unit = waiting.pop(sorted(waiting)[much % len(waiting)])
                    committed(root, [unit])
                    done.add(unit.name)
            for unit in given_out:
                assert seen.setdefault(unit.start, unit) == unit
                if unit.name not in done:
                    waiting[unit.name] = unit
        last = chain(root)
        for unit, _ in last.follow():
            assert seen.setdefault(unit.start, unit) == unit
        units = [seen[start] for start in sorted(seen)]
        assert all(unit.start < unit.end for unit in units)
        assert all(before.end == after.start for before, after in pairwise(units))
        assert not units or units[0].start == 0
        assert len({unit.name for unit in units}) == len(units)
        assert waiting.keys() <= {unit.name for unit, _ in last.follow()}
        assert last.next == (units[-1].end if units else 0)


def begun(root: str, *ends: int) -> list[Unit]:
    """Units up to these ends that were planned and committed, and whose plans are deleted."""
    one = chain(root)
    units = extended(one, *ends)
    committed(root, units)
    one.settle()
    trim(root, STREAM, {PARTITION: one})
    assert plans_in(root) == []
    return units


def plans_in(root: str) -> list[str]:
    """The offsets at which plans begin."""
    return [info.base_name for info in storage(root).list("plans") if info.base_name != "floors.json"]


def test_a_late_planner_finds_the_end_of_a_committed_unit_in_the_ledger(root: str) -> None:
    late = chain(root)  # which looked for plans before any was there
    units = begun(root, 10, 25)
    assert extended(late, 7, 50) == units
    assert plans_in(root) == []  # those that it wrote are deleted again
    (unit,) = extended(late, 50)
    assert (unit.start, unit.end) == (25, 50)


def test_the_end_of_a_unit_is_known_when_its_row_is_folded(tmp_path: Path) -> None:
    root = str(tmp_path)
    late = chain(root)
    units = begun(root, 10, 25)
    publish(root)
    assert unit_paths(root) == []
    assert extended(late, 7, 50) == units
    assert followed(root) == []
    (tmp_path / "plans" / STREAM / "floors.json").unlink()
    with pytest.raises(LakeDamaged, match=units[-1].name):
        check_not_begun(root, STREAM, PARTITION)


def test_the_plan_of_a_late_planner_that_was_killed_makes_no_other_unit(root: str) -> None:
    units = begun(root, 10, 25)
    assert agree(root, STREAM, PARTITION, 0, Plan(7, since=0)) == Plan(7, since=0)
    one = chain(root)
    assert (one.follow(), one.next, one.floor) == ([], units[-1].end, units[-1].end)
    assert len(plans_in(root)) == 1
    assert tidy(root) == 1
    assert plans_in(root) == []


def test_as_many_plans_are_left_as_units_are_not_committed(tmp_path: Path) -> None:
    root = str(tmp_path)
    one = chain(root)
    for n in range(20):
        units = extended(one, 10 * n + 5, 10 * n + 10)
        committed(root, units[:1] if n == 19 else units)
        one.settle()
        trim(root, STREAM, {PARTITION: one})
        assert len(plans_in(root)) == (n == 19)
    assert (one.floor, read_floors(root, STREAM)) == (195, {PARTITION: 195})
    assert followed(root, 195) == list(one.outstanding)


def test_the_end_of_a_bounded_run_deletes_the_plans_that_it_read(tmp_path: Path) -> None:
    root = str(tmp_path)
    write_floors(root, STREAM, {PARTITION: 0})
    units = extended(chain(root), 10, 20, 30)
    committed(root, units[:2])
    settle(root, STREAM)
    assert read_floors(root, STREAM) == {PARTITION: 20}
    assert plans_in(root) == [f"{20:019d}.json"]


def test_plans_of_earlier_versions_and_of_killed_runs_are_deleted_and_no_other(tmp_path: Path) -> None:
    root = str(tmp_path)
    units = extended(chain(root), 10, 20, 30)
    committed(root, [units[0], units[2]])
    write_floors(root, STREAM, {PARTITION: 30})  # too high: the second unit is missing in the ledger
    assert tidy(root) == 2
    assert plans_in(root) == [f"{10:019d}.json"]
    committed(root, units[1:2])
    assert tidy(root) == 1
    assert plans_in(root) == []
    assert tidy(root) == 0


def test_floors_are_raised_and_not_lowered(tmp_path: Path) -> None:
    root = str(tmp_path)
    write_floors(root, STREAM, {0: 10, 1: 20})
    write_floors(root, STREAM, {0: 5, 2: 7})
    assert read_floors(root, STREAM) == {0: 10, 1: 20, 2: 7}


def test_a_partition_in_the_ledger_without_floor_and_plan_is_not_begun_anew(tmp_path: Path) -> None:
    root = str(tmp_path)
    check_not_begun(root, STREAM, PARTITION)
    units = begun(root, 10, 25)
    path = tmp_path / "plans" / STREAM / "floors.json"
    path.unlink()
    assert first_planned(root, STREAM, PARTITION) is None
    with pytest.raises(LakeDamaged, match=f"{units[-1].name}: restore that folder") as raised:
        check_not_begun(root, STREAM, PARTITION)
    path.write_text(str(raised.value).partition("write ")[2].partition(" to ")[0])
    assert read_floors(root, STREAM) == {PARTITION: 25}
    check_not_begun(root, f"{STREAM}-{PARTITION:05d}", 0)  # another stream
    check_not_begun(root, STREAM, 0)


def test_a_plan_that_is_there_and_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.streams.plans.agree", lambda *_: None)
    with pytest.raises(LakeDamaged, match=plan_path(STREAM, PARTITION, 0)):
        extended(chain(str(tmp_path)), 10)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 5_000,
        b"\xff",
        b'{"end": 10}',
        b'{"end": 10, "since": 1, "more": 2}',
        b'{"end": "../../10", "since": 1}',
        b'{"end": 1.5, "since": 1}',
        b'{"end": 0, "since": 1}',
        b'{"end": -1, "since": 1}',
        b'{"end": 1e400, "since": 1}',
    ],
)
def test_damaged_plans_and_floors_are_errors_with_their_path(tmp_path: Path, content: bytes) -> None:
    root = str(tmp_path)
    extended(chain(root), 10)
    (path,) = (tmp_path / "plans" / STREAM / f"{PARTITION:05d}").iterdir()
    path.write_bytes(content)
    with pytest.raises(LakeDamaged, match=f"plans/{STREAM}/{PARTITION:05d}/0+.json is damaged"):
        followed(root)
    (tmp_path / "plans" / STREAM / "floors.json").write_bytes(content)
    with pytest.raises(LakeDamaged, match=r"floors\.json is damaged"):
        read_floors(root, STREAM)


def test_floors_of_very_many_partitions_are_read(tmp_path: Path) -> None:
    floors = {partition: 10**15 + partition for partition in range(10_000)}
    write_floors(str(tmp_path), STREAM, floors)
    assert read_floors(str(tmp_path), STREAM) == floors


def test_other_files_beside_the_plans_are_ignored(tmp_path: Path) -> None:
    extended(chain(str(tmp_path), floor=5), 10)
    (tmp_path / "plans" / STREAM / f"{PARTITION:05d}" / "!README").write_text("hello")
    assert first_planned(str(tmp_path), STREAM, PARTITION) == 5
