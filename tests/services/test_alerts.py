"""The officers' loop over real servers: a violation becomes an alert, a signed answer a row, a forged one none."""

import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from lake import lake
from messaging.urls import KafkaUrl, PubSubUrl, Topic, topic_url
from pipelines.maintenance.reconcile import reconcile
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph
from schemas.alerts import MESSAGE_ID, Alert, decode
from schemas.answers import answer_to, new_key, public_key, save_public_key, sign
from schemas.errors import InputUnusable
from sources.streams import kafka_consumer
from tests.services.support import (
    PROJECT,
    Subscription,
    make_topic,
    payloads_of,
    publish,
    read_up_to_now,
    rows_in,
    run,
)
from tests.services.test_unbounded import follow as follow  # noqa: PLC0414  # a fixture
from tests.support import LOCAL, make_messages
from tests.transforms.alerts.test_channels import WebService
from tests.transforms.alerts.test_channels import service as service  # noqa: PLC0414  # a fixture
from tests.transforms.messages.test_decode import message
from transforms.alerts.channels import open_channel

pytestmark = pytest.mark.services

KEY = new_key()


def alerts_in(broker: str, topic: str, n: int) -> list[tuple[str, Alert]]:
    """The keys and alerts of a topic of one partition, once there are so many, and those that come with them."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "test", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    found: list[tuple[str, Alert]] = []
    end = time.monotonic() + 60
    while len(found) < n and time.monotonic() < end:
        for got in consumer.consume(n + 100, 1):
            key, value = got.key(), got.value()
            assert got.error() is None
            assert isinstance(key, bytes)
            assert value is not None
            found.append((key.decode(), decode(value)))
    consumer.close()
    return found


def answered(alert: Alert, lease: str, code: int = 21, **changes: Any) -> bytes:
    """A signed answer, changed afterwards."""
    at = "2026-01-15T13:00:00.000000Z"
    answer = sign(answer_to(alert, lease=lease, officer_id="kelly", violation_code=code, event_time=at), KEY)
    return msgspec.json.encode(msgspec.structs.replace(answer, **changes))


def unqualified_in(recording: Path) -> list[str]:
    """The message_ids that an officer must look at."""
    messages = [msgspec.json.decode(payload) for payload in payloads_of(recording)]
    return sorted(m["message_id"] for m in messages if m.get("violation_code") == 0)


def read_with_officers(root: Path, messages: str, alerts: str) -> None:
    """Up to now, as the command does with a key and a topic of alerts."""
    to = Settings(str(root), 3600, officer_keys=(public_key(KEY),), alerts=(topic_url(alerts),))
    try:
        run_graph(ReadOptions(None, topic_url(messages)), to, LOCAL)
    finally:
        kafka_consumer._parked.clear()


def test_the_loop_over_kafka(kafka: str, tmp_path: Path) -> None:
    recording = make_messages(tmp_path / "fleet", 20, 30, "--violation-share", "0.5", "--unqualified-share", "0.1")
    expected = unqualified_in(recording)
    assert len(expected) > 10
    drones, alerts = make_topic(kafka, "loop-drones"), make_topic(kafka, "loop-alerts", 1)
    publish(kafka, "loop-drones", payloads_of(recording))
    root = tmp_path / "lake"
    read_with_officers(root, drones, alerts)
    published = alerts_in(kafka, "loop-alerts", len(expected))
    assert sorted(key for key, _ in published) == expected
    assert all(key == alert.message_id for key, alert in published)

    first, second, third, fourth = (alert for _, alert in published[:4])
    answers = [
        answered(first, "a", 14), answered(second, "b", 0), answered(first, "c", 38),
        answered(third, "d", violation_code=40), answered(fourth, "e", signature=None),
        answered(first, "a", 14),  # published again
    ]  # fmt: skip
    publish(kafka, "loop-drones", answers, partition=0)
    read_with_officers(root, drones, alerts)
    lk = lake(str(root))
    officers = "SELECT answers, officer_id, violation_code FROM qualified WHERE status = 'officer' ORDER BY 3"
    assert [tuple(row.values()) for row in lk.sql(officers).to_pylist()] == [
        (second.message_id, "kelly", 0), (first.message_id, "kelly", 14), (first.message_id, "kelly", 38),
    ]  # fmt: skip
    letters = lk.sql("SELECT reason, payload FROM dead_letters ORDER BY payload").to_pylist()
    assert letters == [{"reason": "answer_unsigned", "payload": payload} for payload in sorted(answers[3:5])]
    assert lk.sql("SELECT count(*) AS n FROM unqualified").to_pylist() == [{"n": len(expected)}]
    reconcile(str(root))

    # An answer raised no alert, and what is read again from the start is the same alerts.
    read_with_officers(tmp_path / "again", drones, alerts)
    again = alerts_in(kafka, "loop-alerts", 2 * len(expected))
    assert sorted(key for key, _ in again) == sorted([*expected, *expected])


def test_an_alert_leaves_a_run_without_end_within_seconds(
    kafka: str, tmp_path: Path, follow: Callable[..., Any]
) -> None:
    drones, alerts = make_topic(kafka, "quick-drones"), make_topic(kafka, "quick-alerts", 1)
    save_public_key(KEY, tmp_path / "officers.pem")
    flags = ["--alerts", alerts, "--officer-keys", str(tmp_path / "officers.pem")]
    with follow(tmp_path / "lake", drones, *flags) as following:
        publish(kafka, "quick-drones", [message(message_id="warm", violation_code=0)])
        ((_, warm),) = alerts_in(kafka, "quick-alerts", 1)
        assert warm.message_id == "warm"
        publish(kafka, "quick-drones", [answered(warm, "a")])

        def is_qualified() -> bool:
            rows = lake(str(tmp_path / "lake")).sql("SELECT answers FROM qualified WHERE status = 'officer'")
            return bool(rows.to_pylist() == [{"answers": "warm"}])

        following.wait_until(is_qualified)


@pytest.mark.parametrize(
    ("mode", "code"), [pytest.param("bounded", 401, marks=pytest.mark.nightly), ("unbounded", 503)]
)
def test_a_webhook_outage_ends_the_run_and_the_next_run_publishes_each_alert(
    kafka: str, prism: Path, service: WebService, tmp_path: Path, follow: Callable[..., Any], mode: str, code: int
) -> None:
    recording = make_messages(tmp_path / "fleet", 20, 30, "--violation-share", "0.5", "--unqualified-share", "0.1")
    expected, payloads = unqualified_in(recording), payloads_of(recording)
    drones = make_topic(kafka, f"unheard-{mode}")
    publish(kafka, f"unheard-{mode}", payloads)
    root, flags = tmp_path / "lake", ["--alert-webhook", service.url]
    service.codes = [204] * 5 + [code] * 1_000
    place = ["--prism_location", str(prism)] if mode == "unbounded" else []
    ended = run(root, "--messages", drones, "--mode", mode, *flags, *place)
    assert ended.returncode == 4, ended.stderr
    host = service.url.split("/")[2]
    last_line = ended.stderr.splitlines()[-1]
    assert last_line.startswith(f"error: the webhook at {host} did not accept an alert: {code} ")
    assert len(service.taken) == 5
    assert set(unqualified_rows(root)) <= {name for _, name in service.taken}

    service.codes = []
    if mode == "bounded":
        ended = run(root, "--messages", drones, *flags)
        assert ended.returncode == 0, ended.stderr
    else:
        with follow(root, drones, *flags) as following:
            following.wait_until(lambda: rows_in(root) >= len(payloads))
            assert following.end(signal.SIGTERM) == 130
    assert {name for _, name in service.taken} == set(expected)
    assert len(set(service.taken)) == len({webhook_id for webhook_id, _ in service.taken}) == len(expected)
    assert unqualified_rows(root) == expected
    assert reconcile(str(root)) == []


def unqualified_rows(root: Path) -> list[str]:
    """The message_ids of the rows that are committed."""
    rows: list[str] = lake(str(root)).sql("SELECT message_id FROM unqualified ORDER BY 1")["message_id"].to_pylist()
    return rows


def test_alerts_over_pubsub(pubsub: str, tmp_path: Path) -> None:
    recording = make_messages(tmp_path / "fleet", 10, 10, "--violation-share", "1", "--unqualified-share", "0.2")
    with Subscription("told-alerts") as alerts:
        to = Settings(str(tmp_path / "lake"), 3600, alerts=(PubSubUrl(PROJECT, "told-alerts"),))
        run_graph(ReadOptions(None, str(recording)), to, LOCAL)
        got = alerts._subscriber.pull(subscription=alerts._name, max_messages=1000).received_messages
        published = [(m.message.attributes[MESSAGE_ID], decode(m.message.data).message_id) for m in got]
        assert sorted(published) == [(name, name) for name in unqualified_in(recording)]


@pytest.mark.parametrize("service", ["kafka", "pubsub"])
def test_a_missing_topic_of_alerts_is_reported(service: str, request: pytest.FixtureRequest) -> None:
    address = request.getfixturevalue(service)
    topic: Topic = KafkaUrl(address, "nowhere", {}) if service == "kafka" else PubSubUrl(PROJECT, "nowhere")
    with pytest.raises(InputUnusable, match=r"there is no (such )?topic"):
        open_channel(topic)


def test_the_command_without_keys_takes_no_answer(kafka: str, tmp_path: Path) -> None:
    drones = make_topic(kafka, "keyless-drones", 1)
    alert = Alert(
        schema_version=1, message_id="m", drone_id="d", event_time="2026-01-15T12:00:00Z", latitude=40.7,
        longitude=-74.0, altitude_m=30.0, kind="violation", status="raw", violation_code=0, alert_time="",
    )  # fmt: skip
    publish(kafka, "keyless-drones", [answered(alert, "a")])
    read_up_to_now(tmp_path / "without", drones)
    assert lake(str(tmp_path / "without")).ledger["dead_letters"].to_pylist() == [1]
    save_public_key(KEY, tmp_path / "officers.pem")
    done = run(tmp_path / "with", "--messages", drones, "--officer-keys", str(tmp_path / "officers.pem"))
    assert done.returncode == 0, done.stderr
    assert lake(str(tmp_path / "with")).ledger["qualified"].to_pylist() == [1]
