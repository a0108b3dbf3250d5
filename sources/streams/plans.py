"""Units of a stream, planned once for all readers and all restarts.

The plan of the unit that begins at an offset is a small object that is written only if it does not exist: every reader
that begins at that offset finds it and takes the same end. So exactly-once rests on the storage alone, not on a
runner's checkpoints. A partition is read on from where its chain of plans ends.

A plan is deleted once its unit is committed, so the number of plans depends on what is not committed yet. From then on
the ledger says where the unit ends; a planner that is late and plans it once more finds it there (:meth:`Chain._take`).
The floors of a stream say where to begin; they may be old.
"""

import json
import re
import zlib
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath
from typing import Annotated, Final, NamedTuple

import msgspec

from lake.ledger import committed_end, last_of_chain, read_back
from lake.storage import storage
from schemas.decoding import decode_json
from schemas.errors import LakeDamaged
from schemas.lake import Source
from sources.units import Unit

_MAX_BYTES: Final = 16 << 20
"""Of the floors of a topic of very many partitions."""
_DECODER: Final = msgspec.json.Decoder(dict[str, Annotated[int, msgspec.Meta(ge=-(2**62), le=2**62)]])
CHECKSUM: Final = "crc32"
"""The key of the checksum of path and numbers in plans and floors; earlier versions had none."""
_PLAN_NAME: Final = re.compile(r"(\d{19})\.json")
_PLAN: Final = re.compile(r"/plans/(?P<stream>[^/]+)/(?P<partition>\d{5})/(?P<start>\d{19})\.json$", re.ASCII)
_FLOORS: Final = re.compile(rf"/plans/(?P<stream>(?:{'|'.join(Source)})-kafka-[^/]+)/floors\.json$")
_DELETES: Final = 16
"""Plans that are checked and deleted in parallel."""


class Plan(NamedTuple):
    """The plan of the unit that begins at an offset."""

    end: int
    """The offset after its last message."""
    since: int
    """No message of it was published before this time, in microseconds since the epoch."""


def plan_path(stream: str, partition: int, start: int) -> str:
    """The path below the lake's root of the plan of the unit that begins at ``start``."""
    return f"{_plans_of(stream, partition)}/{start:019d}.json"


def first_planned(root: str, stream: str, partition: int) -> int | None:
    """Where the partition's first plan begins, if there is one."""
    plans = [info.base_name for info in storage(root).list(_plans_of(stream, partition))]
    starts = (_PLAN_NAME.fullmatch(name) for name in plans)  # other files there are no plans
    return next((int(found[1]) for found in starts if found), None)


def check_not_begun(root: str, stream: str, partition: int) -> None:
    """Raises LakeDamaged where the ledger has units of a partition that has neither a floor nor a plan."""
    if last := last_of_chain(root, f"{stream}-{partition:05d}"):
        end = committed_end(root, source_of(stream), last)
        raise LakeDamaged(
            f"{root}: plans/{stream} has no floor of partition {partition}, whose last unit in the ledger is {last}: "
            "restore that folder from a copy of the lake. Without one run prestacop reconcile; if it names no missing "
            f'offsets of this stream, write {{"{partition}": {end}}} to plans/{stream}/floors.json'
        )


def planned(root: str, stream: str, partition: int, start: int) -> Plan | None:
    """The plan for ``start``, if there is one."""
    path = plan_path(stream, partition, start)
    try:
        return plan_in(storage(root).read(path), path)
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _damaged(root, path) from error


def plan_in(data: bytes, path: str) -> Plan:
    """The plan in the file of :func:`plan_path`. Raises ValueError where it is damaged."""
    numbers = _numbers(data, path)
    if numbers.keys() != set(Plan._fields):
        raise ValueError(f"it holds {', '.join(numbers)}")
    plan = Plan(**numbers)
    if plan.end <= int(PurePosixPath(path).stem):  # the unit's end is where the next plan begins: it would never end
        raise ValueError(f"it ends at {plan.end}, before it begins")
    return plan


