"""What a fleet has to say, block by block: each drone's messages before anything happens to them on the way."""

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from apps.simulator.city import tickets as city
from apps.simulator.city.plates import Plates
from apps.simulator.city.skew import draw, quantile_table
from apps.simulator.fleet.drones import Fleet
from apps.simulator.fleet.identity import Identities
from apps.simulator.fleet.images import Picture
from apps.simulator.transport.commands import Radio
from schemas.messages import SCHEMA_VERSION, UNQUALIFIED, DroneMessage, v0_message_id

_BLOCK_MESSAGES: Final = 20_000
_REBOOTS_A_MESSAGE: Final = 1 / 2_000
_ENCODE: Final = msgspec.json.Encoder().encode
_SECOND_US: Final = 1_000_000
_BRANCHES: Final = {None: "positions", UNQUALIFIED: "unqualified"}
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Flight:
    """What is flown. ``rate`` is in messages a second a drone, the shares are of drones (``v0_share``), messages
    (``violation_share``), violations (``unqualified_share``, ``image_share``). It can go on for ever (``seconds`` is
    infinite); where ``start`` is None, it takes off when the first block is asked for."""

    drones: int
    seconds: float
    rate: float
    seed: int
    start: datetime | None
    v0_share: float = 0.0
    violation_share: float = 0.1
    unqualified_share: float = 0.01
    image_share: float = 1.0

    @property
    def ticks(self) -> int:
        """Messages a drone."""
        return sys.maxsize if math.isinf(self.seconds) else int(self.seconds * self.rate + 1e-9)

    @property
    def messages(self) -> int:
        """Messages of all drones."""
        return self.drones * self.ticks


@dataclass(frozen=True, kw_only=True)
class Block:
    """Messages in the order of their event times, and the images that belong to them.

    The lists and arrays but ``pictures`` have one entry a message; ``event_us`` is in microseconds since 1970, and
    ``until_us`` where the next block begins.
    """

    payloads: list[bytes]
    drones: list[str]
    ids: list[str]
    branches: list[str]
    event_us: npt.NDArray[np.int64]
    until_us: int
    pictures: list[Picture]


