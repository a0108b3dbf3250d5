"""The command follows topics without end on Prism: nothing is lost or doubled, and nothing is left behind."""

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from apps.loader.command import main as loader
from apps.simulator.fleet.flight import Flight
from apps.simulator.fleet.mishaps import Mishaps
from apps.simulator.fleet.mishaps import publish as fly_with
from lake import lake
from messaging.urls import kafka_url
from pipelines.cli.loopback import reachable
from pipelines.maintenance.reconcile import reconcile
from schemas.drone_health import decode
from schemas.lake import BRANCHES, Source
from sources.streams.kafka import KafkaStream
from tests.services.support import (
    Subscription,
    command,
    expected,
    make_topic,
    payloads_of,
    publish,
    rows_in,
    seen,
    stored,
    truth,
)
from tests.services.support import run as run_bounded
from tests.support import content, make_history, make_messages, run_graph, wait_until
from transforms.health.detect import NEVER, detect
from transforms.health.samples import samples_of

pytestmark = [pytest.mark.services, pytest.mark.timeout(1200)]

WINDOW, SKEW = 10, 2


class Following:
    """A run of the command without end."""

    def __init__(self, process: subprocess.Popen[bytes], errors: Path, prism: Path) -> None:
        self._process = process
        self._errors = errors
        self._prism = prism

    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait_until(self, so: Callable[[], bool]) -> None:
        """While it runs, until something is so."""
        wait_until(so, self._is_running)

    def _is_running(self) -> None:
        assert self.runs(), f"it ended with {self._process.returncode}: {self.printed()}"

    def runner(self) -> psutil.Process:
        """The Prism that it has started."""
        (child,) = psutil.Process(self._process.pid).children(recursive=True)
        assert child.exe() == str(self._prism.resolve())
        return child

    def end(self, how: signal.Signals) -> int:
        """End it and wait for its Prism to end too; gives its exit code."""
        runner = self.runner()
        assert reachable(self._process.pid) == []
        self._process.send_signal(how)
        code = self._process.wait(300)
        psutil.wait_procs([runner], timeout=300)
        assert not runner.is_running()
        return code

    def ended(self) -> int:
        """Wait until it ends by itself; gives its exit code."""
        return self._process.wait(300)

    def printed(self) -> str:
        """What is on its stderr."""
        return self._errors.read_text()


@pytest.fixture
def follow(prism: Path, tmp_path: Path) -> Callable[..., Any]:
    """Starts a run; its live windows go into a file."""

    @contextmanager
    def following(root: Path, messages: str | None, *more: str) -> Iterator[Following]:
        flags = ["--mode", "unbounded", "--prism_location", str(prism), *(["--messages", messages] if messages else [])]
        flags += ["--live", f"file:{tmp_path / 'live'}", "--live-window", f"{WINDOW}s", "--skew", f"{SKEW}s"]
        errors = tmp_path / "stderr"
        with errors.open("wb") as file, subprocess.Popen(command(root, *flags, *more), stderr=file) as process:
            try:
                yield Following(process, errors, prism)
            finally:
                process.kill()

    return following