def agree(root: str, stream: str, partition: int, start: int, proposal: Plan) -> Plan | None:
    """The plan for ``start``: the proposal, or the plan that another run wrote before; None if it was deleted since."""
    path = plan_path(stream, partition, start)
    if storage(root).put_new(path, _with_checksum(proposal._asdict(), path)):
        return proposal
    return planned(root, stream, partition, start)


class Chain:
    """The units of one partition, in order.

    Args:
        stream: the stream's permanent name, as a part of a path.
        path: the partition's name in messages.
        floor: an offset before which all units are committed.
    """

    def __init__(self, root: str, source: Source, stream: str, partition: int, path: str, floor: int) -> None:
        self._root = root
        self._source = source
        self._stream = stream
        self._partition = partition
        self._path = path
        self.next = self.floor = floor
        self.outstanding: deque[Unit] = deque()
        """Planned and, at the last check, not committed, or behind one that is not."""
        self.passed: list[str] = []
        """The paths of plans that the floor has passed."""

    def follow(self) -> list[tuple[Unit, int]]:
        """Go from the floor to the end of the chain; the units that are not committed, with ``since``."""
        self.next = self.floor
        self.outstanding.clear()
        found = []
        while taken := self._take(planned(self._root, self._stream, self._partition, self.next)):
            unit, since, is_committed = taken
            if not is_committed:
                found.append((unit, since))
        return found

    def extend(self, proposal: Plan) -> tuple[Unit, int]:
        """Plan the next unit; the one that another run has planned there, if it was faster, even a committed one."""
        start = self.next
        plan = agree(self._root, self._stream, self._partition, start, proposal)
        taken = self._take(plan)
        path = plan_path(self._stream, self._partition, start)
        if taken is None:
            raise LakeDamaged(
                f"{self._root}: the storage refuses to write {path} because it exists, and does not find it, nor is "
                "its unit in the ledger. Run prestacop reconcile; restore the plan from a copy if it was removed"
            )
        if plan and plan.end != taken.unit.end:  # not the plan that the unit was read by: that one was deleted
            storage(self._root).delete(path)
        return taken.unit, taken.since

    def settle(self) -> None:
        """Move the floor past the units that were committed meanwhile."""
        while self.outstanding and read_back(self._root, self._source, self.outstanding[0].name):
            self._pass(self.outstanding.popleft())

    def _take(self, plan: Plan | None) -> "_Taken | None":
        """The unit that begins at ``next``; None where there is neither a plan of it nor a row in the ledger.

        The ledger is read after the plan. If it does not have the unit, no plan was deleted there, so this one is what
        all have agreed on. If it has it, the plan may have been written by a planner that was late, after the right one
        was deleted: then the ledger says where the unit ends.
        """
        name = f"{self._stream}-{self._partition:05d}-{self.next:019d}"
        end = committed_end(self._root, self._source, name)
        if end is not None:
            if end <= self.next:
                raise LakeDamaged(f"{self._root}: the ledger says that {name} ends at {end}; run prestacop reconcile")
            plan = Plan(end, plan.since if plan else 0)
        if plan is None:
            return None
        unit = Unit(self._source, self._path, self.next, plan.end, name)
        self.next = plan.end
        if end is not None and not self.outstanding:
            self._pass(unit)
        else:
            self.outstanding.append(unit)
        return _Taken(unit, plan.since, end is not None)

    def _pass(self, unit: Unit) -> None:
        self.floor = unit.end
        self.passed.append(plan_path(self._stream, self._partition, unit.start))


class _Taken(NamedTuple):
    unit: Unit
    since: int
    is_committed: bool


def trim(root: str, stream: str, chains: Mapping[int, Chain]) -> None:
    """Write the floors of these partitions, then delete the plans that they have passed.

    In this order, so that who begins at the floors finds the chain; killed in between, :func:`tidy` deletes them.
    """
    write_floors(root, stream, {partition: chain.floor for partition, chain in chains.items()})
    passed = [path for chain in chains.values() for path in chain.passed]
    if passed:
        storage(root).flush()
        storage(root).delete_all(passed)
    for chain in chains.values():
        chain.passed.clear()


