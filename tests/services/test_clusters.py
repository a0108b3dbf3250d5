"""The same graph on real clusters: the same rows, streams that survive kills, and what they refuse."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from lake.storage import storage
from pipelines.cli.app import known
from pipelines.cli.prism import on_prism
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import Asked
from pipelines.violations.run import run_graph as run
from runners.flink import cluster as flink
from runners.services import Services, free_port
from runners.services.services import Group
from runners.spark import cluster as spark
from tests.recovery.campaign import Attack, campaign
from tests.recovery.flink import Flow
from tests.recovery.flink import campaign as flink_campaign
from tests.recovery.soak import is_exact, make_recording, make_topic
from tests.services.conftest import need, up
from tests.services.support import make_topic as make_topic_of_kafka
from tests.services.support import payloads_of, publish, rows_in
from tests.services.test_unbounded import SKEW, TARDY, WINDOW, by_area, counted, early, has_ended, located, recorded_now
from tests.support import content, make_history, make_messages, run_graph
from transforms.refusals import DEFAULT_SHARE

pytestmark = [pytest.mark.services, pytest.mark.timeout(900)]

RUNNERS = ("prism", "flink", "spark")


class Cluster:
    """A cluster of this test session, and how to submit to it."""

    def __init__(self, name: str, services: Services, data: Path) -> None:
        self.services = services
        self.data = data
        self.submit = (f"runners.{name}", "submit", "--data", str(data))

    def run(self, *flags: str) -> subprocess.CompletedProcess[str]:
        """Submit, as a user does."""
        command = [sys.executable, "-m", *self.submit, "--quiet", *flags]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def s3(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An S3 server, which this process, clusters and workers find."""
    for name, value in up(services, "s3").items():
        monkeypatch.setenv(name, value)
    storage.cache_clear()
    yield
    storage.cache_clear()


def prepared(name: str, folder: Path) -> Services:
    """The services of a cluster, none of which runs yet; skips the test where the machine lacks a tool."""
    group: Group = {"flink": flink.GROUP, "spark": spark.GROUP}[name]
    services = Services(data=folder, ports={kind.name: free_port() for kind in group.kinds}, group=group)
    for kind in group.kinds:
        need(services, kind.name)
    services.install()  # before a command is waited for
    return services


@contextmanager
def running(name: str, folder: Path) -> Iterator[Cluster]:
    """A cluster while the body runs; its workers have the environment of this test."""
    services = prepared(name, folder)
    try:
        services.up()
        yield Cluster(name, services, folder)
    finally:
        services.down()


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """More than one cell of tickets."""
    return make_history(tmp_path_factory.mktemp("history") / "tickets.csv", 100_000)


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Messages with copies, v0 lines and spoiled ones."""
    dirt = ("--duplicates", "0.05", "--corrupt", "0.01", "--v0-share", "0.2", "--disorder", "30")
    return make_messages(tmp_path_factory.mktemp("messages") / "fleet.jsonl", 200, 120, *dirt)


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_lake_has_the_same_rows_whatever_the_runner(
    runner: str, s3: None, services: Services, history: Path, messages: Path, tmp_path: Path
) -> None:
    root, direct = f"s3://prestacop/rows-{runner}", tmp_path / "direct"
    run_graph(direct, history, messages)
    if runner == "prism":
        need(services, "prism")
        with on_prism(PipelineOptions([]), str(services.prism())) as options:
            run_graph(root, history, messages, options)
    else:
        with running(runner, tmp_path / runner) as cluster:
            done = cluster.run("--history", str(history), "--messages", f"file:{messages}", "--lake", root)
            assert done.returncode == 0, done.stderr
            again = cluster.run("--history", str(history), "--messages", f"file:{messages}", "--lake", root)
            assert "nothing new" in again.stdout
            refuses_a_file_of_something_else(cluster, history, f"s3://prestacop/wrong-{runner}")
    storage.cache_clear()
    expected, found = content(direct), content(root)
    assert found.keys() == expected.keys()
    for dataset in expected:
        assert found[dataset] == expected[dataset], dataset


def refuses_a_file_of_something_else(cluster: Cluster, history: Path, root: str) -> None:
    """It ends with the code of the DirectRunner, however often the cluster would repeat it."""
    done = cluster.run("--messages", f"file:{history}", "--lake", root)
    assert done.returncode == 3, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: unit drones-")
    assert "rows (100.0%) are refused, more than the 10% of --max-dead-letters" in line
    assert storage(root).list("dead_letters") == storage(root).list("ledger") == []


def test_a_file_of_something_else_ends_with_3_on_prism(s3: None, services: Services, history: Path) -> None:
    root = "s3://prestacop/wrong-prism"
    need(services, "prism")
    wrong = Asked(messages=str(history), max_dead_letters=DEFAULT_SHARE)
    with on_prism(PipelineOptions([]), str(services.prism())) as options, pytest.raises(Exception) as raised:  # noqa: PT011
        run(wrong, Settings(root, 3600), options)
    error = known(raised.value)
    assert error
    assert error.exit_code == 3
    assert "rows (100.0%) are refused, more than the 10% of --max-dead-letters" in str(error)
    assert storage(root).list("dead_letters") == storage(root).list("ledger") == []


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100,000 messages, a tenth of them copies, some of them spoiled."""
    return make_recording(tmp_path_factory.mktemp("recording"), 100_000)


