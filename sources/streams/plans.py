"""Units of a stream, planned once for all readers and all restarts.

The plan of the unit that begins at an offset is a small object that is written only if it does not exist: every reader
that begins at that offset finds it and takes the same end. So exactly-once rests on the storage alone, not on a
runner's checkpoints. A partition is read on from where its chain of plans ends.
"""

import json
import re
import zlib
from collections import deque
from pathlib import PurePosixPath
from typing import Annotated, Final, NamedTuple

import msgspec

from lake.ledger import read_back
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


def agree(root: str, stream: str, partition: int, start: int, proposal: Plan) -> Plan:
    """The plan for ``start``: the proposal, or the plan that another run wrote before."""
    path = plan_path(stream, partition, start)
    if storage(root).put_new(path, _with_checksum(proposal._asdict(), path)):
        return proposal
    plan = planned(root, stream, partition, start)
    if plan is None:
        raise RuntimeError(f"{root}/{path}: the storage refused to write it because it exists, and does not find it")
    return plan


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
        """Planned and, at the last check, not committed."""

    def follow(self) -> list[tuple[Unit, int]]:
        """Read the plans from the floor to the end of the chain; the units that are not committed, with ``since``."""
        self.next = self.floor
        self.outstanding.clear()
        found = []
        while plan := planned(self._root, self._stream, self._partition, self.next):
            found.append((self._unit(plan), plan.since))
        self.settle()
        return [(unit, since) for unit, since in found if unit in self.outstanding]

    def extend(self, proposal: Plan) -> tuple[Unit, int]:
        """Plan the next unit."""
        plan = agree(self._root, self._stream, self._partition, self.next, proposal)
        return self._unit(plan), plan.since

    def settle(self) -> None:
        """Move the floor past the units that were committed meanwhile."""
        while self.outstanding and read_back(self._root, self._source, self.outstanding[0].name):
            self.floor = self.outstanding.popleft().end

    def _unit(self, plan: Plan) -> Unit:
        name = f"{self._stream}-{self._partition:05d}-{self.next:019d}"
        unit = Unit(self._source, self._path, self.next, plan.end, name)
        self.outstanding.append(unit)
        self.next = plan.end
        return unit


def read_floors(root: str, stream: str) -> dict[int, int]:
    """For each partition an offset before which all is committed, as last written: it may be old."""
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
    """Write the floors: the next run need not read the plans from the beginning."""
    named = {str(partition): floor for partition, floor in floors.items()}
    path = _floors_path(stream)
    storage(root).put(path, _with_checksum(named, path))


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
        f"{root}: {path} is damaged; put it back from a copy. Floors can be removed: they are found again from the "
        "plans"
    )


def _plans_of(stream: str, partition: int) -> str:
    return f"plans/{stream}/{partition:05d}"


def _floors_path(stream: str) -> str:
    return f"plans/{stream}/floors.json"
