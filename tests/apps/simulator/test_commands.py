"""A drone obeys the commands that it gets by name, and confirms them; the others fly on."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Literal

import msgspec
import numpy as np
import pytest

from apps.simulator.command import main
from apps.simulator.fleet.drones import Fleet
from apps.simulator.fleet.flight import Block, Flight, fly
from apps.simulator.transport.command_reader import CommandReader
from apps.simulator.transport.sink import Sink
from schemas.commands import Command, Confirmation
from schemas.messages import DroneMessage

RATE = 4
FLIGHT = Flight(drones=5, seconds=600, rate=RATE, seed=1, start=None, violation_share=0.5)


class _Said(Sink):
    """Keeps what was published."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, str]] = []

    def write(self, payloads: Sequence[bytes], keys: Sequence[str]) -> None:
        self.sent += zip(payloads, keys, strict=True)

    def waiting(self) -> int:
        return 0

    def finish(self) -> None: ...

    def close(self) -> None: ...


class _Commands(CommandReader):
    """Gives what is put into it."""

    def __init__(self) -> None:
        self.sink = _Said()
        super().__init__(self.sink)
        self.coming: list[bytes] = []

    def _payloads(self) -> Sequence[bytes]:
        coming, self.coming = self.coming, []
        return coming

    def close(self) -> None: ...

    def tell(self, drone: str, order: Literal["return", "hold"], name: str = "c1") -> None:
        command = Command(command_id=name, drone_id=drone, command=order, time="2026-01-15T12:00:00Z")
        self.coming.append(msgspec.json.encode(command))


@pytest.fixture
def reader() -> _Commands:
    return _Commands()


def messages(blocks: Iterator[Block], n: int) -> list[DroneMessage]:
    """What is said in so many blocks of a second."""
    return [msgspec.json.decode(p, type=DroneMessage) for block in islice(blocks, n) for p in block.payloads]


def of(sent: list[DroneMessage], drone: str) -> list[DroneMessage]:
    return [message for message in sent if message.drone_id == drone]


def places(sent: list[DroneMessage]) -> set[tuple[float, float]]:
    return {(message.latitude, message.longitude) for message in sent}


def test_a_drone_that_returns_reports_no_violation_and_stays_in_its_dock(reader: _Commands) -> None:
    blocks = fly(FLIGHT, block_s=1, reader=reader)
    before = messages(blocks, 20)
    reader.tell("drone-0002", "return")
    after = messages(blocks, 500)
    for drone in ("drone-0001", "drone-0002"):
        kinds = {message.kind for message in of(after, drone)}
        assert kinds == ({"position"} if drone == "drone-0002" else {"position", "violation"})
        assert {message.kind for message in of(before, drone)} == {"position", "violation"}
    landed = of(after, "drone-0002")[-400:]
    assert len(places(landed)) == 1
    assert {message.altitude_m for message in landed} == {0.0}
    assert places(landed) != places(of(after, "drone-0002")[:1]), "it flew there"


def test_a_holding_drone_stays_and_keeps_reporting(reader: _Commands) -> None:
    blocks = fly(FLIGHT, block_s=1, reader=reader)
    messages(blocks, 5)
    reader.tell("drone-0003", "hold")
    held = messages(blocks, 60)
    assert len(places(of(held, "drone-0003"))) == 1
    assert {message.kind for message in of(held, "drone-0003")} == {"position", "violation"}
    assert len(places(of(held, "drone-0001"))) > 100


def test_the_last_command_wins(reader: _Commands) -> None:
    blocks = fly(FLIGHT, block_s=1, reader=reader)
    reader.tell("drone-0001", "return", "c1")
    reader.tell("drone-0001", "hold", "c2")
    sent = messages(blocks, 30)
    assert {message.kind for message in of(sent, "drone-0001")} == {"position", "violation"}
    assert len(reader.sink.sent) == 2


def test_a_command_is_confirmed_when_it_takes_effect(reader: _Commands) -> None:
    blocks = fly(FLIGHT, block_s=1, reader=reader)
    messages(blocks, 3)
    reader.tell("drone-0004", "return", "c7")
    reader.tell("nobody", "return", "c8")
    sent = messages(blocks, 1)
    ((payload, key),) = reader.sink.sent
    confirmation = msgspec.json.decode(payload, type=Confirmation)
    assert (confirmation.command_id, confirmation.drone_id, confirmation.command, key) == (
        "c7", "drone-0004", "return", "drone-0004",
    )  # fmt: skip
    assert confirmation.time <= min(message.event_time for message in sent)


@pytest.mark.parametrize(
    "payload", [b"", b"\xff", b"{}", b'{"command_id":"c","drone_id":"drone-0001","command":"fall","time":""}']
)
def test_an_invalid_command_is_reported_and_skipped(
    reader: _Commands, payload: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reader.coming = [payload]
    assert messages(fly(FLIGHT, block_s=1, reader=reader), 1)
    assert "not a command" in caplog.text
    assert not reader.sink.sent


def test_without_commands_a_reader_changes_nothing(reader: _Commands) -> None:
    flight = replace(FLIGHT, start=datetime(2026, 1, 15, tzinfo=UTC), seconds=30)
    assert [b.payloads for b in fly(flight, reader=reader)] == [b.payloads for b in fly(flight)]


def test_a_holding_drone_returns_before_its_battery_is_empty() -> None:
    fleet = Fleet(np.random.default_rng(1), 1)
    fleet.hold(0)
    for _ in range(4 * 360):
        fleet.step(10)
        assert fleet.battery_pct[0] > 0
    assert fleet.battery_pct[0] > 10


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--commands", "kafka://h:1/c"], "--live"),
        (["--live", "--confirmations", "kafka://h:1/c"], "--confirmations needs --commands"),
        (["--live", "--commands", "file:c"], "not a topic"),
        (["--live", "--commands", "kafka://h:1/d"], "same place"),
        (["--live", "--days", "7"], "--days is not for --live"),
        (["--days", "1", "--seconds", "86401"], "--seconds is longer than --days"),
    ],
)
def test_contradicting_options_are_refused(flags: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["drones", "--drones", "1", "--seconds", "1", "--output", "kafka://h:1/d", *flags])
    assert expected in capsys.readouterr().err
