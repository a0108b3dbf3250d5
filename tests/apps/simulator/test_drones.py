"""Simulated drone messages: their content, the mishaps on the way, and the truth, against an independent decoder."""

import base64
import json
import math
import os
import re
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from apps.simulator.arguments import DUPLICATE_WITHIN_S
from apps.simulator.command import main
from apps.simulator.fleet.drones import BEATS, FASTEST_M_S
from apps.simulator.fleet.flight import Flight
from apps.simulator.fleet.mishaps import Mishaps
from apps.simulator.fleet.publish import Outputs, write_drones
from schemas.messages import MAX_BYTES, MAX_DEPTH, MAX_EXTRA_FIELDS, DroneMessage, v0_message_id
from terminal import logs
from tests.logs import own_log
from tests.support import wait_until

START = datetime(2026, 1, 15, 12, tzinfo=UTC)
FLIGHT = Flight(drones=100, seconds=100, rate=2, seed=1, start=START)
FIELDS = DroneMessage.__struct_fields__

Truth = list[tuple[int, str | None, str]]


def written(
    folder: Path, flight: Flight = FLIGHT, mishaps: Mishaps | None = None, images: Path | None = None
) -> tuple[list[bytes], Truth]:
    """The lines, and (line, message_id, branch) of each."""
    output = folder / "drones.jsonl"
    outputs = Outputs(messages=output, images=images)
    count = write_drones(flight, mishaps or Mishaps(), outputs, quiet=True).messages
    *lines, end = output.read_bytes().split(b"\n")
    assert end == b""
    truth = pq.read_table(folder / "drones.jsonl.truth.parquet")
    assert truth.column_names == ["line", "message_id", "branch", "battery_capacity"]
    assert count == len(lines) == len(truth)
    assert truth["line"].to_pylist() == list(range(len(lines)))
    return lines, [tuple(row.values()) for row in truth.drop_columns("battery_capacity").to_pylist()]


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[bytes], Truth]:
    """A flight without mishaps: 20,000 messages."""
    return written(tmp_path_factory.mktemp("calm"))


@pytest.fixture(scope="module")
def messages(calm: tuple[list[bytes], Truth]) -> list[DroneMessage]:
    decoder = msgspec.json.Decoder(DroneMessage)
    return [decoder.decode(line) for line in calm[0]]


def moment(message: DroneMessage) -> float:
    return datetime.fromisoformat(message.event_time).timestamp()


def by_drone(messages: list[DroneMessage]) -> dict[str, list[DroneMessage]]:
    drones = defaultdict(list)
    for message in messages:
        drones[message.drone_id].append(message)
    return drones


def test_every_drone_publishes_at_the_requested_rate(messages: list[DroneMessage]) -> None:
    drones = by_drone(messages)
    assert len(drones) == FLIGHT.drones
    assert {len(sent) for sent in drones.values()} == {200}
    assert all(re.fullmatch(r"drone-\d{4}", name) for name in drones)
    times = [moment(message) for message in messages]
    assert times == sorted(times)
    assert START.timestamp() <= times[0] < times[-1] < START.timestamp() + FLIGHT.seconds
    assert all(re.fullmatch(r"2026-01-15T12:0\d:\d\d\.\d{6}Z", message.event_time) for message in messages)


