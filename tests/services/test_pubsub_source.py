"""A subscription is read into the lake: each message is seen once, however often it is delivered."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

import sources.streams.pubsub
from lake import lake
from lake.storage import storage
from messaging.urls import pubsub_url
from pipelines.maintenance.reconcile import reconcile
from runners.services import free_port
from schemas.errors import ServiceUnavailable
from schemas.lake import Source
from sources.streams.base import plan_until_now, read_unit
from sources.streams.pubsub import PubSubStream
from sources.units import Unit
from tests.services.support import (
    Subscription,
    payloads_of,
    pictures,
    read_up_to_now,
    rows_in,
    run,
    seen,
    sent_pictures,
    stored_pictures,
    truth,
)
from tests.support import make_messages

pytestmark = pytest.mark.services

MISHAPS = ("--corrupt", "0.05", "--v0-share", "0.3", "--disorder", "5")


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """This server gives at once what it has."""
    monkeypatch.setattr("sources.streams.pubsub.QUIET_SECONDS", 1)


def spooled(root: Path) -> list[str]:
    """The segments that the lake holds."""
    return [path.name for path in root.glob("spool/*/*.arrow")]


def test_what_was_published_is_in_the_lake_and_what_comes_later_is_added(pubsub: str, tmp_path: Path) -> None:
    root = tmp_path / "lake"
    began = datetime.now(UTC)
    with Subscription("exact") as subscription:
        first = make_messages(tmp_path / "first", 100, 30, *MISHAPS)
        rows = truth(first, subscription.publish(payloads_of(first)))
        read_up_to_now(root, subscription.url)
        assert seen(root) == rows
        assert rows_in(root) == rows.total()
        assert subscription.waiting() == []

        units = lake(str(root)).ledger.num_rows
        read_up_to_now(root, subscription.url)
        assert lake(str(root)).ledger.num_rows == units

        second = make_messages(tmp_path / "second", 50, 10, "--seed", "2", *MISHAPS)
        rows += truth(second, subscription.publish(payloads_of(second)))
        read_up_to_now(root, subscription.url)
    assert seen(root) == rows
    assert rows_in(root) == rows.total()
    assert reconcile(str(root)) == []
    assert spooled(root) == []
    times = lake(str(root)).sql("SELECT published_at FROM positions")["published_at"].to_pylist()
    assert all(began < time < datetime.now(UTC) for time in times)
    paths = lake(str(root)).sql("SELECT DISTINCT path FROM ledger")["path"].to_pylist()
    assert paths == [subscription.url]


class KilledError(Exception):
    """The process is gone."""


@contextmanager
def acknowledgements_lost(monkeypatch: pytest.MonkeyPatch, death: Exception | None = None) -> Iterator[list[str]]:
    """In the body nothing is acknowledged, and the process may die of it; gives what was to be."""
    ids: list[str] = []

    def acknowledge(_: object, some: list[str]) -> None:
        ids.extend(some)
        if death:
            raise death

    with monkeypatch.context() as patch:
        patch.setattr(sources.streams.pubsub.Subscription, "acknowledge", acknowledge)
        yield ids


def test_what_comes_again_after_a_crash_is_seen_once(
    pubsub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between spooling and acknowledging: the segment is there, and its messages are delivered again."""
    root = tmp_path / "lake"
    recording = make_messages(tmp_path / "m", 50, 20, *MISHAPS)
    with Subscription("crashed") as subscription:
        rows = truth(recording, subscription.publish(payloads_of(recording)))
        assert sum(branch == "dead_letters" for _, branch in rows) > 20
        with acknowledgements_lost(monkeypatch, KilledError()) as ids, pytest.raises(KilledError):
            read_up_to_now(root, subscription.url)
        assert len(spooled(root)) == 1
        assert lake(str(root)).ledger.num_rows == 0
        subscription.give_back(ids)
        read_up_to_now(root, subscription.url)
        assert subscription.waiting() == []
    assert seen(root) == rows
    assert rows_in(root) == rows.total() + len(ids)
    assert reconcile(str(root)) == []
    assert spooled(root) == []


