"""A topic is read from where the lake ends up to now: all of it, once, whatever happens to it meanwhile."""

import signal
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import IsolationLevel, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]
from confluent_kafka.cimpl import NewPartitions

from lake import lake
from messaging.urls import kafka_url
from pipelines.maintenance.reconcile import reconcile
from pipelines.maintenance.undo_unit import undo
from runners.services import Services, free_port
from schemas.errors import LakeDamaged, ServiceUnavailable
from schemas.lake import Source
from sources.progress import progress
from sources.streams.kafka import UNIT_MESSAGES, KafkaStream
from tests.services.support import (
    expected,
    make_topic,
    payloads_of,
    pictures,
    publish,
    read_up_to_now,
    rows_in,
    run,
    sent_pictures,
    stored,
    stored_pictures,
    without_commits,
)
from tests.support import make_messages

pytestmark = pytest.mark.services

MISHAPS = ("--corrupt", "0.05", "--v0-share", "0.3", "--disorder", "5")


def test_what_was_published_is_in_the_lake_and_what_comes_later_is_added(kafka: str, tmp_path: Path) -> None:
    root = tmp_path / "lake"
    url = make_topic(kafka, "exact")
    first = make_messages(tmp_path / "first", 100, 20, *MISHAPS)
    rows = expected("exact", first, publish(kafka, "exact", payloads_of(first)))
    read_up_to_now(root, url)
    assert stored(root) == rows
    assert lake(str(root)).ledger.num_rows == 4

    read_up_to_now(root, url)
    assert lake(str(root)).ledger.num_rows == 4

    second = make_messages(tmp_path / "second", 50, 10, "--seed", "2", *MISHAPS)
    more = expected("exact", second, publish(kafka, "exact", payloads_of(second), partition=2))
    read_up_to_now(root, url)
    assert stored(root) == sorted(rows + more, key=lambda row: row[:2])
    assert lake(str(root)).ledger.num_rows == 5
    assert reconcile(str(root)) == []


def test_keys_and_headers_say_nothing_and_a_tombstone_is_a_dead_letter(kafka: str, tmp_path: Path) -> None:
    url = make_topic(kafka, "keyed", partitions=1)
    recording = make_messages(tmp_path / "m", 5, 10)
    sent = publish(kafka, "keyed", payloads_of(recording), key=b"", headers={"type": b"\xff", "none": None})
    tombstone, nothing = publish(kafka, "keyed", [None, b""], key=b"drone-0001")
    read_up_to_now(tmp_path / "lake", url)
    rows = [("kafka:keyed/0", one.offset, None, "dead_letters", one.published_at) for one in (tombstone, nothing)]
    assert stored(tmp_path / "lake") == [*expected("keyed", recording, sent), *rows]
    query = "SELECT reason, payload, source_id FROM dead_letters"
    assert (
        lake(str(tmp_path / "lake")).sql(query).to_pylist()
        == [{"reason": "payload_empty", "payload": b"", "source_id": None}] * 2
    )


def test_the_first_run_over_a_wrong_topic_stops_and_later_foreign_messages_stop_no_run(
    kafka: str, tmp_path: Path
) -> None:
    url, root = make_topic(kafka, "tickets-as-messages", partitions=1), tmp_path / "lake"
    publish(kafka, "tickets-as-messages", [b"5221764685,51084HD,NJ"] * 1_500)
    done = run(root, "--messages", url)
    assert done.returncode == 3
    assert "1,500 of 1,500 rows (100.0%) are refused" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(root.glob("[dpqsu]*/source=*"))
    assert run(root, "--messages", url, "--max-dead-letters", "none").returncode == 0
    assert rows_in(root) == 1_500
    publish(kafka, "tickets-as-messages", [b"rubbish"] * 1_500)
    assert run(root, "--messages", url, "--max-dead-letters", "10%").returncode == 3
    assert rows_in(root) == 1_500
    done = run(root, "--messages", url)
    assert done.returncode == 0, done.stderr
    assert "dead letters of a topic stop no run" in done.stderr
    assert rows_in(root) == 3_000
    assert reconcile(str(root)) == []
    (unit, _) = lake(str(root)).ledger["unit"].to_pylist()
    assert undo(str(root), [unit], "undo")
    publish(kafka, "tickets-as-messages", [b"more"])
    assert run(root, "--messages", url).returncode == 0  # what was undone is not read again
    assert rows_in(root) == 1_501
    assert reconcile(str(root)) == []