@pytest.mark.parametrize(
    ("stream", "rate", "blows"),
    [
        ("kafka", 250, ("taskmanager-1", "jobmanager", "taskmanager-2", "savepoint", "taskmanager-1", "taskmanager-2")),
        ("pubsub", 500, ("taskmanager-1",)),
    ],
)
def test_flink_killed_again_and_again_loses_nothing_and_doubles_nothing(
    stream: str,
    rate: float,
    blows: tuple[str, ...],
    s3: None,
    services: Services,
    recording: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name, value in up(services, stream).items():
        monkeypatch.setenv(name, value)
    publish_to, read_from = make_topic(services, stream, f"flink-{stream}")
    rows = pq.read_metadata(f"{recording}.truth.parquet").num_rows
    flow = Flow(recording, publish_to, read_from, f"s3://prestacop/flink-{stream}", rate, rows, tmp_path / "log")
    with running("flink", tmp_path / "flink") as cluster:
        found = flink_campaign(flow, cluster.services, cluster.data, blows)
    assert found.exact, found
    assert stream == "pubsub" or found.read_once, found


def test_statistics_come_on_time_from_flink(s3: None, kafka: str, tmp_path: Path) -> None:
    root, live = tmp_path / "lake", tmp_path / "live"
    url = make_topic_of_kafka(kafka, "on-time")
    flags = ["--mode", "unbounded", "--messages", url, "--lake", str(root), "--skew", f"{SKEW}s"]
    flags += ["--live", f"file:{live}", "--live-window", f"{WINDOW}s"]
    with (
        running("flink", tmp_path / "flink") as cluster,
        subprocess.Popen([sys.executable, "-m", *cluster.submit, "--quiet", *flags]) as submitted,
    ):
        try:
            wait_until(submitted, lambda: any(root.glob("plans/*/floors.json")), 120)
            sent = publish(kafka, "on-time", payloads_of(recorded_now(tmp_path / "m", 100, 4)), partition=1)
            wait_until(submitted, lambda: root.exists() and rows_in(root) == len(sent), 60)
            for start in sorted({window for window, *_ in counted(root)}):
                wait_until(submitted, partial(has_ended, live, start), WINDOW + SKEW + TARDY + 10)
                after = datetime.now(UTC) - start - timedelta(seconds=WINDOW)
                assert timedelta(seconds=SKEW) <= after < timedelta(seconds=SKEW + TARDY)
            assert early(live) == counted(root)
            wait_until(submitted, lambda: by_area(live) == located(root), TARDY)
        finally:
            submitted.terminate()


def wait_until(process: subprocess.Popen[bytes], so: Callable[[], bool], seconds: float) -> None:
    """While a process runs, until something is so."""
    end = time.monotonic() + seconds
    while not so():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.1)


def test_spark_follows_in_increments_and_kills_lose_nothing_and_double_nothing(
    s3: None, kafka: str, services: Services, recording: Path, tmp_path: Path
) -> None:
    publish_to, read_from = make_topic(services, "kafka", "spark-follow")
    with running("spark", tmp_path / "spark") as cluster:
        attack = Attack(
            how=("--every", "2s"),
            messages=read_from,
            root="s3://prestacop/spark-follow",
            kills=3,
            longest=25,
            victims=("worker",),
            submit=cluster.submit,
        )
        outcome = campaign(attack, recording, publish_to, 1_500, cluster.services)
    assert is_exact(outcome, "kafka"), outcome
    assert outcome.replayed > 0


def test_spark_refuses_to_read_without_end_and_says_what_to_do(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "prestacop", "spark", "submit", "--data", str(tmp_path)]
    flags = ["--mode", "unbounded", "--messages", "kafka://127.0.0.1:1/t", "--lake", str(tmp_path / "lake")]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "--every" in done.stderr


@pytest.mark.parametrize("name", ["flink", "spark"])
def test_without_a_cluster_it_says_so(name: str, tmp_path: Path, history: Path) -> None:
    command = [sys.executable, "-m", f"runners.{name}", "submit", "--data", str(tmp_path / "none")]
    flags = ["--history", str(history), "--lake", str(tmp_path / "lake"), "--quiet"]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 4
    assert "start it before" in done.stderr
