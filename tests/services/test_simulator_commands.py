"""A live fleet obeys commands from real topics, and confirms them on another."""

import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import msgspec
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from apps.simulator.command import main
from schemas.commands import Command, Confirmation
from schemas.messages import DroneMessage
from tests.services.support import Subscription, make_topic, publish
from tests.support import wait_until

pytestmark = pytest.mark.services

DRONE = "drone-0002"
RETURN = msgspec.json.encode(Command(command_id="c1", drone_id=DRONE, command="return", time="2026-01-15T12:00:00Z"))
OTHER = "drone-0001"
EARLY = RETURN.replace(b"c1", b"before it took off").replace(DRONE.encode(), OTHER.encode())


def in_kafka(broker: str, topic: str) -> list[bytes]:
    """What is in a topic of one partition."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "test", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    found = [message.value() or b"" for message in consumer.consume(10_000, 2)]
    consumer.close()
    return found


def times(messages: Iterable[bytes], drone: str, kind: str) -> list[str]:
    """When a drone sent messages of a kind."""
    sent = [msgspec.json.decode(payload, type=DroneMessage) for payload in messages]
    return [m.event_time for m in sent if m.drone_id == drone and m.kind == kind]


def fly(
    where: Sequence[str],
    command: Callable[[], object],
    sent: Callable[[], list[bytes]],
    confirmed: Callable[[], list[bytes]],
) -> None:
    """A fleet of three is told that drone 2 returns: it says so and reports no more, and the others do."""
    flags = ["--drones", "3", "--rate", "3", "--seconds", "600", "--live", "--violation-share", "0.5", "--quiet"]
    messages, confirmations = set[bytes](), set[bytes]()  # Pub/Sub may give some of them at a time
    with subprocess.Popen([sys.executable, "-m", "prestacop", "simulate", "drones", *flags, *where]) as flying:

        def flies() -> None:
            assert flying.poll() is None

        def has_sent(drone: str, kind: str, after: str, n: int) -> bool:
            messages.update(sent())
            return sum(at > after for at in times(messages, drone, kind)) >= n

        def is_confirmed() -> bool:
            confirmations.update(confirmed())
            return bool(confirmations)

        try:
            wait_until(lambda: has_sent(DRONE, "violation", "", 1), flies)
            command()
            wait_until(is_confirmed, flies)
            (payload,) = confirmations
            told = msgspec.json.decode(payload, type=Confirmation)
            wait_until(lambda: has_sent(OTHER, "violation", told.time, 5), flies)
            wait_until(lambda: has_sent(DRONE, "position", told.time, 5), flies)
            assert is_confirmed()
        finally:
            flying.kill()
    assert (told.command_id, told.drone_id, told.command) == ("c1", DRONE, "return")
    assert len(confirmations) == 1
    assert max(times(messages, DRONE, "violation")) < told.time


def flags(output: str, commands: str, confirmations: str) -> list[str]:
    """Where the fleet sends and hears."""
    return ["--output", output, "--commands", commands, "--confirmations", confirmations]


def test_a_fleet_obeys_kafka(kafka: str) -> None:
    where = flags(*(make_topic(kafka, f"obeying-{name}", 1) for name in ("drones", "told", "confirmed")))
    publish(kafka, "obeying-told", [EARLY])
    fly(
        where,
        lambda: publish(kafka, "obeying-told", [b"no command", RETURN]),
        partial(in_kafka, kafka, "obeying-drones"),
        partial(in_kafka, kafka, "obeying-confirmed"),
    )


def test_a_fleet_obeys_pubsub(pubsub: str) -> None:
    with (
        Subscription("obeying-drones") as drones,
        Subscription("obeying-told") as told,
        Subscription("obeying-confirmed") as confirmed,
    ):
        fly(
            flags(drones.url, told.url, confirmed.url),
            lambda: told.publish([b"no command", RETURN]),
            drones.waiting,
            confirmed.waiting,
        )


@pytest.mark.parametrize("service", ["kafka", "pubsub"])
def test_a_missing_topic_of_commands_is_reported(
    service: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    address = request.getfixturevalue(service)
    if service == "kafka":
        output = make_topic(address, "lonely", 1)
    else:
        with Subscription("lonely") as drones:
            output = drones.url
    nowhere = output.replace("lonely", "nowhere")
    flags = ["--drones", "1", "--seconds", "1", "--live", "--output", output, "--commands", nowhere, "--quiet"]
    assert main(["drones", *flags]) == 3
    assert "nowhere: there is no " in capsys.readouterr().err
