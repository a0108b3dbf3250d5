"""No network for a while: the loader waits, goes on by itself, and what arrives is the file."""

import hashlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from confluent_kafka import OFFSET_END, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from apps.loader import to_pubsub, to_s3
from apps.loader.command import main as loader
from lake.storage import storage
from messaging import retry as waiting
from messaging.urls import kafka_url
from runners.services import NAMES, Services
from tests.recovery.loader import hash_there, up
from tests.recovery.outage import arrived, away, hung
from tests.services.conftest import need
from tests.services.support import make_topic
from tests.support import make_history

pytestmark = pytest.mark.services

HANGS_S = 6.0
"""For several of the time-outs of each client, which are one second here."""
RATE = {"kafka": "600k", "pubsub": "600k", "s3": "3M"}
"""Five seconds for a file."""
HASTY = "?socket.timeout.ms=1000&request.timeout.ms=1000&reconnect.backoff.max.ms=500"


class Load:
    """A load of one file to one target, by the command."""

    def __init__(self, services: Services, target: str, folder: Path, url: str = "") -> None:
        self.target, self.folder, self.journals = target, folder, folder / "journals"
        self.url = url or up(services, target, folder.name.replace("_", "-"))
        self.source = make_history(folder / "tickets.csv", 60_000 if target == "s3" else 12_000)
        self.third = self.source.stat().st_size // 3

    def run(self, slow: bool = False, options: str = "", restart: bool = False) -> int:
        """The exit code."""
        hasty = HASTY + options if self.target == "kafka" else ""
        flags = ["--to", self.url + hasty, "--journal", str(self.journals), "--quiet"]
        flags += ["--restart"] if restart else []
        return loader([str(self.source), *flags, *(["--max-rate", RATE[self.target]] if slow else [])])

    def is_there(self) -> bool:
        """Whether what has arrived is the file."""
        return hash_there(self.target, self.url, self.folder) == hashlib.sha256(self.source.read_bytes()).digest()


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Clients that do not wait long, and an environment that is put back."""
    monkeypatch.setattr(to_s3, "_CONNECT_S", 1)
    monkeypatch.setattr(to_s3, "_ANSWER_S", 1)
    monkeypatch.setattr(to_s3, "PART_BYTES", 5 << 20)
    monkeypatch.setattr(to_pubsub, "_TIMEOUT_S", 1.0)
    monkeypatch.setattr(waiting, "LONGEST_NAP_SECONDS", 1.0)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the keys of the server before
    before = dict(os.environ)
    storage.cache_clear()
    yield
    storage.cache_clear()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def servers(services: Services) -> Services:
    """This worker's: whatever happens to one of them, the next test starts it again."""
    for name in NAMES:
        need(services, name)
    return services


@pytest.mark.parametrize("target", ["kafka", "pubsub", "s3"])
def test_a_server_that_hangs_in_the_middle_is_waited_for(servers: Services, tmp_path: Path, target: str) -> None:
    load = Load(servers, target, tmp_path)
    with away(servers, target, HANGS_S, load.journals, load.third) as back:
        assert load.run(slow=True) == 0
        assert back.is_set()
    assert load.is_there()


@pytest.mark.parametrize("target", ["kafka", "s3"])
def test_a_server_that_is_killed_in_the_middle_is_waited_for(servers: Services, tmp_path: Path, target: str) -> None:
    load = Load(servers, target, tmp_path)
    with away(servers, target, HANGS_S, load.journals, load.third, dead=True) as back:
        assert load.run(slow=True) == 0
        assert back.is_set()
    assert load.is_there()


def test_what_the_client_gave_up_is_sent_again(servers: Services, tmp_path: Path) -> None:
    """``message.timeout.ms`` is an option that a URL may have."""
    load = Load(servers, "kafka", tmp_path)
    with away(servers, "kafka", HANGS_S, load.journals, load.third) as back:
        assert load.run(slow=True, options="&message.timeout.ms=1500") == 0
        assert back.is_set()
    assert load.is_there()


@pytest.mark.parametrize("target", ["kafka", "s3"])
def test_the_loader_waits_for_a_server_that_starts_later(
    servers: Services, tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "START_SECONDS", 180.0)  # a broker takes longer where much else runs
    load = Load(servers, target, tmp_path)
    servers.kill(target)
    late = threading.Timer(HANGS_S, servers.up, [target])
    late.start()
    assert load.run() == 0
    late.join()
    assert load.is_there()


