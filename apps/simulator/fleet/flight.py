"""The messages of a fleet, block by block, before anything happens to them on the way."""

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import compress
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from apps.simulator.city import tickets as city
from apps.simulator.city.plates import Plates
from apps.simulator.city.weighted import draw, quantile_table
from apps.simulator.fleet.battery import Batteries, Floats
from apps.simulator.fleet.drones import Fleet
from apps.simulator.fleet.faults import Faults
from apps.simulator.fleet.identity import Identities
from apps.simulator.fleet.images import Picture
from apps.simulator.transport.command_reader import CommandReader
from schemas.messages import SCHEMA_VERSION, UNQUALIFIED, DroneMessage, v0_message_id

_BLOCK_MESSAGES: Final = 20_000
_REBOOTS_A_MESSAGE: Final = 1 / 2_000
_ENCODE: Final = msgspec.json.Encoder().encode
_SECOND_US: Final = 1_000_000
_HOUR_US: Final = 3600 * _SECOND_US
_BRANCHES: Final = {None: "positions", UNQUALIFIED: "unqualified"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Flight:
    """A flight of a fleet.

    ``rate`` is in messages a second a drone; ``v0_share`` is of the drones, ``violation_share`` of the messages,
    ``unqualified_share`` of the violations and ``image_share`` of the qualified ones; each unqualified one has an
    image, unless ``image_share`` is 0. Where ``seconds`` is infinite the flight never ends; where ``start`` is None it
    begins with the first block. With ``days`` the flight is cut into as many short flights as there are hours in so
    many days, and each hour begins with one of them. ``faults`` is the share of the drones that have a fault
    (:mod:`apps.simulator.fleet.faults`).
    """

    drones: int
    seconds: float
    rate: float
    seed: int
    start: datetime | None
    v0_share: float = 0.0
    violation_share: float = 0.1
    unqualified_share: float = 0.01
    image_share: float = 1.0
    days: int | None = field(default=None, repr=False)
    battery_days: float = field(default=0.0, repr=False)
    faults: float = field(default=0.0, repr=False)

    @property
    def identity(self) -> str:
        """All that may differ between two flights."""
        days = f" over {self.days} days" if self.days else ""
        batteries = f" batteries of {self.battery_days} days" if self.battery_days else ""
        return repr(self) + days + batteries + (f" with faults {self.faults}" if self.faults else "")

    @property
    def ticks(self) -> int:
        """Messages a drone."""
        return sys.maxsize if math.isinf(self.seconds) else int(self.seconds * self.rate + 1e-9)

    @property
    def messages(self) -> int:
        """Messages of all drones."""
        return self.drones * self.ticks

    def begins_us(self, tick: int) -> int:
        """When a tick begins, in microseconds after the start."""
        return int(tick / self.rate * _SECOND_US) + self.pause_us(tick)

    def pause_us(self, tick: int) -> int:
        """How much later a tick begins than it would in one long flight, in microseconds."""
        if self.days is None:
            return 0
        flights = 24 * self.days
        number = tick * flights // self.ticks
        first_tick = -(-number * self.ticks // flights)
        return number * _HOUR_US - int(first_tick / self.rate * _SECOND_US)


@dataclass(frozen=True, kw_only=True)
class Block:
    """Messages in the order of their event times, and the images that belong to them.

    The lists and arrays but ``pictures`` have one entry a message; ``event_us`` is in microseconds since 1970, and
    ``until_us`` where the next block begins; ``capacities`` are those of the batteries, relative to new ones.
    """

    payloads: list[bytes]
    drones: list[str]
    ids: list[str]
    branches: list[str]
    event_us: npt.NDArray[np.int64]
    until_us: int
    pictures: list[Picture]
    capacities: Floats
    faults: Faults
    """Of the whole flight."""


def fly(flight: Flight, *, block_s: float = math.inf, reader: CommandReader | None = None) -> Iterator[Block]:
    """The blocks of a flight; the same for the same arguments, unless a command comes from the ``reader``.

    A block lasts at most ``block_s`` seconds, or one tick if that is longer. Commands take effect at the next block.
    """
    start = flight.start or datetime.now(UTC)
    # Identities depend on all fields: flights with different starts share none.
    flight = replace(flight, start=start)
    rng = np.random.default_rng(flight.seed)
    # Random numbers of their own: the drones fly the same way, whatever their batteries are.
    batteries = Batteries(np.random.default_rng((flight.seed, 2)), flight.drones, flight.battery_days)
    fleet = Fleet(rng, flight.drones, batteries)
    start_us = (start - _EPOCH) // timedelta(microseconds=1)
    writer = _Writer(flight, rng, start_us)
    # Each drone publishes at its own moment of a tick. The numbers follow that order, the names another.
    phases = np.sort(rng.random(flight.drones))
    sequences = np.zeros(flight.drones, dtype=np.int64)
    block_ticks = max(1, int(min(_BLOCK_MESSAGES // flight.drones, block_s * flight.rate)))
    numbers = {name: number for number, name in enumerate(writer.names)}
    for first in range(0, flight.ticks, block_ticks):
        if reader is not None:
            _obey(reader, fleet, numbers, start_us + flight.begins_us(first))
        ticks = range(first, min(first + block_ticks, flight.ticks))
        states = []
        for tick in ticks:
            fleet.drain = writer.faults.drain(start_us + flight.begins_us(tick))
            fleet.step(1 / flight.rate)
            sequences = np.where(rng.random(flight.drones) < _REBOOTS_A_MESSAGE, 1, sequences + 1)
            states.append((*fleet.position.T, fleet.altitude_m, fleet.battery_pct, sequences, batteries.capacity))
        moments = (np.array(ticks)[:, None] + phases).ravel() / flight.rate
        pauses_us = np.repeat([flight.pause_us(tick) for tick in ticks], flight.drones)
        yield writer.block(
            first * flight.drones,
            [np.concatenate(column) for column in zip(*states, strict=True)],
            start_us + (moments * _SECOND_US).astype(np.int64) + pauses_us,
            start_us + flight.begins_us(ticks.stop),
            fleet.silent,
        )


def _obey(reader: CommandReader, fleet: Fleet, numbers: Mapping[str, int], now_us: int) -> None:
    known = [command for command in reader.take() if command.drone_id in numbers]
    for command in known:
        order = fleet.recall if command.command == "return" else fleet.hold
        order(numbers[command.drone_id])
    if known:
        (now,) = _rfc3339(np.array([now_us]))
        reader.confirm(known, now)


class _Writer:
    """Turns the states of drones into messages."""

    def __init__(self, flight: Flight, rng: np.random.Generator, start_us: int) -> None:
        self._flight = flight
        self._rng = rng
        self._identities = Identities(flight.identity)
        self.names = [f"drone-{number + 1:04d}" for number in rng.permutation(flight.drones).tolist()]
        self._speaks_v0 = rng.permutation(np.arange(flight.drones) < round(flight.v0_share * flight.drones)).tolist()
        codes = city.code_weights()
        self._codes = quantile_table(list(codes.values()), 65_536)
        self._code_numbers = np.array(list(codes))
        self._plates = Plates()
        seconds = 3600.0 if math.isinf(flight.seconds) else flight.begins_us(flight.ticks) / _SECOND_US
        # Random numbers of their own: the flight is the same until a fault begins.
        self.faults = Faults(np.random.default_rng((flight.seed, 3)), self.names, flight.faults, start_us, seconds)

    def block(
        self,
        first: int,
        states: list[npt.NDArray[Any]],
        event_us: npt.NDArray[np.int64],
        until_us: int,
        silent: npt.NDArray[np.bool_],
    ) -> Block:
        """Messages from number ``first`` on; ``states`` are latitude, longitude, altitude, battery, sequence and
        capacity, ``silent`` marks the drones that report no violations."""
        count = len(event_us)
        ticks = count // self._flight.drones
        latitude, longitude, altitude, battery, sequence, capacities = states
        drones, v0 = self.names * ticks, self._speaks_v0 * ticks
        ids = self._identities.of(np.arange(first, first + count, dtype=np.uint64))
        shown_us = event_us + self.faults.clock_us(event_us)
        times = _rfc3339(shown_us)
        violation = (self._rng.random(count) < self._flight.violation_share) & ~np.tile(silent, ticks)
        codes, plates, has_image = self._violations(violation)
        rows = zip(
            drones,
            ids,
            sequence.tolist(),
            shown_us.tolist(),
            times,
            (latitude + self.faults.jump(event_us)).round(6).tolist(),
            longitude.round(6).tolist(),
            altitude.round(1).tolist(),
            battery.round(1).tolist(),
            codes,
            plates,
            strict=True,
        )
        payloads = [(_v0_payload if old else _v1_payload)(*row) for old, row in zip(v0, rows, strict=True)]
        speaks = self.faults.speaks(event_us)
        pictures = []
        for place in np.flatnonzero(has_image & speaks).tolist():
            at_us = int(event_us[place])
            time = _epoch(int(shown_us[place])) if v0[place] else times[place]
            name = _image_id(ids[place])
            pictures.append(Picture(at_us, name, time, v0[place], drones[place], plates[place] or ""))
        ids = [
            v0_message_id(payload) if old else identity
            for old, identity, payload in zip(v0, ids, payloads, strict=True)
        ]
        branches = [_BRANCHES.get(code, "qualified") for code in codes]
        if not speaks.all():
            sent = speaks.tolist()
            payloads, drones = list(compress(payloads, sent)), list(compress(drones, sent))
            ids, branches = list(compress(ids, sent)), list(compress(branches, sent))
            event_us, capacities = event_us[speaks], capacities[speaks]
        return Block(
            payloads=payloads,
            drones=drones,
            ids=ids,
            branches=branches,
            event_us=event_us,
            until_us=until_us,
            pictures=self.faults.sent(pictures),
            capacities=capacities,
            faults=self.faults,
        )

    def _violations(
        self, violation: npt.NDArray[np.bool_]
    ) -> tuple[list[int | None], list[str | None], npt.NDArray[np.bool_]]:
        """The code and the plate of each message, None where it is no violation, and whether it has an image."""
        rng = self._rng
        count = int(violation.sum())
        unqualified = rng.random(count) < self._flight.unqualified_share
        codes, plates = np.full((2, len(violation)), None, dtype=object)
        codes[violation] = np.where(unqualified, UNQUALIFIED, self._code_numbers[draw(rng, self._codes, count)])
        has_image = np.zeros(len(violation), dtype=np.bool_)
        share = self._flight.image_share
        has_image[violation] = (rng.random(count) < share) | (unqualified & (share > 0))
        plates[violation] = self._plates.draw(rng, count).to_pylist()
        return codes.tolist(), plates.tolist(), has_image


def _v0_payload(
    drone: str,
    identity: str,
    _sequence: int,
    event_us: int,
    _time: str,
    latitude: float,
    longitude: float,
    altitude: float,
    _battery: float,
    code: int | None,
    _plate: str | None,
) -> bytes:
    """The text line of the first system."""
    line = f"{latitude};{longitude};{altitude};{_epoch(event_us)};{drone};raw"
    return (line if code is None else f"{line};{code};{_image_id(identity)}").encode()


def _v1_payload(
    drone: str,
    identity: str,
    sequence: int,
    _event_us: int,
    time: str,
    latitude: float,
    longitude: float,
    altitude: float,
    battery: float,
    code: int | None,
    plate: str | None,
) -> bytes:
    """The JSON message."""
    return _ENCODE(
        DroneMessage(
            schema_version=SCHEMA_VERSION,
            message_id=identity,
            drone_id=drone,
            sequence=sequence,
            event_time=time,
            latitude=latitude,
            longitude=longitude,
            altitude_m=altitude,
            battery_pct=battery,
            kind="position" if code is None else "violation",
            status="raw",
            violation_code=code,
            plate_id=plate,
            image_id=None if code is None else _image_id(identity),
        )
    )


def _image_id(message_id: str) -> str:
    return f"img-{message_id}"


def _epoch(event_us: int) -> str:
    """Seconds since 1970, as the text line has them."""
    return f"{event_us // _SECOND_US}.{event_us % _SECOND_US:06d}"


def _rfc3339(event_us: npt.NDArray[np.int64]) -> list[str]:
    seconds, micros = np.divmod(event_us, _SECOND_US)
    starts = {second: f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}." for second in set(seconds.tolist())}
    return [f"{starts[second]}{rest:06d}Z" for second, rest in zip(seconds.tolist(), micros.tolist(), strict=True)]