def test_what_comes_again_as_its_acknowledgement_was_lost_is_seen_once(
    pubsub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "lake"
    recording = make_messages(tmp_path / "m", 50, 20, *MISHAPS)
    with Subscription("forgotten") as subscription:
        rows = truth(recording, subscription.publish(payloads_of(recording)))
        with acknowledgements_lost(monkeypatch) as ids:
            read_up_to_now(root, subscription.url)
        assert seen(root) == rows
        subscription.give_back(ids)
        read_up_to_now(root, subscription.url)
    assert rows_in(root) == 2 * rows.total()
    assert seen(root) == rows
    assert reconcile(str(root)) == []


def test_segments_that_a_killed_run_left_are_read_by_the_next_one(pubsub: str, tmp_path: Path) -> None:
    root = tmp_path / "lake"
    recording = make_messages(tmp_path / "m", 50, 20, *MISHAPS)
    payloads = payloads_of(recording)
    with Subscription("left") as subscription:
        stream = PubSubStream(pubsub_url(subscription.url), Source.DRONES)
        names = subscription.publish(payloads[:600])
        (unit,) = plan_until_now(stream, str(root))
        assert spooled(root) == [f"{unit.name}.arrow"]
        assert subscription.waiting() == []  # no other copy is left
        names += subscription.publish(payloads[600:])
        read_up_to_now(root, subscription.url)
    assert seen(root) == truth(recording, names)
    assert rows_in(root) == len(payloads)
    assert unit.name in lake(str(root)).ledger["unit"].to_pylist()
    assert reconcile(str(root)) == []
    assert spooled(root) == []


def test_a_segment_that_was_committed_and_not_removed_is_not_read_again(pubsub: str, tmp_path: Path) -> None:
    root = tmp_path / "lake"
    with Subscription("committed") as subscription:
        stream = PubSubStream(pubsub_url(subscription.url), Source.DRONES)
        subscription.publish([b"1", b"2", b"3"])
        (unit,) = plan_until_now(stream, str(root))
        path = f"{stream.spool}/{unit.name}.arrow"
        segment = storage(str(root)).read(path)
        read_up_to_now(root, subscription.url)
        storage(str(root)).put(path, segment)
        read_up_to_now(root, subscription.url)
    assert rows_in(root) == 3
    assert spooled(root) == []


def test_what_another_run_commits_and_removes_while_this_one_is_about_to_read_it_is_there_once(
    pubsub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other run begins when this one has found that the ledger does not have the segment."""
    root = tmp_path / "lake"
    recording = make_messages(tmp_path / "m", 50, 20, *MISHAPS)
    whole = PubSubStream.payloads
    others: list[int] = []
    with Subscription("beside") as subscription:
        names = subscription.publish(payloads_of(recording))

        def held(stream: PubSubStream, unit: Unit, lake_root: str) -> Iterator[pa.RecordBatch]:
            others.append(run(root, "--messages", subscription.url).returncode)
            assert spooled(root) == []
            yield from whole(stream, unit, lake_root)

        monkeypatch.setattr(PubSubStream, "payloads", held)
        read_up_to_now(root, subscription.url)
    assert others == [0]
    assert seen(root) == truth(recording, names)
    assert rows_in(root) == len(names)
    assert reconcile(str(root)) == []


def test_a_planner_gives_up_what_another_run_has_committed_and_removed(pubsub: str, tmp_path: Path) -> None:
    root = tmp_path / "lake"
    with Subscription("planned-twice") as subscription:
        stream = PubSubStream(pubsub_url(subscription.url), Source.DRONES)
        planner = stream.planner(str(root))
        subscription.publish([b"1", b"2"])
        assert planner.resume() == []
        ((unit, _),) = planner.poll(1).units
        assert planner.outstanding() == 1
        assert run(root, "--messages", subscription.url).returncode == 0
        assert spooled(root) == []
        assert list(read_unit(unit, stream, str(root))) == []
        planner.poll(0)
        assert planner.outstanding() == 0
        planner.close()
    assert rows_in(root) == 2


def test_messages_of_9_megabytes_pass_and_fill_a_segment_each(
    pubsub: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "lake"
    monkeypatch.setattr("sources.streams.pubsub.SEGMENT_BYTES", 9_000_000)
    monkeypatch.setattr("sources.streams.pubsub.PULLS", 1)
    payloads = pictures(tmp_path / "m", 6_750_000)
    assert min(map(len, payloads)) >= 9_000_000
    with Subscription("large") as subscription:
        for payload in payloads:
            subscription.publish([payload])
        read_up_to_now(root, images=subscription.url)
    assert stored_pictures(root) == sent_pictures(payloads)
    assert lake(str(root)).ledger["rows_in"].to_pylist() == [1] * len(payloads)
    assert reconcile(str(root)) == []


def test_a_dry_run_pulls_nothing_and_writes_nothing(pubsub: str, tmp_path: Path) -> None:
    root = tmp_path / "lake"
    with Subscription("dry") as subscription:
        stream = PubSubStream(pubsub_url(subscription.url), Source.DRONES)
        subscription.publish([b"1"])
        plan_until_now(stream, str(root))
        subscription.publish([b"2"])
        before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
        done = run(root, "--messages", subscription.url, "--dry-run")
        assert (done.returncode, done.stderr) == (0, "")
        assert "1 segments spooled" in done.stdout
        assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
        assert subscription.waiting() == [b"2"]


def test_an_unknown_subscription_ends_with_3_and_prints_how_to_create_it(pubsub: str, tmp_path: Path) -> None:
    done = run(tmp_path / "lake", "--messages", "pubsub://prestacop-sources/nowhere")
    assert done.returncode == 3
    assert done.stderr.startswith("error: pubsub://prestacop-sources/nowhere: there is no subscription nowhere")
    assert "prestacop topics" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "lake").exists()


def test_missing_credentials_end_with_7(tmp_path: Path) -> None:
    environment = {"PUBSUB_EMULATOR_HOST": "", "GOOGLE_APPLICATION_CREDENTIALS": "", "NO_GCE_CHECK": "true"}
    environment |= {"CLOUDSDK_CONFIG": str(tmp_path)}
    done = run(tmp_path / "lake", "--messages", "pubsub://prestacop-sources/fleet", environment=environment)
    assert done.returncode == 7
    assert done.stderr.startswith("error: pubsub://prestacop-sources/fleet: Your default credentials were not")
    assert "GOOGLE_APPLICATION_CREDENTIALS" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unreachable_server_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{free_port()}")
    monkeypatch.setattr("sources.streams.pubsub.START_SECONDS", 1)
    with pytest.raises(
        ServiceUnavailable, match=r"pubsub://prestacop-sources/fleet does not answer.*Check the network"
    ):
        read_up_to_now(tmp_path / "lake", "pubsub://prestacop-sources/fleet")


def test_a_silent_server_is_not_an_empty_subscription(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.streams.pubsub.START_SECONDS", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(ServiceUnavailable, match="does not answer"):
            read_up_to_now(tmp_path / "lake", "pubsub://prestacop-sources/fleet")
