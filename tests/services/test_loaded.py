"""What the loader has sent is read by the graph as the file itself is: the same units, the same rows."""

import gzip
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import boto3
import pytest
from google.pubsub_v1 import PublisherClient, SubscriberClient

from apps.loader.command import main as loader
from apps.loader.pieces import Place
from apps.loader.target import Target
from apps.loader.to_kafka import ToKafka
from apps.loader.to_pubsub import ToPubSub
from lake import lake
from lake.storage import storage
from messaging.urls import kafka_url
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.options import history_url
from pipelines.violations.run import run_graph as run
from runners.services import Services
from schemas.errors import InputUnusable
from schemas.lake import Source
from sources.loaded.file import PiecedFile
from sources.loaded.topic import LoadedTopic
from sources.streams import kafka_consumer
from sources.streams.kafka import KafkaStream
from tests.recovery.loader import campaign
from tests.services.support import PROJECT, Subscription, make_topic, publish
from tests.services.support import run as run_command
from tests.support import LOCAL, content, make_history, run_graph

pytestmark = pytest.mark.services

DIRT = ("--dirt", "30", "--seed", "7")


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dirty file of several cells."""
    monkeypatch.setattr("sources.files.grid.CELL_BYTES", 300_000)
    monkeypatch.setattr("sources.files.grid.BLOCK_BYTES", 50_000)
    return make_history(tmp_path / "tickets.csv", 5_000, *DIRT)


def load(history: Path, url: str, *flags: str) -> None:
    """Load it as a user does; the journal is beside it."""
    assert loader([str(history), "--to", url, "--journal", str(history.parent / "journal"), "--quiet", *flags]) == 0


def read(root: Path, url: str) -> None:
    """Run the graph over what was loaded; no consumer outlives it."""
    try:
        run(ReadOptions(history_url(url)), Settings(str(root), 3600), LOCAL)
    finally:
        kafka_consumer._parked.clear()


def break_off(patch: pytest.MonkeyPatch, kind: type[Target], most: int) -> None:
    """Let a load be stopped when so many messages have arrived."""
    whole = kind.chunks

    def chunks(target: Target, *arguments: Any) -> Iterator[tuple[bytes, Place]]:
        yield from islice(whole(target, *arguments), most)
        target.finish()
        raise KeyboardInterrupt

    patch.setattr(kind, "chunks", chunks)


def test_rows_from_kafka_are_those_of_the_file_row_by_row(kafka: str, tmp_path: Path, history: Path) -> None:
    url = make_topic(kafka, "tickets", partitions=3)
    load(history, url, "--batch-rows", "77")
    read(tmp_path / "loaded", url)
    run_graph(tmp_path / "direct", history)
    assert content(tmp_path / "loaded") == content(tmp_path / "direct")
    assert lake(str(tmp_path / "direct")).ledger.num_rows > 3
    read(tmp_path / "direct", url)
    assert content(tmp_path / "loaded") == content(tmp_path / "direct")


def test_a_file_that_was_loaded_twice_from_two_computers_is_in_the_lake_once(
    kafka: str, tmp_path: Path, history: Path
) -> None:
    url = make_topic(kafka, "twice", partitions=3)
    load(history, url)
    os.utime(history, (1, 1))
    load(history, url, "--restart")
    read(tmp_path / "loaded", url)
    run_graph(tmp_path / "direct", history)
    assert content(tmp_path / "loaded") == content(tmp_path / "direct")


def test_a_gzip_file_is_sent_as_its_text(kafka: str, tmp_path: Path, history: Path) -> None:
    packed = tmp_path / "tickets.csv.gz"
    packed.write_bytes(gzip.compress(history.read_bytes()))
    url = make_topic(kafka, "packed")
    load(packed, url)
    read(tmp_path / "loaded", url)
    run_graph(tmp_path / "direct", history)
    assert content(tmp_path / "loaded") == content(tmp_path / "direct")


def test_rows_from_s3_are_those_of_the_file_row_by_row(
    s3_server: dict[str, str], tmp_path: Path, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    storage.cache_clear()
    boto3.client("s3").create_bucket(Bucket="loaded")
    monkeypatch.setattr("apps.loader.to_s3.PART_BYTES", 5 << 20)
    load(history, "s3://loaded/history")
    read(tmp_path / "loaded", "s3://loaded/history/*.csv")
    run_graph(tmp_path / "direct", history)
    assert content(tmp_path / "loaded") == content(tmp_path / "direct")
    storage.cache_clear()


def test_rows_from_a_directory_are_those_of_the_file_row_by_row(tmp_path: Path, history: Path) -> None:
    load(history, f"file:{tmp_path}/out")
    read(tmp_path / "loaded", f"{tmp_path}/out/*.csv")
    run_graph(tmp_path / "direct", history)
    assert content(tmp_path / "loaded") == content(tmp_path / "direct")


def test_rows_from_pubsub_are_those_of_the_file_and_the_spool_is_emptied(
    pubsub: str, tmp_path: Path, history: Path
) -> None:
    publisher, subscriber = PublisherClient(), SubscriberClient()
    topic, subscription = f"projects/{PROJECT}/topics/tickets", f"projects/{PROJECT}/subscriptions/tickets-lake"
    publisher.create_topic(name=topic)
    subscriber.create_subscription(name=subscription, topic=topic, ack_deadline_seconds=60)
    load(history, f"pubsub://{PROJECT}/tickets", "--batch-rows", "100")
    read(tmp_path / "loaded", f"pubsub://{PROJECT}/tickets-lake")
    run_graph(tmp_path / "direct", history)
    assert content(tmp_path / "loaded") == content(tmp_path / "direct")
    assert list((tmp_path / "loaded/spool").rglob("*.arrow")) == []


def test_a_file_whose_end_has_not_come_waits_and_what_is_there_twice_is_read_once(
    kafka: str, tmp_path: Path, history: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = make_topic(kafka, "halves")
    journal = tmp_path / "journal"

    command = [str(history), "--to", url, "--journal", str(journal), "--quiet", "--batch-rows", "50"]
    with monkeypatch.context() as broken:
        break_off(broken, ToKafka, 20)
        assert loader(command) == 130
    read(tmp_path / "loaded", url)
    assert lake(str(tmp_path / "loaded")).ledger.num_rows == 0
    assert "its end is not" in caplog.text
    (lost,) = journal.iterdir()
    lost.unlink()  # so all is sent again, cut at other places
    command[-1] = "33"
    assert loader(command) == 0
    read(tmp_path / "loaded", url)
    run_graph(tmp_path / "direct", history)
    assert content(tmp_path / "loaded") == content(tmp_path / "direct")


def test_what_is_in_the_lake_is_not_looked_through_again(
    kafka: str, tmp_path: Path, history: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files are in one partition, and the first run comes in the middle of the second one."""
    url, root = make_topic(kafka, "loaded-again", partitions=1), tmp_path / "loaded"
    stream = KafkaStream(kafka_url(url), Source.HISTORY)
    other = make_history(tmp_path / "others.csv", 5_000, "--seed", "8")
    load(history, url, "--batch-rows", "50")
    before = len(stream.everything(str(root)))
    with monkeypatch.context() as broken:
        break_off(broken, ToKafka, 40)
        assert loader([str(other), "--to", url, "--journal", str(tmp_path / "journal"), "--batch-rows", "50"]) == 130
    read(root, url)
    left = stream.everything(str(root))
    assert 0 < len(left) <= 3 < before
    load(other, url, "--batch-rows", "50")
    read(root, url)
    assert stream.everything(str(root)) == []
    read(root, url)
    for file in (history, other):
        run_graph(tmp_path / "direct", file)
    assert content(root) == content(tmp_path / "direct")


