"""A live fleet obeys commands from real topics, and confirms them on another."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from apps.simulator.command import main
from schemas.commands import Command, Confirmation
from schemas.messages import DroneMessage
from tests.services.support import Subscription, make_topic, publish

pytestmark = pytest.mark.services

DRONE = "drone-0002"
RETURN = msgspec.json.encode(Command(command_id="c1", drone_id=DRONE, command="return", time="2026-01-15T12:00:00Z"))
EARLY = RETURN.replace(b"c1", b"before it took off").replace(DRONE.encode(), b"drone-0001")


def in_kafka(broker: str, topic: str) -> list[bytes]:
    """What is in a topic of one partition."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "test", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    found = [message.value() or b"" for message in consumer.consume(10_000, 2)]
    consumer.close()
    return found


def check(messages: list[bytes], confirmations: list[bytes]) -> None:
    """Drone 2 was told to return, and the others were not."""
    (confirmed,) = (msgspec.json.decode(payload, type=Confirmation) for payload in confirmations)
    assert (confirmed.command_id, confirmed.drone_id, confirmed.command) == ("c1", DRONE, "return")
    sent = [msgspec.json.decode(payload, type=DroneMessage) for payload in messages]
    reported = [m for m in sent if m.kind == "violation"]
    assert any(m.drone_id == DRONE and m.event_time < confirmed.time for m in reported)
    assert not any(m.drone_id == DRONE and m.event_time >= confirmed.time for m in reported)
    assert any(m.drone_id == "drone-0001" and m.event_time >= confirmed.time for m in reported)
    assert any(m.drone_id == DRONE and m.event_time >= confirmed.time for m in sent)


def fly(output: str, commands: str, confirmations: str, command: Callable[[], object]) -> None:
    """A fleet of three for some seconds, which is told something meanwhile: seconds before and after are left for a
    machine that is busy."""
    flags = ["--drones", "3", "--rate", "10", "--seconds", "20", "--live", "--violation-share", "0.5", "--quiet"]
    where = ["--output", output, "--commands", commands, "--confirmations", confirmations]
    with ThreadPoolExecutor(1) as pool:
        flying = pool.submit(main, ["drones", *flags, *where])
        time.sleep(6)
        command()
        assert flying.result(300) == 0


def test_a_fleet_obeys_kafka(kafka: str) -> None:
    drones, commands, confirmed = (make_topic(kafka, f"obeying-{name}", 1) for name in ("drones", "told", "confirmed"))
    publish(kafka, "obeying-told", [EARLY])
    fly(drones, commands, confirmed, lambda: publish(kafka, "obeying-told", [b"no command", RETURN]))
    check(in_kafka(kafka, "obeying-drones"), in_kafka(kafka, "obeying-confirmed"))


def test_a_fleet_obeys_pubsub(pubsub: str) -> None:
    names = ("obeying-drones", "obeying-told", "obeying-confirmed")
    with (
        Subscription(names[0]) as drones,
        Subscription(names[1]) as commands_subscription,
        Subscription(names[2]) as confirmed,
    ):
        fly(
            drones.url,
            commands_subscription.url,
            confirmed.url,
            lambda: commands_subscription.publish([b"no command", RETURN]),
        )
        check(drones.waiting(), confirmed.waiting())


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