def test_partitions_that_were_added_later_are_found(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = make_topic(kafka, "growing", partitions=2)
    publish(kafka, "growing", [b"1", b"2"])
    monkeypatch.setattr("messaging.kafka.PARTITIONS_SECONDS", 0)
    planner = KafkaStream(kafka_url(url), Source.DRONES).planner(str(tmp_path / "other"))
    planner.resume()
    assert len(planner.poll(room=9).units) == 2
    read_up_to_now(tmp_path / "lake", url)
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_partitions([NewPartitions("growing", 4)])["growing"].result(timeout=30)
    publish(kafka, "growing", [b"3", b"4"], partition=3)
    (found,) = planner.poll(room=9).units
    assert (found.unit.path, found.unit.start, found.unit.end) == ("kafka:growing/3", 0, 2)
    read_up_to_now(tmp_path / "lake", url)
    assert [row[:2] for row in stored(tmp_path / "lake")] == [
        ("kafka:growing/0", 0), ("kafka:growing/1", 0), ("kafka:growing/3", 0), ("kafka:growing/3", 1),
    ]  # fmt: skip


def test_where_there_is_no_room_for_all_partitions_each_gets_its_turn(kafka: str, tmp_path: Path) -> None:
    url = make_topic(kafka, "wide", partitions=6)
    planner = KafkaStream(kafka_url(url), Source.DRONES).planner(str(tmp_path))
    planner.resume()
    read: list[str] = []
    for _ in range(3):
        publish(kafka, "wide", [b"x"] * 12)
        read += [found.unit.path for found in planner.poll(room=4).units]
    assert len(read) == 12
    assert set(read) == {f"kafka:wide/{partition}" for partition in range(6)}


def test_a_topic_that_was_made_again_is_another_one(kafka: str, tmp_path: Path) -> None:
    root = tmp_path / "lake"
    url = make_topic(kafka, "again", partitions=2)
    publish(kafka, "again", [b"old 1", b"old 2", b"old 3"])
    read_up_to_now(root, url)
    admin = AdminClient({"bootstrap.servers": kafka})  # by name: what it has not done ends with it
    admin.delete_topics(["again"])["again"].result(timeout=30)
    make_topic(kafka, "again", partitions=2)
    publish(kafka, "again", [b"new 1", b"new 2"])
    read_up_to_now(root, url)
    payloads = lake(str(root)).sql("SELECT payload FROM dead_letters ORDER BY 1")["payload"].to_pylist()
    assert payloads == [b"new 1", b"new 2", b"old 1", b"old 2", b"old 3"]
    assert lake(str(root)).ledger.num_rows == 4
    assert reconcile(str(root)) == []


@contextmanager
def transaction(kafka: str, topic: str, *payloads: bytes) -> Iterator[Producer]:
    """One that the body commits or aborts; its messages are in partition 0 before."""
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": f"{topic}-{time.time_ns()}"})
    producer.init_transactions(30)
    producer.begin_transaction()
    for payload in payloads:
        producer.produce(topic, payload, partition=0)
    assert producer.flush(30) == 0
    yield producer
    deadline = time.monotonic() + 30
    committed, all_there = IsolationLevel.READ_COMMITTED, IsolationLevel.READ_UNCOMMITTED
    while end_of(kafka, topic, committed) < end_of(kafka, topic, all_there):
        assert time.monotonic() < deadline  # the broker answers before it has written the mark
        time.sleep(0.02)


def end_of(kafka: str, topic: str, isolation: IsolationLevel) -> int:
    """Where partition 0 ends."""
    admin = AdminClient({"bootstrap.servers": kafka})
    place, latest = TopicPartition(topic, 0), OffsetSpec.latest()  # type: ignore[no-untyped-call]
    return int(admin.list_offsets({place: latest}, isolation_level=isolation)[place].result(30).offset)


def letters(root: Path) -> list[tuple[int, bytes]]:
    """Offset and payload of each dead letter."""
    rows = lake(str(root)).sql('SELECT "offset", payload FROM dead_letters ORDER BY ALL').to_pylist()
    return [(row["offset"], row["payload"]) for row in rows]


@pytest.mark.parametrize("unit_messages", [200_000, 2])
def test_messages_of_a_transaction_are_read_when_it_is_committed_and_never_when_aborted(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unit_messages: int
) -> None:
    """Its marks take offsets too, and a unit may end with some, or have nothing else."""
    monkeypatch.setitem(UNIT_MESSAGES, Source.DRONES, unit_messages)
    monkeypatch.setattr("sources.streams.kafka_consumer.PATIENCE_SECONDS", 15)
    topic, root = f"transactions-{unit_messages}", tmp_path / "lake"
    url = make_topic(kafka, topic, partitions=1)
    with transaction(kafka, topic, b"c0", b"c1", b"c2") as producer:
        producer.commit_transaction(30)
    with transaction(kafka, topic, b"a4", b"a5", b"a6") as producer:
        producer.abort_transaction(30)
    read_up_to_now(root, url)
    assert letters(root) == [(0, b"c0"), (1, b"c1"), (2, b"c2")]
    with transaction(kafka, topic, b"c8", b"c9") as producer:
        publish(kafka, topic, [b"10"], partition=0)
        read_up_to_now(root, url)
        assert len(letters(root)) == 3
        assert sum(unit["range_end"] == 8 for unit in lake(str(root)).ledger.to_pylist()) == 1
        producer.commit_transaction(30)
    read_up_to_now(root, url)
    assert letters(root)[3:] == [(8, b"c8"), (9, b"c9"), (10, b"10")]
    assert rows_in(root) == 6
    assert reconcile(str(root)) == []


def test_a_unit_that_has_only_marks_and_aborted_messages_takes_none_of_the_next(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(UNIT_MESSAGES, Source.DRONES, 2)
    root = tmp_path / "lake"
    url = make_topic(kafka, "gaps", partitions=1)
    publish(kafka, "gaps", [b"0"])
    with transaction(kafka, "gaps", b"a1", b"a2", b"a3", b"a4", b"a5") as producer:
        producer.abort_transaction(30)
    publish(kafka, "gaps", [b"7", b"8"])
    read_up_to_now(root, url)
    assert letters(root) == [(0, b"0"), (7, b"7"), (8, b"8")]
    assert lake(str(root)).ledger["rows_in"].to_pylist() == [1, 0, 0, 1, 1]
    assert reconcile(str(root)) == []


def test_a_message_behind_marks_of_a_transaction_is_waited_for(kafka: str, tmp_path: Path) -> None:
    """What is not planned yet holds the windows of its time, wherever the next offset with a message is."""
    url = make_topic(kafka, "waited", partitions=1)
    with transaction(kafka, "waited", *(b"aborted" for _ in range(40))) as producer:
        producer.abort_transaction(30)
    an_hour_ago = round(time.time() - 3600)
    publish(kafka, "waited", [b"1", b"2"], timestamp=an_hour_ago * 1000)
    planner = KafkaStream(kafka_url(url), Source.DRONES).planner(str(tmp_path))
    assert planner.resume() == []
    assert planner.poll(room=0).until == an_hour_ago * 1_000_000
    ((_, since),) = planner.poll(room=1).units
    assert since == an_hour_ago * 1_000_000
    now = time.time() * 1_000_000
    assert planner.poll(room=0).until >= now


def test_messages_that_were_deleted_before_they_were_read_end_the_run_until_the_loss_is_accepted(
    kafka: str, tmp_path: Path
) -> None:
    root = tmp_path / "lake"
    url = make_topic(kafka, "lost", partitions=2)
    recording = make_messages(tmp_path / "m", 10, 20)
    payloads = payloads_of(recording)
    sent = publish(kafka, "lost", payloads[:50], partition=0)
    read_up_to_now(root, url)
    sent += publish(kafka, "lost", payloads[50:150], partition=0)
    sent += publish(kafka, "lost", payloads[150:], partition=1)
    delete_before(kafka, "lost", 0, 120)
    done = run(root, "--messages", url)
    assert done.returncode == 3
    assert done.stderr.startswith("error: kafka:lost/0: messages 50 to 119 are gone: ")
    assert "--accept-loss" in done.stderr
    assert done.stderr.count("\n") == 1
    assert rows_in(root) == 50

    read_up_to_now(root, url, accept_loss=True)
    kept = [row for row in expected("lost", recording, sent) if row[0] == "kafka:lost/1" or not 50 <= row[1] < 120]
    assert stored(root) == kept
    assert rows_in(root) == len(payloads) - 70
    assert reconcile(str(root)) == []


def test_a_unit_that_was_lost_entirely_is_an_empty_one(kafka: str, tmp_path: Path) -> None:
    root = tmp_path / "lake"
    url = make_topic(kafka, "void", partitions=1)
    publish(kafka, "void", [b"1"])
    read_up_to_now(root, url)
    publish(kafka, "void", [b"2", b"3"])
    delete_before(kafka, "void", 0, 3)
    read_up_to_now(root, url, accept_loss=True)
    publish(kafka, "void", [b"4"])
    read_up_to_now(root, url)
    assert letters(root) == [(0, b"1"), (3, b"4")]
    assert lake(str(root)).ledger["rows_in"].to_pylist() == [1, 0, 1]


def test_messages_deleted_before_the_first_run_are_no_loss(kafka: str, tmp_path: Path) -> None:
    url = make_topic(kafka, "short", partitions=1)
    publish(kafka, "short", [b"0", b"1", b"2"])
    delete_before(kafka, "short", 0, 2)
    read_up_to_now(tmp_path / "lake", url)
    assert letters(tmp_path / "lake") == [(2, b"2")]


@pytest.mark.parametrize("floors", ["missing", "stale"])
def test_what_was_read_and_deleted_is_not_read_again_whatever_the_floors_are(
    kafka: str, tmp_path: Path, floors: str
) -> None:
    root, topic = tmp_path / "lake", f"floors-{floors}"
    url = make_topic(kafka, topic, partitions=1)
    publish(kafka, topic, [b"0", b"1", b"2"])
    read_up_to_now(root, url)
    publish(kafka, topic, [b"3", b"4", b"5"])
    read_up_to_now(root, url)
    delete_before(kafka, topic, 0, 4)
    (path,) = root.glob("plans/*/floors.json")
    if floors == "missing":
        path.unlink()
    else:
        path.write_text('{"0": 0}')
    publish(kafka, topic, [b"6"])
    if floors == "missing":
        with pytest.raises(LakeDamaged, match="no floor of partition 0") as raised:
            read_up_to_now(root, url)
        path.write_text(str(raised.value).partition("write ")[2].partition(" to ")[0])
    read_up_to_now(root, url)
    assert plans(root) == {}
    assert letters(root) == [(n, b"%d" % n) for n in range(7)]
    assert rows_in(root) == 7


def delete_before(kafka: str, topic: str, partition: int, offset: int) -> None:
    """As the topic's retention does."""
    admin = AdminClient({"bootstrap.servers": kafka})
    place = TopicPartition(topic, partition, offset)
    admin.delete_records([place])[place].result(timeout=30)


def test_pictures_of_10_megabytes_pass(kafka: str, tmp_path: Path) -> None:
    root = tmp_path / "lake"
    url = make_topic(kafka, "large", partitions=1)
    payloads = pictures(tmp_path / "m", 10_000_000)
    assert min(map(len, payloads)) >= 13_000_000
    publish(kafka, "large", payloads)
    read_up_to_now(root, images=url)
    assert stored_pictures(root) == sent_pictures(payloads)
    assert lake(str(root)).sql("SELECT count(published_at) AS n FROM images")["n"].to_pylist() == [len(payloads)]
    assert reconcile(str(root)) == []


def test_a_dry_run_prints_the_backlog_and_writes_nothing(kafka: str, tmp_path: Path) -> None:
    root = tmp_path / "lake"
    url = make_topic(kafka, "dry")
    publish(kafka, "dry", [b"%d" % n for n in range(1_234)])
    done = run(root, "--messages", url, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1,234 new messages in 4 partitions of dry" in done.stdout
    assert not root.exists()
    read_up_to_now(root, url)
    publish(kafka, "dry", [b"1", b"2"])
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    assert "2 new messages in 4 partitions of dry" in run(root, "--messages", url, "--dry-run").stdout
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_an_unknown_topic_ends_with_3_and_prints_how_to_create_it(kafka: str, tmp_path: Path) -> None:
    done = run(tmp_path / "lake", "--messages", f"kafka://{kafka}/nowhere")
    assert done.returncode == 3
    assert f"kafka://{kafka}/nowhere: there is no topic nowhere. Check the name" in done.stderr
    assert "prestacop topics" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize(
    ("options", "expected_text", "code"),
    [
        ("security.protocol=SASL_PLAINTEXT&sasl.mechanisms=PLAIN&sasl.username=me", "handshake failed", 7),
        ("security.protocol=SASL_PLAINTEXT", "GSSAPI", 2),  # librdkafka's own mechanism, which its wheels do not have
        ("security.protocol=SSL&ssl.ca.location=/nowhere.pem", "ssl.ca.location", 2),
    ],
)
def test_wrong_options_end_at_once_by_name(
    kafka: str, tmp_path: Path, options: str, expected_text: str, code: int
) -> None:
    url = make_topic(kafka, f"closed-{len(options)}")
    done = run(tmp_path, "--messages", f"{url}?{options}", environment={"KAFKA_SASL_PASSWORD": "secret"})
    assert done.returncode == code
    assert done.stderr.startswith(f"error: {url}: ")
    assert expected_text in done.stderr
    assert "security.protocol" in done.stderr
    assert "secret" not in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Brokers are given up after a second."""
    monkeypatch.setattr("messaging.retry.START_SECONDS", 1)
    monkeypatch.setattr("messaging.kafka.ANSWER_SECONDS", 1)


@pytest.mark.usefixtures("impatient")
def test_an_unreachable_broker_is_reported_with_the_reason(tmp_path: Path) -> None:
    url = f"kafka://127.0.0.1:{free_port()}/fleet"
    with pytest.raises(ServiceUnavailable, match=f"{url} does not answer .*Connection refused.*Check the network"):
        read_up_to_now(tmp_path / "lake", url)


@pytest.mark.usefixtures("impatient")
def test_tls_with_a_plaintext_broker_is_reported_with_the_reason(kafka: str, tmp_path: Path) -> None:
    url = make_topic(kafka, "plain")
    # Which of the two librdkafka says depends on what it tried last.
    reason = r"does not answer .*(connecting to a PLAINTEXT broker listener\?|SSL connection closed by peer)"
    with pytest.raises(ServiceUnavailable, match=reason):
        read_up_to_now(tmp_path / "lake", f"{url}?security.protocol=SSL")


def test_a_killed_and_restarted_broker_loses_and_duplicates_nothing(
    kafka: str, services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(UNIT_MESSAGES, Source.DRONES, 5_000)
    url = make_topic(kafka, "killed")
    recording = make_messages(tmp_path / "m", 1_000, 120)
    sent = publish(kafka, "killed", payloads_of(recording))
    before = progress.messages
    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(read_up_to_now, tmp_path / "lake", url)
        while progress.messages == before and not running.done():
            time.sleep(0.01)
        services.kill("kafka")
        seen = progress.messages - before
        time.sleep(3)
        services.up("kafka")
        running.result(timeout=300)
    assert seen < len(sent) / 2
    assert stored(tmp_path / "lake") == expected("killed", recording, sent)
    assert reconcile(str(tmp_path / "lake")) == []


def test_a_killed_run_resumes_by_its_plans(kafka: str, tmp_path: Path) -> None:
    root = tmp_path / "lake"
    url = make_topic(kafka, "stopped")
    recording = make_messages(tmp_path / "m", 1_000, 30)
    payloads = payloads_of(recording)
    sent = publish(kafka, "stopped", payloads[:25_000])
    with subprocess.Popen(without_commits(root, "--messages", url)) as process:
        while len(plans(root)) < 4:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert lake(str(root)).ledger.num_rows == 0
    planned = plans(root)

    sent += publish(kafka, "stopped", payloads[25_000:])
    done = run(root, "--messages", url)
    assert done.returncode == 0
    units = set(lake(str(root)).ledger["unit"].to_pylist())
    assert {"-".join(path.removesuffix(".json").split("/")[1:]) for path in planned} <= units
    assert len(units) == 8
    assert plans(root) == {}
    assert rows_in(root) == len(payloads)
    assert stored(root) == expected("stopped", recording, sent)
    assert reconcile(str(root)) == []


def test_two_runs_at_once_into_a_lake_on_s3_agree(
    kafka: str, s3_server: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    root = "s3://prestacop/two-runs"
    url = make_topic(kafka, "shared")
    recording = make_messages(tmp_path / "m", 200, 20, *MISHAPS)
    sent = publish(kafka, "shared", payloads_of(recording))
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: run(root, "--messages", url), range(2)))
    assert [one.returncode for one in done] == [0, 0], [one.stderr for one in done]
    assert stored(root) == expected("shared", recording, sent)
    assert rows_in(root) == len(sent)
    assert reconcile(root) == []


def plans(root: Path) -> dict[str, bytes]:
    """The plans of units by their path."""
    found = root.glob("plans/*/*/*.json")
    return {str(path.relative_to(root)): path.read_bytes() for path in found if not path.name.startswith(".")}