def test_a_flight_over_days_begins_each_hour_with_a_short_flight(tmp_path: Path) -> None:
    lines, truth = written(tmp_path, replace(FLIGHT, drones=3, seconds=240, rate=1, days=2))
    decoder = msgspec.json.Decoder(DroneMessage)
    messages = [decoder.decode(line) for line in lines]
    seconds = [moment(message) - START.timestamp() for message in messages]
    assert seconds == sorted(seconds)
    hours = Counter(int(second // 3600) for second in seconds)
    assert hours == dict.fromkeys(range(48), 3 * 5)
    assert all(second % 3600 < 5 for second in seconds)
    once = {identity for _, identity, _ in written(tmp_path, replace(FLIGHT, drones=3, seconds=240, rate=1))[1]}
    assert not once & {identity for _, identity, _ in truth}


@pytest.mark.parametrize("ticks", [5, 100])
def test_a_flight_over_days_has_all_its_messages_however_few_they_are(tmp_path: Path, ticks: int) -> None:
    flight = replace(FLIGHT, drones=2, seconds=ticks, rate=1, days=7)
    lines, _ = written(tmp_path, flight, Mishaps(disorder_s=5, duplicates=0.5))
    assert len(set(lines)) == 2 * ticks
    begins = [flight.begins_us(tick) for tick in range(ticks + 1)]
    assert begins == sorted(begins)
    assert begins[-1] == 7 * 24 * 3_600_000_000


def test_messages_are_compact_json_in_the_order_of_the_fields(calm: tuple[list[bytes], Truth]) -> None:
    for line in calm[0]:
        fields = json.loads(line)
        assert list(fields) == [name for name in FIELDS if name in fields]
        assert json.dumps(fields, separators=(",", ":")).encode() == line


def test_drones_fly_over_land_at_the_speed_of_drones(messages: list[DroneMessage]) -> None:
    for sent in by_drone(messages).values():
        beats = [
            beat for beat in BEATS
            if all(beat[0] <= at.latitude <= beat[1] and beat[2] <= at.longitude <= beat[3] for at in sent)
        ]  # fmt: skip
        assert len(beats) == 1
        for before, after in pairwise(sent):
            north = (after.latitude - before.latitude) * 111_320
            east = (after.longitude - before.longitude) * 111_320 * math.cos(math.radians(40.7))
            seconds = moment(after) - moment(before)
            # Six decimals are a tenth of a metre.
            assert math.hypot(north, east) <= FASTEST_M_S * seconds + 0.3
    assert all(0 <= message.battery_pct <= 100 and 0 <= message.altitude_m < 125 for message in messages)


def test_batteries_drain_and_are_charged_again(tmp_path: Path) -> None:
    lines, _ = written(tmp_path, replace(FLIGHT, drones=5, seconds=10_000, rate=0.1))
    for sent in by_drone([msgspec.json.decode(line, type=DroneMessage) for line in lines]).values():
        charge = [message.battery_pct for message in sent]
        steps = [after - before for before, after in pairwise(charge)]
        assert min(steps) < 0 < max(steps)
        assert min(charge) > 0


def test_one_message_in_ten_is_a_violation_and_one_of_these_in_a_hundred_unqualified(
    calm: tuple[list[bytes], Truth], messages: list[DroneMessage]
) -> None:
    branches = Counter(branch for _, _, branch in calm[1])
    violations = branches["qualified"] + branches["unqualified"]
    assert violations / len(messages) == pytest.approx(0.1, abs=0.006)
    assert branches["unqualified"] / violations == pytest.approx(0.01, abs=0.006)
    for message, (_, message_id, branch) in zip(messages, calm[1], strict=True):
        assert message.message_id == message_id
        code = message.violation_code
        if code is None:
            assert (message.kind, branch) == ("position", "positions")
            assert message.plate_id is None
            assert message.image_id is None
        else:
            assert (message.kind, branch) == ("violation", "qualified" if code else "unqualified")
            assert message.plate_id
            assert message.image_id


def test_codes_are_as_skewed_as_the_citys(tmp_path: Path) -> None:
    lines, _ = written(tmp_path, replace(FLIGHT, violation_share=1.0, unqualified_share=0.0))
    codes = Counter(msgspec.json.decode(line, type=DroneMessage).violation_code for line in lines)
    assert set(codes) == set(range(1, 100))
    # Published for the fiscal year 2015, of 11.8 million. The tolerance is four standard deviations.
    for code, published in {21: 1_629_440, 38: 1_417_322, 14: 987_511, 36: 839_184, 37: 795_181}.items():
        assert codes[code] / len(lines) == pytest.approx(published / 11_800_000, abs=0.01)


def test_identities_are_unique_and_sequences_start_again(messages: list[DroneMessage], tmp_path: Path) -> None:
    ids = {message.message_id for message in messages}
    assert len(ids) == len(messages)
    assert all(re.fullmatch(r"[0-9a-f]{32}", identity) for identity in ids)
    reboots = 0
    for sent in by_drone(messages).values():
        assert sent[0].sequence == 1
        for before, after in pairwise(sent):
            assert after.sequence in (1, before.sequence + 1)
            reboots += after.sequence == 1
    assert 0 < reboots < 100
    _, other = written(tmp_path, replace(FLIGHT, start=START.replace(hour=13)))
    assert not ids & {identity for _, identity, _ in other}


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    mishaps = Mishaps(duplicates=0.1, disorder_s=3, late_share=0.1, late_s=20, corrupt=0.1)

    def made(name: str, seed: int) -> list[bytes]:
        folder = tmp_path / name
        folder.mkdir()
        written(folder, replace(FLIGHT, seconds=10, seed=seed, v0_share=0.5), mishaps, folder / "images.jsonl")
        return [path.read_bytes() for path in sorted(folder.iterdir())]

    first = made("a", 1)
    assert len(first) == 3
    assert made("b", 1) == first
    assert all(one != other for one, other in zip(first, made("c", 2), strict=True))


def test_a_share_of_the_drones_publishes_v0_lines(tmp_path: Path) -> None:
    lines, truth = written(tmp_path, replace(FLIGHT, seconds=20, v0_share=0.25))
    old = [(line, *row) for line, row in zip(lines, truth, strict=True) if not line.startswith(b"{")]
    assert len(old) == len(lines) / 4
    for line, _, message_id, branch in old:
        assert message_id == v0_message_id(line)
        latitude, longitude, height, epoch, drone, status, *violation = line.decode().split(";")
        assert 40 < float(latitude) < 41
        assert -75 < float(longitude) < -73
        assert 0 <= float(height) < 125
        assert 0 <= float(epoch) - START.timestamp() < 20
        assert drone.startswith("drone-")
        assert status == "raw"
        if branch == "positions":
            assert not violation
        else:
            assert (violation[0] == "0") == (branch == "unqualified")
            assert violation[1].startswith("img-")


def test_duplicates_are_the_identical_bytes_published_later(calm: tuple[list[bytes], Truth], tmp_path: Path) -> None:
    lines, truth = written(tmp_path, mishaps=Mishaps(duplicates=0.05))
    again = [(number, identity) for number, identity, branch in truth if branch == "duplicates"]
    assert len(again) / len(calm[0]) == pytest.approx(0.05, abs=0.01)
    first = {identity: number for number, identity, branch in reversed(truth) if branch != "duplicates"}
    for number, identity in again:
        assert first[identity] < number
        assert lines[first[identity]] == lines[number]
        # Nothing else is delayed: what stands around a duplicate says when it was published.
        published = moment(msgspec.json.decode(lines[number - 1], type=DroneMessage))
        seen = moment(msgspec.json.decode(lines[number], type=DroneMessage))
        assert published - seen < 2 * DUPLICATE_WITHIN_S
    assert [line for line, row in zip(lines, truth, strict=True) if row[2] != "duplicates"] == calm[0]


def test_duplicates_may_come_an_hour_later(tmp_path: Path) -> None:
    flight = replace(FLIGHT, seconds=5000, rate=0.1)
    lines, truth = written(tmp_path, flight, Mishaps(duplicates=0.05, duplicates_within_s=3600))
    first: dict[str | None, int] = {}
    published = START.timestamp()
    distances = []
    for line, (number, identity, branch) in zip(lines, truth, strict=True):
        seen = moment(msgspec.json.decode(line, type=DroneMessage))
        if branch == "duplicates":
            assert lines[first[identity]] == line
            distances.append(published - seen)
        else:
            first[identity] = number
            published = seen
    assert len(first) == flight.messages
    # When a duplicate is published, what stands before it says; behind the last message, that clock stands still.
    assert 3000 < max(distances) <= 3600
    assert sum(distance > 1000 for distance in distances) > len(distances) / 2


def test_disorder_is_bounded(calm: tuple[list[bytes], Truth], tmp_path: Path) -> None:
    lines, _ = written(tmp_path, mishaps=Mishaps(disorder_s=4))
    assert lines != calm[0]
    assert sorted(lines) == sorted(calm[0])
    latest = 0.0
    overtaken = []
    for line in lines:
        at = moment(msgspec.json.decode(line, type=DroneMessage))
        overtaken.append(latest - at)
        latest = max(latest, at)
    assert 3 < max(overtaken) <= 4


def test_late_messages_come_that_much_later(calm: tuple[list[bytes], Truth], tmp_path: Path) -> None:
    lines, _ = written(tmp_path, mishaps=Mishaps(late_share=0.05, late_s=30))
    assert sorted(lines) == sorted(calm[0])
    latest = 0.0
    late = []
    for line in lines:
        at = moment(msgspec.json.decode(line, type=DroneMessage))
        if at < latest:
            late.append(latest - at)
        latest = max(latest, at)
    assert len(late) / len(lines) == pytest.approx(0.05, abs=0.01)
    # After the last message that is not late, the clock that is read here stands still.
    assert max(late) <= 30
    assert sorted(late)[len(late) // 2] == pytest.approx(30, abs=0.1)


# A slow reader of one payload, written from the contract alone.


def read_v1(payload: bytes) -> None:
    """Raises ValueError if ``payload`` is no message."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    def refuse(text: str) -> None:
        raise ValueError(text)

    def depth(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    if len(payload) > MAX_BYTES:
        raise ValueError("too large")
    fields = json.loads(payload.decode(), object_pairs_hook=unique, parse_constant=refuse)
    if not isinstance(fields, dict):
        raise ValueError("not an object")
    extra = {name: value for name, value in fields.items() if name not in FIELDS}
    if len(extra) > MAX_EXTRA_FIELDS or any(depth(value) > MAX_DEPTH for value in extra.values()):
        raise ValueError("too much")
    known = msgspec.convert({name: value for name, value in fields.items() if name in FIELDS}, DroneMessage)
    known.drone_id.encode()
    if datetime.fromisoformat(known.event_time).tzinfo != UTC:
        raise ValueError("not UTC")
    if not (abs(known.latitude) <= 90 and abs(known.longitude) <= 180 and 0 <= known.sequence < 2**63):
        raise ValueError("out of range")
    if known.violation_code is not None and not 0 <= known.violation_code <= 99:
        raise ValueError("no such code")


def read_v0(payload: bytes) -> None:
    parts = payload.decode().split(";")
    if len(parts) not in (6, 8):
        raise ValueError("fields")
    if not (abs(float(parts[0])) <= 90 and abs(float(parts[1])) <= 180):
        raise ValueError("out of range")


def is_readable(payload: bytes) -> bool:
    try:
        (read_v0 if re.match(rb"[-\d]", payload) else read_v1)(payload)
    except ValueError:
        return False
    return True


def test_corrupt_payloads_are_dead_letters_and_no_others(tmp_path: Path) -> None:
    flight = replace(FLIGHT, seconds=50, v0_share=0.2)
    lines, truth = written(tmp_path, flight, Mishaps(corrupt=0.1, duplicates=0.05))
    branches = Counter(branch for _, _, branch in truth)
    assert branches["dead_letters"] / flight.messages == pytest.approx(0.1, abs=0.015)
    seen = set[str]()
    for line, (_, identity, branch) in zip(lines, truth, strict=True):
        assert is_readable(line) == (branch != "dead_letters"), line[:400]
        assert (identity is None) == (branch == "dead_letters")
        if identity is not None:
            assert (identity in seen) == (branch == "duplicates")
            seen.add(identity)
    dead = Counter(line for line, row in zip(lines, truth, strict=True) if row[2] == "dead_letters")
    # What is cut very short may be the same by chance.
    assert {count for line, count in dead.items() if line.startswith(b'{"schema_version":1,"message_id":"')} == {1, 2}
    assert b"" in lines
    unknown = [row[2] for line, row in zip(lines, truth, strict=True) if b'"firmware":' in line]
    assert {"positions", "qualified"} <= set(unknown)


def test_every_violation_has_its_image(tmp_path: Path) -> None:
    flight = replace(FLIGHT, seconds=20, v0_share=0.2)
    lines, _ = written(tmp_path, flight, images=tmp_path / "images.jsonl")
    image_ids = {found[0] for line in lines if (found := re.findall(rb"img-[0-9a-f]{32}", line))}
    pictures = {}
    for line in (tmp_path / "images.jsonl").read_bytes().splitlines():
        if line.startswith(b"{"):
            image = json.loads(line)
            assert list(image) == ["schema_version", "image_id", "event_time", "data"]
            datetime.fromisoformat(image["event_time"])
            name, data = image["image_id"].encode(), image["data"]
        else:
            epoch, name, data = line.split(b";")
            assert 0 <= float(epoch) - START.timestamp() < 20
        pictures[name] = base64.b64decode(data, validate=True)
    assert set(pictures) == image_ids
    assert len(set(pictures.values())) == len(image_ids)
    assert all(picture.startswith(b"\xff\xd8\xff") and picture.endswith(b"\xff\xd9") for picture in pictures.values())


def test_some_images_of_qualified_violations_can_be_missing(tmp_path: Path) -> None:
    flight = replace(FLIGHT, image_share=0.5, unqualified_share=0.1)
    lines, _ = written(tmp_path, flight, images=tmp_path / "images.jsonl")
    messages = [json.loads(line) for line in lines if line.startswith(b"{")]
    sent = (tmp_path / "images.jsonl").read_bytes()
    unqualified = [message["image_id"] for message in messages if message.get("violation_code") == 0]
    qualified = [message["image_id"] for message in messages if message.get("violation_code")]
    assert unqualified
    assert all(name.encode() in sent for name in unqualified)
    # The image_id of a message without an image is still there, as of one that is lost on its way.
    assert sum(name.encode() in sent for name in qualified) / len(qualified) == pytest.approx(0.5, abs=0.05)


def test_the_truth_of_a_file_may_be_written_elsewhere(tmp_path: Path) -> None:
    assert run(f"file:{tmp_path / 'drones.jsonl'}", "--truth", str(tmp_path / "truth"), "--quiet") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["drones.jsonl", "truth"]


def run(output: str, *more: str) -> int:
    return main(["drones", "--drones", "3", "--seconds", "5", "--rate", "2", "--output", output, *more])


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with own_log():
        logs.set_up()  # as the command does
        assert run(f"file:{tmp_path / 'drones.jsonl'}") == 0
        assert re.search(r"30 messages in .* a second\n$", capsys.readouterr().err)
        assert run(f"file:{tmp_path / 'quiet.jsonl'}", "--quiet") == 0
        assert capsys.readouterr().err == ""
    assert (tmp_path / "drones.jsonl").read_bytes().count(b"\n") == 30
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    ("output", "more", "expected"),
    [
        ("kafka:drones", [], "kafka://HOST:PORT/TOPIC"),
        ("drones.jsonl", [], "file:PATH"),
        ("file:a", ["--images", "file:a"], "same place"),
        ("kafka://a:1/t", ["--images", "kafka://a:1/t"], "same place"),
        ("file:a", ["--truth", "a"], "same place"),
        ("file:a", ["--live"], "--live needs a topic"),
        ("file:a", ["--image-bytes", "100"], "--images"),
        ("file:a", ["--images", "file:b", "--image-bytes", "99999999"], "--image-bytes"),
        ("kafka://a:1/t?sasl.password=hush", [], "KAFKA_SASL_PASSWORD"),
        ("pubsub://p", [], "pubsub://PROJECT/NAME"),
        ("file:a", ["--duplicates-within", "3601"], "--duplicates-within"),
        ("file:a", ["--late-share", "0.1"], "--late"),
        ("file:a", ["--corrupt", "1.5"], "--corrupt"),
        ("file:a", ["--rate", "0"], "--rate"),
        ("file:a", ["--drones", "0"], "--drones"),
        ("file:a", ["--start", "2026-01-15T12:00:00"], "zone"),
    ],
)
def test_wrong_arguments_exit_2(
    output: str, more: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(output, *more)
    assert stopped.value.code == 2
    assert expected in capsys.readouterr().err


def test_a_missing_folder_exits_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"file:{tmp_path}/none/drones.jsonl") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_full_disk_exits_5(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "drones.jsonl.part").symlink_to("/dev/full")
    assert run(f"file:{tmp_path}/drones.jsonl", "--quiet") == 5
    assert capsys.readouterr().err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.embedded
def test_an_interrupted_run_exits_130_and_leaves_nothing(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "prestacop",
        "simulate",
        "drones",
        "--drones",
        "1000",
        "--seconds",
        "1000000",
        "--quiet",
    ]
    command += ["--output", f"file:{tmp_path / 'drones.jsonl'}"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=Path(__file__).parents[3], env=os.environ)
    part = tmp_path / "drones.jsonl.part"
    wait_until(lambda: running.poll() is not None or (part.exists() and part.stat().st_size > 0))
    assert running.poll() is None
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=300)
    assert running.returncode == 130
    assert errors.count(b"\n") == 1
    assert list(tmp_path.iterdir()) == []