def settle(root: str, stream: str) -> None:
    """Move the floors of a stream past all that is committed, and delete the plans below; no broker is needed."""
    floors = read_floors(root, stream)
    chains = {p: Chain(root, source_of(stream), stream, p, stream, floor) for p, floor in floors.items()}
    for chain in chains.values():
        chain.follow()
    if any(chain.passed for chain in chains.values()):
        trim(root, stream, chains)


def tidy(root: str) -> int:
    """Delete all plans that no reader needs any more, of every stream; returns their number.

    So also those that a killed process, or an earlier version, has left below a floor.
    """
    infos = storage(root).list("plans")
    streams = {found["stream"] for info in infos if (found := _FLOORS.search(info.path))}
    plans = [found for info in infos if (found := _PLAN.search(info.path)) and found["stream"] in streams]
    floors = {}
    for stream in streams:
        settle(root, stream)
        floors[stream] = read_floors(root, stream)

    def delete(found: re.Match[str]) -> bool:
        stream, partition, start = found["stream"], int(found["partition"]), int(found["start"])
        is_spent = start < floors[stream].get(partition, 0) and read_back(
            root, source_of(stream), f"{stream}-{partition:05d}-{start:019d}"
        )
        if is_spent:
            storage(root).delete(plan_path(stream, partition, start))
        return is_spent

    with ThreadPoolExecutor(_DELETES) as pool:
        return sum(pool.map(delete, plans))


def source_of(stream: str) -> Source:
    """The source that a stream's name begins with."""
    return Source(stream.partition("-")[0])


def read_floors(root: str, stream: str) -> dict[int, int]:
    """For each partition an offset before which all is committed, as last written: it may be old, or even older than
    what was there before, since of two processes the slower one may write last."""
    path = _floors_path(stream)
    try:
        return floors_in(storage(root).read(path), path)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise _damaged(root, path) from error


def floors_in(data: bytes, path: str) -> dict[int, int]:
    """The floors in the file of this path. Raises ValueError where it is damaged."""
    floors = {int(partition): floor for partition, floor in _numbers(data, path).items()}
    if any(floor < 0 for floor in floors.values()):
        raise ValueError("a floor is below zero")
    return floors


def write_floors(root: str, stream: str, floors: dict[int, int]) -> None:
    """Raise the floors to these, so that the next run begins there."""
    known = read_floors(root, stream)
    raised = known | {partition: max(floor, known.get(partition, 0)) for partition, floor in floors.items()}
    if raised != known:
        path = _floors_path(stream)
        storage(root).put(path, _with_checksum({str(partition): floor for partition, floor in raised.items()}, path))


def _numbers(data: bytes, path: str) -> dict[str, int]:
    """What a plan or the floors hold: names and numbers. Raises ValueError."""
    numbers = decode_json(data, _DECODER, _MAX_BYTES)
    checksum = numbers.pop(CHECKSUM, None)
    if checksum is not None and checksum != _checksum(numbers, path):
        raise ValueError("its checksum does not match")
    return numbers


def _with_checksum(numbers: dict[str, int], path: str) -> bytes:
    return json.dumps({**numbers, CHECKSUM: _checksum(numbers, path)}).encode()


def _checksum(numbers: dict[str, int], path: str) -> int:
    return zlib.crc32(json.dumps([path, numbers], sort_keys=True).encode())


def _damaged(root: str, path: str) -> LakeDamaged:
    return LakeDamaged(
        f"{root}: {path} is damaged; restore it from a copy. Without one remove floors.json, never a plan: floors are "
        "found again where plans are left, else the next run says what to write"
    )


def _plans_of(stream: str, partition: int) -> str:
    return f"plans/{stream}/{partition:05d}"


def _floors_path(stream: str) -> str:
    return f"plans/{stream}/floors.json"
