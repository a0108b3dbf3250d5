"""Faults of single drones, with the truth beside them: which drone has which fault, and from when on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from apps.simulator.fleet.images import Picture
from schemas.drone_health import EventKind

Ints = npt.NDArray[np.int64]

FAULT_KINDS: Final = tuple(EventKind)
"""A drone sends nothing for a while; its battery loses charge too fast; its position is another one from now on; its
clock is wrong from now on; it sends no picture any more."""

SCHEMA: Final = pa.schema(
    [
        pa.field("drone_id", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("begins", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("ends", pa.timestamp("us", "UTC")),
    ]
)
"""One row for each drone that has a fault; ``begins`` and ``ends`` are right by all clocks, also by a drone's that is
wrong. Only a silent drone's fault ends."""

SILENT_S: Final = 180
"""How long a silent drone sends nothing."""
DRAIN: Final = 6.0
"""How many times faster a bad battery loses its charge."""
JUMP_DEGREES: Final = 0.05
"""How far to the north a position jumps: 5.6 km."""
CLOCK_OFF_S: Final = 120
"""How much a wrong clock is fast; every second one is slow."""
_FIRST, _LAST = 0.2, 0.5
"""The part of the flight in which faults begin."""
_SECOND_US: Final = 1_000_000


class Fault(NamedTuple):
    """A fault of a drone; times are in microseconds since 1970."""

    drone_id: str
    kind: EventKind
    begins_us: int
    ends_us: int | None


class Faults:
    """The faults of a fleet: the first drones of a random order have one each, its kinds in turn.

    Args:
        rng: of the faults alone, so that a flight with faults is the same flight until they begin.
        names: of the drones; arrays have an entry for each.
        share: of the drones that have a fault.
        seconds: how long the flight lasts; of an endless one, an hour.
    """

    def __init__(
        self, rng: np.random.Generator, names: Sequence[str], share: float, start_us: int, seconds: float
    ) -> None:
        count = len(names)
        broken = rng.permutation(count)[: round(share * count)]
        self._kind = np.full(count, -1)
        self._kind[broken] = np.arange(len(broken)) % len(FAULT_KINDS)
        begins = start_us + (rng.uniform(_FIRST, _LAST, count) * seconds * _SECOND_US).astype(np.int64)
        self._begins: Ints = begins
        self._slow = np.zeros(count, bool)
        self._slow[broken] = np.arange(len(broken)) // len(FAULT_KINDS) % 2 == 1
        self.faults = [self._fault(names[drone], drone) for drone in sorted(broken.tolist())]
        self._without_pictures = {f.drone_id: f.begins_us for f in self.faults if f.kind is EventKind.PICTURE_MISSING}

    def _fault(self, name: str, drone: int) -> Fault:
        kind, begins = FAULT_KINDS[self._kind[drone]], int(self._begins[drone])
        return Fault(name, kind, begins, begins + SILENT_S * _SECOND_US if kind is EventKind.SILENT else None)

    def _have(self, kind: EventKind, at_us: Ints) -> npt.NDArray[np.bool_]:
        """Which messages come from a drone that has this fault at their time; ``at_us`` is drone by drone, tick by
        tick."""
        ticks = len(at_us) // len(self._kind)
        return np.tile(self._kind == FAULT_KINDS.index(kind), ticks) & (at_us >= np.tile(self._begins, ticks))

    def drain(self, now_us: int) -> npt.NDArray[np.float64]:
        """How many times faster each drone's battery loses its charge."""
        return np.where(self._have(EventKind.BATTERY_LOW, np.full(len(self._kind), now_us)), DRAIN, 1.0)

    def speaks(self, at_us: Ints) -> npt.NDArray[np.bool_]:
        """Which messages are sent."""
        silent = self._have(EventKind.SILENT, at_us)
        return ~(silent & (at_us < np.tile(self._begins, len(at_us) // len(self._kind)) + SILENT_S * _SECOND_US))

    def jump(self, at_us: Ints) -> npt.NDArray[np.float64]:
        """By how many degrees each message's latitude is wrong."""
        return np.where(self._have(EventKind.POSITION_JUMP, at_us), JUMP_DEGREES, 0.0)

    def clock_us(self, at_us: Ints) -> Ints:
        """By how much each message's clock is fast, in microseconds."""
        off = np.tile(np.where(self._slow, -CLOCK_OFF_S, CLOCK_OFF_S), len(at_us) // len(self._kind)) * _SECOND_US
        return np.where(self._have(EventKind.CLOCK_OFF, at_us), off, 0)

    def sent(self, pictures: Sequence[Picture]) -> list[Picture]:
        """The pictures that are sent."""
        broken = self._without_pictures
        return [p for p in pictures if p.drone not in broken or p.at_us < broken[p.drone]]


def write_faults(path: Path, faults: Sequence[Fault]) -> None:
    """Write the truth. Raises OSError."""
    columns = list(zip(*faults, strict=True)) if faults else [(), (), (), ()]
    table = pa.table([pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], SCHEMA)
    pq.write_table(table, path, compression="zstd", store_schema=False)