def test_a_segment_that_two_files_share_is_removed_when_both_are_read(
    pubsub: str, tmp_path: Path, history: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The first file is in two segments, and the end of it in one with the beginning of the second one."""
    root = tmp_path / "loaded"
    with Subscription("shared") as subscription:
        url = subscription.url
    other = make_history(tmp_path / "others.csv", 5_000, "--seed", "8")

    def half_of(file: Path) -> None:
        with monkeypatch.context() as broken:
            break_off(broken, ToPubSub, 5)
            assert loader([str(file), "--to", url, "--journal", str(tmp_path / "journal")]) == 130

    half_of(history)
    read(root, url)
    assert f"{history.name}: " in caplog.text
    load(history, url)
    half_of(other)
    read(root, url)
    assert len(list((root / "spool").rglob("*.arrow"))) == 1
    caplog.clear()
    load(other, url)
    read(root, url)
    assert "its end is not" not in caplog.text
    assert list((root / "spool").rglob("*.arrow")) == []
    for file in (history, other):
        run_graph(tmp_path / "direct", file)
    assert content(root) == content(tmp_path / "direct")


@pytest.mark.parametrize(("kind", "step"), [(LoadedTopic, "_look_through"), (PiecedFile, "_fetch")])
def test_a_file_that_another_run_reads_and_forgets_between_two_steps_of_this_one_is_in_the_lake_once(
    pubsub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type, step: str
) -> None:
    root, history = tmp_path / "loaded", make_history(tmp_path / "tickets.csv", 5_000, *DIRT)
    with Subscription(f"beside{step.replace('_', '-')}") as subscription:
        url = subscription.url
    load(history, url)
    whole, lock, others = getattr(kind, step), Lock(), list[int]()

    def held(it: Any, *arguments: Any) -> Any:
        with lock:
            if not others:
                others.append(run_command(root, "--history", url).returncode)
                assert list((root / "spool").rglob("*.arrow")) == []
        return whole(it, *arguments)

    monkeypatch.setattr(kind, step, held)
    read(root, url)
    assert others == [0]
    run_graph(tmp_path / "direct", history)
    assert content(root) == content(tmp_path / "direct")


def test_a_short_broker_outage_is_waited_for(alone: Services, tmp_path: Path, history: Path) -> None:
    alone.up("kafka")
    url = make_topic(alone.environment("kafka")["KAFKA_BOOTSTRAP_SERVERS"], "away", partitions=2)
    flags = ["--to", url, "--journal", str(tmp_path / "journal"), "--batch-rows", "20", "--max-rate", "100k"]
    line = [sys.executable, "-m", "prestacop", "load", str(history), *flags]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        while (
            not (journals := list((tmp_path / "journal").glob("*"))) or b'"record": 1' not in journals[0].read_bytes()
        ):
            time.sleep(0.05)
        alone.down("kafka")
        time.sleep(4)
        assert process.poll() is None
        alone.up("kafka")
        _, printed = process.communicate(timeout=300)
    assert (process.returncode, "Traceback" in printed) == (0, False)
    read(tmp_path / "loaded", url)
    run_graph(tmp_path / "direct", history)
    assert content(tmp_path / "loaded") == content(tmp_path / "direct")


def test_a_topic_that_is_not_there_ends_with_3(kafka: str, tmp_path: Path, history: Path) -> None:
    line = [str(history), "--to", f"kafka://{kafka}/of-nobody", "--journal", str(tmp_path / "j"), "--quiet"]
    assert loader(line) == 3


@pytest.mark.parametrize("kills", [4, pytest.param(10, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("target", ["kafka", "pubsub", "s3"])
def test_kills_at_random_moments(
    target: str,
    kills: int,
    kafka: str,
    pubsub: str,
    s3_server: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    if target == "s3":
        boto3.client("s3").create_bucket(Bucket=f"killed-{kills}")
        url = f"s3://killed-{kills}/history"
    elif target == "kafka":
        url = make_topic(kafka, f"killed-loads-{kills}", partitions=2)
    else:
        with Subscription(f"killed-loads-{kills}") as subscription:
            url = subscription.url
    outcome = campaign(tmp_path, target, kills=kills, seed=3, url=url)
    assert (outcome.kills, outcome.different) == (kills, 0)


def test_foreign_messages_are_reported(kafka: str, tmp_path: Path) -> None:
    url = make_topic(kafka, "others")
    publish(kafka, "others", [b'{"message_id": "1"}'], partition=2)
    with pytest.raises(InputUnusable, match=r"kafka:others/2: message 0 was not sent by the loader"):
        read(tmp_path / "loaded", url)