def recorded_now(path: Path, drones: int, seconds: int) -> Path:
    """A recording of drones that begins now, some of it unreadable.

    It begins with the next window where this one is over soon: what a slow machine publishes after that would be late.
    """
    now = time.time()
    start = now if now % WINDOW < WINDOW / 3 else (now // WINDOW + 1) * WINDOW
    begins = datetime.fromtimestamp(start, UTC).isoformat().replace("+00:00", "Z")
    return make_messages(path, drones, seconds, "--start", begins, "--corrupt", "0.02")


def panes(live: Path) -> list[dict[str, Any]]:
    """All that were written up to now, without the lines of drones."""
    lines = live.read_text().split("\n")[:-1] if live.exists() else []
    return [pane for line in lines if "drones" not in (pane := json.loads(line))]


def has_ended(live: Path, window: datetime) -> bool:
    """Whether there is a pane on time of the window that begins then."""
    return (window.isoformat(), "on_time") in {(pane["window_start"], pane["timing"]) for pane in panes(live)}


Sums = Counter[tuple[datetime, str, int | None]]


def early(live: Path) -> Sums:
    """The sums of the panes before a window's end, by window, dataset and code."""
    sums: Sums = Counter()
    for pane in panes(live):
        if pane["timing"] == "early":
            window = datetime.fromisoformat(pane["window_start"])
            sums[window, pane["dataset"], pane["violation_code"]] += pane["n"]
    return sums


def by_area(live: Path) -> Counter[tuple[datetime, str, str]]:
    """The sums of the panes by area, by window, dataset and area; each is of a window that is complete."""
    sums: Counter[tuple[datetime, str, str]] = Counter()
    for pane in panes(live):
        for area, n in pane.get("areas", {}).items():
            assert pane["timing"] in ("on_time", "late")
            sums[datetime.fromisoformat(pane["window_start"]), pane["dataset"], area] += n
    return sums


def located(root: Path) -> Counter[tuple[datetime, str, str]]:
    """The same of the rows that are in the lake."""
    rows = " UNION ALL ".join(f"SELECT event_time, '{b}' AS dataset, area FROM {b}" for b in BRANCHES)
    window = f"time_bucket(INTERVAL '{WINDOW} seconds', event_time)"
    with lake(str(root)).connect() as connection:
        found = connection.sql(f"SELECT {window}, dataset, area, count(*) FROM ({rows}) GROUP BY ALL").fetchall()
    return Counter({(start, dataset, area): n for start, dataset, area, n in found})


def counted(root: Path) -> Sums:
    """The same of the rows that are in the lake, and of its dead letters by when they were published."""
    branches = " UNION ALL ".join(
        f"SELECT {time} AS event_time, '{branch}' AS dataset, {code} AS code FROM {branch}"
        for branch, code, time in (
            ("positions", "NULL", "event_time"), ("qualified", "violation_code", "event_time"),
            ("unqualified", "violation_code", "event_time"), ("dead_letters", "NULL", "published_at"),
        )
    )  # fmt: skip
    query = f"""SELECT time_bucket(INTERVAL '{WINDOW} seconds', event_time), dataset, code, count(*)
                FROM ({branches}) GROUP BY ALL"""
    with lake(str(root)).connect() as connection:
        rows = connection.sql(query).fetchall()
    return Counter({(window, dataset, code): n for window, dataset, code, n in rows})


def assert_windows_end_at_the_watermark(following: Following, live: Path, windows: set[datetime]) -> None:
    """Wait for the pane on time of each, which does not come before the watermark."""
    for start in sorted(windows):
        following.wait_until(partial(has_ended, live, start))
        assert datetime.now(UTC) >= start + timedelta(seconds=WINDOW + SKEW)


def test_a_topic_is_followed_until_ctrl_c(kafka: str, tmp_path: Path, follow: Callable[..., Any]) -> None:
    """All messages are in one partition: the others, which are idle, hold no window up."""
    root, live = tmp_path / "lake", tmp_path / "live"
    url = make_topic(kafka, "followed")
    with follow(root, url) as following:
        following.wait_until(lambda: any(root.glob("plans/*/floors.json")))
        recording = recorded_now(tmp_path / "m", 100, 4)
        sent = publish(kafka, "followed", payloads_of(recording), partition=1)
        following.wait_until(lambda: rows_in(root) == len(sent))
        rows = counted(root)
        assert_windows_end_at_the_watermark(following, live, {window for window, *_ in rows})
        following.wait_until(lambda: early(live) == rows)
        assert "dead_letters" in {dataset for _, dataset, _ in rows}
        following.wait_until(lambda: by_area(live) == located(root))
        assert {pane["timing"] for pane in panes(live)} == {"early", "on_time"}
        code = following.end(signal.SIGINT)
        printed = following.printed()
    assert code == 130
    assert "Traceback" not in printed
    assert f"run again:\n  prestacop run --quiet --lake {root}" in printed
    assert stored(root) == expected("followed", recording, sent)
    assert reconcile(str(root)) == []


def test_a_killed_run_finds_each_event_of_drones_once(kafka: str, tmp_path: Path, follow: Callable[..., Any]) -> None:
    """A flight that ended five minutes ago, so that no event is still to be decided, is read; the run is killed in the
    middle, and run again."""
    root, live = tmp_path / "lake", tmp_path / "live"
    url, alerts = make_topic(kafka, "silent"), make_topic(kafka, "silent-alerts")
    start = datetime.now(UTC) - timedelta(seconds=900)
    flight = Flight(drones=20, seconds=600, rate=0.5, seed=5, start=start, violation_share=0.03, faults=0.5)
    messages = [message for step in fly_with(flight, Mishaps()) for message in step.messages]
    producer = Producer({"bootstrap.servers": kafka})
    for message in messages:
        partition = int(message.drone[-4:]) % 4
        producer.produce("silent", message.payload, partition=partition, timestamp=message.at_us // 1000)
        producer.poll(0)
    assert producer.flush(60) == 0
    with follow(root, url, "--alerts", alerts) as following:
        following.wait_until(lambda: rows_in(root) > 0)
        assert following.end(signal.SIGKILL) == -signal.SIGKILL
    before = live.read_text().count('{"drones":[["drone-') if live.exists() else 0
    found = "SELECT drone_id, kind, event_id FROM drone_events ORDER BY ALL"
    with follow(root, url, "--alerts", alerts) as following:
        following.wait_until(lambda: rows_in(root) == len(messages))
        following.wait_until(lambda: lake(str(root)).sql(found).to_pylist() == events_of(root))
        following.wait_until(lambda: live.read_text().count('{"drones":[["drone-') > before)
        assert following.runs(), following.printed()
        code = following.end(signal.SIGINT)
    assert code == 130
    events = lake(str(root)).sql(found).to_pylist()
    assert {event["kind"] for event in events} == {"silent", "battery_low", "position_jump", "clock_off"}
    assert published_events(kafka, "silent-alerts") == {event["event_id"] for event in events}
    assert reconcile(str(root)) == []


def published_events(broker: str, topic: str) -> set[str]:
    """The ids of the events in a topic of alerts."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "test", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in range(4)])
    found, empty = set(), 0
    while empty < 3:
        messages = consumer.consume(1_000, 1)
        empty = 0 if messages else empty + 1
        payloads = [message.value() or b"" for message in messages]
        found |= {decode(payload).message_id for payload in payloads if json.loads(payload)["kind"] != "violation"}
    consumer.close()
    return found


def events_of(root: Path) -> list[dict[str, Any]]:
    """The events that are in all rows of the lake."""
    lk = lake(str(root))
    samples = pa.concat_tables([samples_of(lk.sql(f"FROM {branch}"), with_violations=False) for branch in BRANCHES])
    events = detect(samples, NEVER, time.time_ns() // 1000 - 60_000_000).events
    names = ["drone_id", "kind", "event_id"]
    return sorted(events.select(names).to_pylist(), key=lambda event: tuple(event[name] for name in names))


@pytest.mark.nightly  # tests/services/test_recovery.py kills such runs, too
def test_a_killed_run_resumes_and_nothing_is_lost_or_duplicated(
    kafka: str, tmp_path: Path, follow: Callable[..., Any]
) -> None:
    root = tmp_path / "lake"
    url = make_topic(kafka, "resumed")
    recording = make_messages(tmp_path / "m", 1_000, 40)
    payloads = payloads_of(recording)
    with follow(root, url) as following:
        sent = publish(kafka, "resumed", payloads[:1_000])
        following.wait_until(lambda: rows_in(root) == len(sent))
        sent += publish(kafka, "resumed", payloads[1_000:30_000])
        following.wait_until(lambda: any(int(path.stem) for path in root.glob("plans/*/*/[0-9]*.json")))
        code = following.end(signal.SIGKILL)
    assert code == -signal.SIGKILL
    done = rows_in(root)
    assert done < len(sent)

    sent += publish(kafka, "resumed", payloads[30_000:35_000])
    with follow(root, url) as following:
        following.wait_until(lambda: rows_in(root) >= len(sent))
        sent += publish(kafka, "resumed", payloads[35_000:])
        following.wait_until(lambda: rows_in(root) >= len(sent))
        code = following.end(signal.SIGTERM)
        printed = following.printed()
    assert code == 130
    assert "Traceback" not in printed
    assert rows_in(root) == len(payloads)
    assert stored(root) == expected("resumed", recording, sent)
    assert reconcile(str(root)) == []


def test_a_subscription_is_followed_and_resumed_after_a_kill(
    pubsub: str, tmp_path: Path, follow: Callable[..., Any]
) -> None:
    root, live = tmp_path / "lake", tmp_path / "live"
    with Subscription("followed") as subscription:
        with follow(root, subscription.url) as following:
            first = recorded_now(tmp_path / "first", 100, 4)
            rows = truth(first, subscription.publish(payloads_of(first)))
            following.wait_until(lambda: rows_in(root) == rows.total())
            assert_windows_end_at_the_watermark(following, live, {window for window, *_ in counted(root)})
            following.wait_until(lambda: early(live) == counted(root))
            code = following.end(signal.SIGKILL)
        assert code == -signal.SIGKILL

        second = make_messages(tmp_path / "second", 100, 20, "--seed", "2", "--corrupt", "0.05")
        payloads = payloads_of(second)
        names = subscription.publish(payloads[:1_000])
        with follow(root, subscription.url) as following:
            names += subscription.publish(payloads[1_000:])
            following.wait_until(lambda: rows_in(root) >= rows.total() + len(payloads))
            following.wait_until(lambda: not list(root.glob("spool/*/*.arrow")))
            code = following.end(signal.SIGTERM)
            printed = following.printed()
        assert subscription.waiting() == []
    assert code == 130
    assert "Traceback" not in printed
    assert seen(root) == rows + truth(second, names)
    assert reconcile(str(root)) == []


def forgotten(root: Path, url: str) -> bool:
    """Whether a topic of the loader gives no file any more, nor the lake's spool holds one."""
    if url.startswith("pubsub:"):
        return not list(root.glob("spool/*/*.arrow"))
    return KafkaStream(kafka_url(url), Source.HISTORY).everything(str(root)) == []


@pytest.mark.parametrize("stream", ["kafka", pytest.param("pubsub", marks=pytest.mark.nightly)])
def test_files_that_are_loaded_meanwhile_are_read_when_they_are_there(
    stream: str, kafka: str, pubsub: str, tmp_path: Path, follow: Callable[..., Any]
) -> None:
    """One was there before, one comes while it runs, one after a kill; rows and units are those of the files."""
    files = [make_history(tmp_path / f"{n}.csv", 3_000, "--dirt", "30", "--seed", str(n)) for n in range(3)]
    if stream == "kafka":
        url = make_topic(kafka, "tickets-followed", partitions=2)
    else:
        with Subscription("tickets-followed") as subscription:
            url = subscription.url
    root = tmp_path / "lake"

    def load(file: Path) -> None:
        assert loader([str(file), "--to", url, "--journal", str(tmp_path / "journals"), "--quiet"]) == 0

    def committed() -> int:
        return int(lake(str(root)).ledger.num_rows)

    load(files[0])
    with follow(root, None, "--history", url) as following:
        following.wait_until(lambda: committed() == 1)
        load(files[1])
        following.wait_until(lambda: committed() == 2)
        code = following.end(signal.SIGKILL)
    assert code == -signal.SIGKILL
    with follow(root, None, "--history", url) as following:
        load(files[2])
        following.wait_until(lambda: committed() == 3)
        following.wait_until(lambda: forgotten(root, url))
        code = following.end(signal.SIGINT)
        printed = following.printed()
    assert (code, "Traceback" in printed) == (130, False)
    for file in files:
        run_graph(tmp_path / "direct", file)
    assert content(root) == content(tmp_path / "direct")
    assert reconcile(str(root)) == []


def test_bounded_runs_beside_one_without_end_take_nothing_from_it(
    pubsub: str, tmp_path: Path, follow: Callable[..., Any]
) -> None:
    """On one subscription of messages and one of files; each run reads what it comes by, and removes it."""
    root = tmp_path / "lake"
    recording = make_messages(tmp_path / "m", 200, 20, "--corrupt", "0.02")
    payloads = payloads_of(recording)
    files = [make_history(tmp_path / f"{n}.csv", 3_000, "--dirt", "30", "--seed", str(n)) for n in range(2)]
    with Subscription("fleet-shared") as fleet, Subscription("tickets-shared") as tickets:
        names: list[str] = []
        with follow(root, fleet.url, "--history", tickets.url) as following:
            for file in files:
                journal = ["--journal", str(tmp_path / "journals"), "--quiet"]
                assert loader([str(file), "--to", tickets.url, *journal]) == 0
                names += fleet.publish(payloads[len(names) :][: len(payloads) // len(files) + 1])
                beside = run_bounded(root, "--messages", fleet.url, "--history", tickets.url)
                assert (beside.returncode, "Traceback" in beside.stderr) == (0, False)
            following.wait_until(lambda: rows_in(root) >= len(names) + 3_000 * len(files))
            following.wait_until(lambda: not list(root.glob("spool/*/*.arrow")))
            code = following.end(signal.SIGINT)
            printed = following.printed()
    assert (code, "Traceback" in printed) == (130, False)
    found = lake(str(root))
    assert found.sql("SELECT count(*) AS n FROM ledger WHERE source = 'history'").to_pylist() == [{"n": 2}]
    drones = Counter({row: n for row, n in seen(root).items() if row[0] is not None})
    assert drones == truth(recording, names)
    assert reconcile(str(root)) == []


def run(*flags: str, **settings: Any) -> subprocess.CompletedProcess[str]:
    """The command, where it ends by itself."""
    line = [*command("lake", "--mode", "unbounded"), *flags]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=300, **settings)


def test_an_unknown_topic_or_subscription_ends_with_3_in_one_line(
    kafka: str, pubsub: str, prism: Path, tmp_path: Path
) -> None:
    for url, expected_text in (
        (f"kafka://{kafka}/nowhere", "there is no topic nowhere"),
        ("pubsub://prestacop-sources/nowhere", "there is no subscription nowhere"),
    ):
        done = run("--messages", url, "--prism_location", str(prism), cwd=tmp_path)
        assert done.returncode == 3
        assert done.stderr.startswith(f"error: {url}: {expected_text}")
        assert done.stderr.count("\n") == 1


def test_beams_time_out_of_the_job_server_does_not_end_a_run_without_end(
    kafka: str, tmp_path: Path, follow: Callable[..., Any]
) -> None:
    """It is 300 s unless said otherwise, and holds for listening to the job too."""
    root = tmp_path / "lake"
    url = make_topic(kafka, "patient")
    publish(kafka, "patient", [b"1"])
    with follow(root, url, "--job_server_timeout=4") as following:
        following.wait_until(lambda: rows_in(root) == 1)
        time.sleep(6)
        publish(kafka, "patient", [b"2"])
        following.wait_until(lambda: rows_in(root) == 2)


def test_a_runner_that_is_killed_ends_the_run(kafka: str, tmp_path: Path, follow: Callable[..., Any]) -> None:
    root = tmp_path / "lake"
    url = make_topic(kafka, "unled")
    publish(kafka, "unled", [b"1"])
    with follow(root, url) as following:
        following.wait_until(lambda: rows_in(root) == 1)
        following.runner().kill()
        assert following.ended() == 4
        assert "error: Prism has ended (-9); run the same command again" in following.printed()


@pytest.mark.parametrize(
    ("flags", "expected_text"),
    [
        (["--runner", "DirectRunner"], "leave --runner out for Prism, or use FlinkRunner"),
        ([], "make services-install"),
        (["--prism_location", "/nowhere/prism"], "/nowhere/prism"),
    ],
)
def test_without_a_runner_that_streams_it_ends_with_2_and_says_how_to_get_one(
    tmp_path: Path, flags: list[str], expected_text: str
) -> None:
    environment = os.environ | {"PATH": str(tmp_path)}
    done = run("--messages", "kafka://127.0.0.1:9/fleet", *flags, cwd=tmp_path, env=environment)
    assert done.returncode == 2
    assert expected_text in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "lake").exists()
