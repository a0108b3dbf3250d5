"""The fleet on Kafka: a broker inside librdkafka takes what it publishes, or goes away."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from confluent_kafka import Message

from apps.simulator.command import main
from apps.simulator.transport import kafka
from schemas.messages import DroneMessage, ImageMessage
from terminal import logs
from tests.apps.topics import MockKafka, consumed
from tests.logs import own_log

FLEET = ["drones", "--drones", "20", "--seconds", "50", "--rate", "2"]
MISHAPS = ["--v0-share", "0.2", "--duplicates", "0.05", "--disorder", "4", "--corrupt", "0.1"]


def publish(output: str, *more: str) -> int:
    return main([*FLEET, "--output", output, *more])


def payload(message: Message) -> bytes:
    value = message.value()
    assert value is not None
    return value


@pytest.fixture(autouse=True)
def log() -> Iterator[None]:
    with own_log():
        logs.set_up()  # as the command does
        yield


def key(message: Message) -> str:
    value = message.key()
    assert value is not None
    return value.decode()


def test_a_topic_gets_the_messages_of_a_file_and_each_drone_in_order(
    mock_kafka: MockKafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(f"file:{tmp_path / 'lines'}", *MISHAPS) == 0
    lines = (tmp_path / "lines").read_bytes().split(b"\n")[:-1]
    capsys.readouterr()
    assert publish(mock_kafka.url("drones"), *MISHAPS, "--truth", str(tmp_path / "truth")) == 0
    printed = capsys.readouterr().err
    assert re.fullmatch(r"simulator: 2,\d\d\d messages in .* s, .* a second, all acknowledged\n", printed)
    assert (tmp_path / "truth").read_bytes() == (tmp_path / "lines.truth.parquet").read_bytes()

    places = {line: place for place, line in enumerate(lines)}
    partitions, published = defaultdict(set), defaultdict(list)
    messages = consumed(mock_kafka.address, "drones")
    assert sorted(map(payload, messages)) == sorted(lines)
    assert b"" in lines
    for message in messages:
        partitions[key(message)].add(message.partition())
        published[key(message)].append(payload(message))
        # Two names are the dirt that says a key twice.
        names = re.findall(r"drone-\d{4}", payload(message).decode(errors="replace"))
        assert len(names) != 1 or names[0] == key(message)
    assert len(partitions) == 20
    assert {len(found) for found in partitions.values()} == {1}
    for found in published.values():
        once = list(dict.fromkeys(line for line in found if lines.count(line) == 1))
        assert [places[line] for line in once] == sorted(places[line] for line in once)


def test_images_are_published_under_their_names(mock_kafka: MockKafka) -> None:
    assert publish(mock_kafka.url("drones"), "--images", mock_kafka.url("images"), "--image-bytes", "20000") == 0
    messages = [msgspec.json.decode(payload(m), type=DroneMessage) for m in consumed(mock_kafka.address, "drones")]
    images = {key(message): payload(message) for message in consumed(mock_kafka.address, "images")}
    assert set(images) == {message.image_id for message in messages if message.image_id}
    for name, image in images.items():
        assert msgspec.json.decode(image, type=ImageMessage).image_id == name
        assert len(image) > 20_000 * 4 / 3


def test_the_timestamp_of_a_message_is_its_publish_time(mock_kafka: MockKafka) -> None:
    before = time.time()
    assert publish(mock_kafka.url("drones")) == 0
    times = [message.timestamp()[1] / 1000 for message in consumed(mock_kafka.address, "drones")]
    assert before - 0.001 <= min(times) <= max(times) <= time.time()


def test_backpressure_of_a_full_queue_slows_the_simulator_down(mock_kafka: MockKafka) -> None:
    assert publish(mock_kafka.url("drones", "queue.buffering.max.messages=10&linger.ms=0")) == 0
    assert len(consumed(mock_kafka.address, "drones")) == 2000


def test_live_messages_are_published_when_they_are_due(mock_kafka: MockKafka) -> None:
    began = time.time()
    live = ["--drones", "50", "--seconds", "2", "--rate", "10", "--live", "--disorder", "0.5"]
    assert publish(mock_kafka.url("drones"), *live) == 0
    assert time.time() - began >= 2
    messages = consumed(mock_kafka.address, "drones")
    assert len(messages) == 1000
    events = []
    for message in messages:
        event = datetime.fromisoformat(msgspec.json.decode(payload(message), type=DroneMessage).event_time).timestamp()
        events.append(event)
        assert event - 0.001 <= message.timestamp()[1] / 1000  # Kafka cuts milliseconds off
    # They are spread over the flight, however slow the machine is.
    times = [message.timestamp()[1] / 1000 for message in messages]
    assert max(times) - min(times) > 0.5
    assert began <= min(events)
    assert 1.5 < max(events) - min(events) < 2


def test_a_live_fleet_reports_low_throughput(mock_kafka: MockKafka, capsys: pytest.CaptureFixture[str]) -> None:
    # A queue of one message that leaves after 0.1 s: ten a second.
    slow = mock_kafka.url("drones", "queue.buffering.max.messages=1&linger.ms=100")
    live = ["--drones", "25", "--seconds", "1", "--rate", "1", "--live", "--quiet"]
    assert publish(slow, *live) == 0
    printed = capsys.readouterr().err
    assert re.search(
        r"throughput was too low: 25 messages a second were requested, \d+ were published, the last one \d+\.\d s",
        printed,
    )
    assert len(consumed(mock_kafka.address, "drones")) == 25


def test_ctrl_c_ends_an_endless_live_flight_and_writes_the_truth(mock_kafka: MockKafka, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "prestacop",
        "simulate",
        "drones",
        "--drones",
        "50",
        "--rate",
        "10",
        "--seconds",
        "0",
    ]
    command += ["--live", "--truth", str(tmp_path / "truth"), "--output", mock_kafka.url("drones")]
    command += ["--images", f"file:{tmp_path / 'images'}"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=Path(__file__).parents[3], env=os.environ)
    while not consumed(mock_kafka.address, "drones"):
        assert running.poll() is None
        time.sleep(0.2)
    assert {path.suffix for path in tmp_path.iterdir()} == {".part"}
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=300)
    assert running.returncode == 130
    truth = pq.read_table(tmp_path / "truth")["message_id"].to_pylist()
    said = rf"simulator: the fleet flies\nsimulator: {len(truth):,} messages .* all acknowledged\n"
    assert re.fullmatch(said, errors.decode())
    messages = [msgspec.json.decode(payload(m), type=DroneMessage) for m in consumed(mock_kafka.address, "drones")]
    assert sorted(truth) == sorted(message.message_id for message in messages)
    images = (tmp_path / "images").read_bytes().count(b"\n")
    assert images == sum(message.image_id is not None for message in messages)


def test_the_second_ctrl_c_does_not_wait(mock_kafka: MockKafka, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "prestacop", "simulate", "drones", "--drones", "50", "--seconds", "0", "--live"]
    command += ["--truth", str(tmp_path / "truth"), "--output", mock_kafka.url("drones")]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=Path(__file__).parents[3], env=os.environ)
    while not consumed(mock_kafka.address, "drones"):
        time.sleep(0.2)
    mock_kafka.stop()
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    time.sleep(1)
    assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=300)
    assert running.returncode == 130
    assert errors.decode() == "simulator: the fleet flies\nerror: interrupted, no file was written\n"
    assert list(tmp_path.iterdir()) == []


def test_a_broker_outage_exits_4(mock_kafka: MockKafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threading.Timer(1.0, mock_kafka.stop).start()
    live = ["--live", "--seconds", "60", "--quiet", "--truth", str(tmp_path / "truth")]
    assert publish(mock_kafka.url("drones", "message.timeout.ms=1000"), *live) == 4
    printed = capsys.readouterr().err
    assert re.search(r"kafka://.*/drones does not answer .*timed out", printed)
    assert re.search(r"; \d+ of \d+ messages are not acknowledged\. Check the network", printed)
    assert printed.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_no_broker_exits_4(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(kafka, "_START_S", 1.0)
    assert publish("kafka://127.0.0.1:1/drones") == 4
    printed = capsys.readouterr().err
    assert "kafka://127.0.0.1:1/drones does not answer" in printed
    assert "refused" in printed
    assert printed.count("\n") == 1


def test_a_message_that_is_too_large_exits_3(mock_kafka: MockKafka, capsys: pytest.CaptureFixture[str]) -> None:
    small = mock_kafka.url("images", "message.max.bytes=1000")
    assert publish(mock_kafka.url("drones"), "--images", small, "--image-bytes", "2000", "--quiet") == 3
    assert "/images: " in (printed := capsys.readouterr().err)
    assert "Raise max.message.bytes" in printed


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("socket.timeout.ms=1", "socket.timeout.ms"),
        ("sasl.mechanisms=PLAIN&security.protocol=SASL_SSL&sasl.username=u", "sasl.password"),
    ],
)
def test_options_that_the_client_refuses_exit_2(
    options: str, expected: str, mock_kafka: MockKafka, capsys: pytest.CaptureFixture[str]
) -> None:
    assert publish(mock_kafka.url("drones", options)) == 2
    assert expected in capsys.readouterr().err