@pytest.mark.parametrize("target", ["kafka", "pubsub", "s3"])
def test_a_load_that_has_begun_waits_for_its_server_at_the_start_too(
    servers: Services, tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a power cut: the computer is there again before the network is."""
    load = Load(servers, target, tmp_path)
    assert stopped_by_ctrl_c(load) == 130
    monkeypatch.setattr(waiting, "START_SECONDS", 2.0)
    away_again = threading.Thread(target=hung, args=(servers, target, HANGS_S))
    away_again.start()
    time.sleep(0.2)
    assert load.run() == 0
    away_again.join()
    assert load.is_there()


def test_ctrl_c_ends_it_while_the_server_hangs(servers: Services, tmp_path: Path) -> None:
    load = Load(servers, "kafka", tmp_path)
    with away(servers, "kafka", HANGS_S, load.journals, load.third) as back:
        assert stopped_by_ctrl_c(load) == 130
        assert not back.is_set()
    assert load.run() == 0
    assert load.is_there()


def test_a_broker_that_lost_acknowledged_messages_is_reported_and_the_same_command_starts_from_the_beginning(
    servers: Services, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its power failed before its disk had all, and no other broker had it."""
    load = Load(servers, "kafka", tmp_path)

    def lose() -> None:
        while arrived(load.journals) < load.third:
            time.sleep(0.02)
        servers.kill("kafka")
        (state,) = servers.status("kafka")
        topic = f"topics/{kafka_url(load.url).topic}-*"
        for log in state.log.parent.glob(f"{topic}/*.log"):
            os.truncate(log, log.stat().st_size // 2)
        for snapshot in state.log.parent.glob(f"{topic}/*.snapshot"):
            snapshot.unlink()
        servers.up("kafka")

    thread = threading.Thread(target=lose)
    thread.start()
    code = load.run(slow=True)
    thread.join()
    assert code == 2
    assert "has lost messages that it had acknowledged" in capsys.readouterr().err
    assert load.run() == 0
    assert load.is_there()


def replace_topic(url: str, only_empty: bool = False) -> None:
    """Delete a topic and make it again, or delete all its messages."""
    topic = kafka_url(url)
    admin = AdminClient({"bootstrap.servers": topic.bootstrap})
    if only_empty:
        places = [
            TopicPartition(topic.topic, p, OFFSET_END)
            for p in admin.list_topics(topic.topic).topics[topic.topic].partitions
        ]
        for done in admin.delete_records(places).values():
            done.result(30)
        return
    admin.delete_topics([topic.topic])[topic.topic].result(30)
    for _ in range(100):  # it takes a moment until the name is free
        error = admin.create_topics([NewTopic(topic.topic, 1, 1)])[topic.topic].exception(30)
        if error is None:
            return
        time.sleep(0.2)
    raise AssertionError(error)


@pytest.mark.parametrize("is_done", [True, False])
@pytest.mark.parametrize("only_empty", [True, False])
def test_a_topic_that_was_made_again_or_emptied_between_two_runs_is_noticed(
    services: Services, kafka: str, tmp_path: Path, is_done: bool, only_empty: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    load = Load(services, "kafka", tmp_path, make_topic(kafka, f"again-{is_done}-{only_empty}"))
    assert load.run() == 0 if is_done else stopped_by_ctrl_c(load) == 130
    assert not is_done or load.run() == 0
    replace_topic(load.url, only_empty)
    for _ in range(2):  # it goes on when somebody has said so, and not before
        capsys.readouterr()
        assert load.run() == 2
        (shown,) = capsys.readouterr().err.splitlines()
        assert ("begins at offset" if only_empty else "was deleted and created again") in shown
        assert "--restart" in shown
    assert load.run(restart=True) == 0
    assert load.is_there()


def stopped_by_ctrl_c(load: Load) -> int:
    """The exit code of a load that is stopped when a third of it has arrived, and a moment has passed."""

    def stop() -> None:
        while arrived(load.journals) < load.third:
            time.sleep(0.02)
        time.sleep(2)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        return load.run(slow=True)
    finally:
        thread.join()