def fly(flight: Flight, *, block_s: float = math.inf, radio: Radio | None = None) -> Iterator[Block]:
    """The blocks of a flight; the same for the same arguments, where no command comes over the ``radio``.

    A block lasts at most ``block_s`` if a tick does not last longer: the clock of a live flight cannot wait for it.
    Commands are obeyed from the beginning of the next block on.
    """
    start = flight.start or datetime.now(UTC)
    # Identities are made of all that a flight says: two that take off at different times share none.
    flight = replace(flight, start=start)
    rng = np.random.default_rng(flight.seed)
    fleet = Fleet(rng, flight.drones)
    writer = _Writer(flight, rng)
    # Each drone speaks at its own moment of a tick. They are numbered in that order, but named in another.
    phases = np.sort(rng.random(flight.drones))
    sequences = np.zeros(flight.drones, dtype=np.int64)
    start_us = (start - _EPOCH) // timedelta(microseconds=1)
    block_ticks = max(1, int(min(_BLOCK_MESSAGES // flight.drones, block_s * flight.rate)))
    numbers = {name: number for number, name in enumerate(writer.names)}
    for first in range(0, flight.ticks, block_ticks):
        if radio is not None:
            begins_us = start_us + int(first / flight.rate * _SECOND_US)
            _obey(radio, fleet, numbers, begins_us)
        ticks = range(first, min(first + block_ticks, flight.ticks))
        states = []
        for _ in ticks:
            fleet.step(1 / flight.rate)
            sequences = np.where(rng.random(flight.drones) < _REBOOTS_A_MESSAGE, 1, sequences + 1)
            states.append((*fleet.position.T, fleet.altitude_m, fleet.battery_pct, sequences))
        moments = (np.array(ticks)[:, None] + phases).ravel() / flight.rate
        yield writer.block(
            first * flight.drones,
            [np.concatenate(column) for column in zip(*states, strict=True)],
            start_us + (moments * _SECOND_US).astype(np.int64),
            start_us + int(ticks.stop / flight.rate * _SECOND_US),
            fleet.silent,
        )


def _obey(radio: Radio, fleet: Fleet, numbers: Mapping[str, int], now_us: int) -> None:
    known = [command for command in radio.take() if command.drone_id in numbers]
    for command in known:
        tell = fleet.recall if command.command == "return" else fleet.hold
        tell(numbers[command.drone_id])
    if known:
        (now,) = _rfc3339(np.array([now_us]))
        radio.confirm(known, now)


class _Writer:
    """Turns the states of drones into messages."""

    def __init__(self, flight: Flight, rng: np.random.Generator) -> None:
        self._flight = flight
        self._rng = rng
        self._identities = Identities(repr(flight))
        self.names = [f"drone-{number + 1:04d}" for number in rng.permutation(flight.drones).tolist()]
        self._old = rng.permutation(np.arange(flight.drones) < round(flight.v0_share * flight.drones)).tolist()
        codes = city.code_weights()
        self._codes = quantile_table(list(codes.values()), 65_536)
        self._code_numbers = np.array(list(codes))
        self._plates = Plates()

    def block(
        self,
        first: int,
        states: list[npt.NDArray[Any]],
        event_us: npt.NDArray[np.int64],
        until_us: int,
        silent: npt.NDArray[np.bool_],
    ) -> Block:
        """Messages from number ``first`` on; ``states`` are latitude, longitude, altitude, battery and sequence,
        ``silent`` says which drones report no violations."""
        count = len(event_us)
        ticks = count // self._flight.drones
        latitude, longitude, altitude, battery, sequence = states
        violation = (self._rng.random(count) < self._flight.violation_share) & ~np.tile(silent, ticks)
        violations = self._violations(int(violation.sum()))
        block = Block(
            payloads=[],
            drones=self.names * ticks,
            ids=[],
            branches=[],
            event_us=event_us,
            until_us=until_us,
            pictures=[],
        )
        rows = zip(
            block.drones,
            self._old * ticks,
            self._identities.of(np.arange(first, first + count, dtype=np.uint64)),
            sequence.tolist(),
            event_us.tolist(),
            _rfc3339(event_us),
            latitude.round(6).tolist(),
            longitude.round(6).tolist(),
            altitude.round(1).tolist(),
            battery.round(1).tolist(),
            violation.tolist(),
            strict=True,
        )
        for name, old, identity, number, micros, time, north, east, height, charge, seen in rows:
            code = plate = image = None
            pictured = False
            if seen:
                code, plate, pictured = next(violations)
                image = f"img-{identity}"
            if old:
                epoch = f"{micros // _SECOND_US}.{micros % _SECOND_US:06d}"
                line = f"{north};{east};{height};{epoch};{name};raw"
                payload = (f"{line};{code};{image}" if seen else line).encode()
            else:
                payload = _ENCODE(
                    DroneMessage(
                        schema_version=SCHEMA_VERSION,
                        message_id=identity,
                        drone_id=name,
                        sequence=number,
                        event_time=time,
                        latitude=north,
                        longitude=east,
                        altitude_m=height,
                        battery_pct=charge,
                        kind="violation" if seen else "position",
                        status="raw",
                        violation_code=code,
                        plate_id=plate,
                        image_id=image,
                    )
                )
            if image and pictured:
                block.pictures.append(Picture(micros, image, epoch if old else time, old))
            block.payloads.append(payload)
            block.ids.append(v0_message_id(payload) if old else identity)
            block.branches.append(_BRANCHES.get(code, "qualified"))
        return block

    def _violations(self, count: int) -> Iterator[tuple[int, str, bool]]:
        """The code and the plate of ``count`` violations, and whether there is an image."""
        rng = self._rng
        unqualified = rng.random(count) < self._flight.unqualified_share
        codes = np.where(unqualified, UNQUALIFIED, self._code_numbers[draw(rng, self._codes, count)])
        pictured = rng.random(count) < self._flight.image_share
        return zip(codes.tolist(), self._plates.draw(rng, count).to_pylist(), pictured.tolist(), strict=True)


def _rfc3339(event_us: npt.NDArray[np.int64]) -> list[str]:
    seconds, micros = np.divmod(event_us, _SECOND_US)
    starts = {second: f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}." for second in set(seconds.tolist())}
    return [f"{starts[second]}{rest:06d}Z" for second, rest in zip(seconds.tolist(), micros.tolist(), strict=True)]
