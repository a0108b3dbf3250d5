"""The same graph on real clusters: the same rows, streams that survive kills, and what they refuse."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from lake import lake
from lake.storage import storage
from pipelines.cli.prism import on_prism
from pipelines.cli.worker_errors import known
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph as run
from runners.flink import jobs
from runners.flink.cluster import JobManager
from runners.services import Services
from schemas.dead_letter_share import DEFAULT_SHARE
from schemas.lake import Dataset
from tests.recovery.campaign import Attack, campaign
from tests.recovery.flink import Flow
from tests.recovery.flink import campaign as flink_campaign
from tests.recovery.soak import is_exact, make_recording, make_topic
from tests.services.clusters import Cluster
from tests.services.conftest import need, up
from tests.services.support import make_topic as make_topic_of_kafka
from tests.services.support import payloads_of, publish, rows_in
from tests.services.test_unbounded import SKEW, WINDOW, by_area, counted, early, has_ended, located, recorded_now
from tests.support import content, make_history, make_messages, run_graph, wait_until

pytestmark = [pytest.mark.services, pytest.mark.timeout(1800)]

RUNNERS = ("prism", "flink", "spark")
Clusters = Callable[[str], Cluster]


@pytest.fixture
def s3(services: Services, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An S3 server, which this process, clusters and workers find."""
    for name, value in up(services, "s3").items():
        monkeypatch.setenv(name, value)
    storage.cache_clear()
    yield
    storage.cache_clear()


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tickets, some of them odd."""
    return make_history(tmp_path_factory.mktemp("history") / "tickets.csv", 20_000)


@pytest.fixture(scope="module")
def messages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Messages with copies, v0 lines and spoiled ones, of drones some of which jump or fall silent."""
    dirt = ("--duplicates", "0.05", "--corrupt", "0.01", "--v0-share", "0.2", "--disorder", "30", "--faults", "0.1")
    return make_messages(tmp_path_factory.mktemp("messages") / "fleet.jsonl", 200, 60, *dirt)


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_lake_has_the_same_rows_whatever_the_runner(
    runner: str, s3: None, services: Services, clusters: Clusters, history: Path, messages: Path, tmp_path: Path
) -> None:
    root, direct = f"s3://prestacop/rows-{runner}", tmp_path / "direct"
    run_graph(direct, history, messages)
    assert lake(str(direct)).entries(Dataset.DRONE_EVENTS)  # each is a unit of the ledgers that are compared
    if runner == "prism":
        need(services, "prism")
        with on_prism(PipelineOptions([]), str(services.prism())) as options:
            run_graph(root, history, messages, options)
    else:
        cluster = clusters(runner)
        done = cluster.run("--history", str(history), "--messages", f"file:{messages}", "--lake", root)
        assert done.returncode == 0, done.stderr
        if runner == "flink":  # the ledger decides, not the runner
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
    wrong = ReadOptions(messages=str(history), max_dead_letters=DEFAULT_SHARE)
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


EACH = ("taskmanager-1", "jobmanager", "taskmanager-2", "savepoint", "taskmanager-1", "taskmanager-2")


@pytest.mark.parametrize(
    ("stream", "rate", "blows"),
    [
        ("kafka", 2_000, ("taskmanager-1",)),
        pytest.param("pubsub", 500, ("taskmanager-1",), marks=pytest.mark.nightly),
        pytest.param("kafka", 250, EACH, marks=pytest.mark.nightly),
    ],
)
def test_flink_reads_a_stream_exactly_once_through_kills(
    stream: str,
    rate: float,
    blows: tuple[str, ...],
    s3: None,
    services: Services,
    clusters: Clusters,
    recording: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    for name, value in up(services, stream).items():
        monkeypatch.setenv(name, value)
    name = f"flink-{stream}-{len(blows)}"
    publish_to, read_from = make_topic(services, stream, name)
    rows = pq.read_metadata(f"{recording}.truth.parquet").num_rows
    flow = Flow(recording, publish_to, read_from, f"s3://prestacop/{name}", rate, rows, tmp_path / "log")
    cluster = clusters("flink")
    found = flink_campaign(flow, cluster.services, cluster.data, blows)
    assert found.exact, found
    assert stream == "pubsub" or found.read_once, found


def test_statistics_come_on_time_from_flink(s3: None, kafka: str, clusters: Clusters, tmp_path: Path) -> None:
    root, live = tmp_path / "lake", tmp_path / "live"
    url = make_topic_of_kafka(kafka, "on-time")
    flags = ["--mode", "unbounded", "--messages", url, "--lake", str(root), "--skew", f"{SKEW}s"]
    flags += ["--live", f"file:{live}", "--live-window", f"{WINDOW}s"]
    cluster = clusters("flink")
    with subprocess.Popen([sys.executable, "-m", *cluster.submit, "--quiet", *flags]) as submitted:
        runs = partial(ends_not, submitted)
        try:
            wait_until(lambda: any(root.glob("plans/*/floors.json")), runs)
            sent = publish(kafka, "on-time", payloads_of(recorded_now(tmp_path / "m", 100, 4)), partition=1)
            wait_until(lambda: root.exists() and rows_in(root) == len(sent), runs)
            for start in sorted({window for window, *_ in counted(root)}):
                wait_until(partial(has_ended, live, start), runs)
                assert datetime.now(UTC) >= start + timedelta(seconds=WINDOW + SKEW)
            wait_until(lambda: early(live) == counted(root), runs)
            wait_until(lambda: by_area(live) == located(root), runs)
        finally:
            jobs.stop(cluster.services.running(JobManager), None)
            submitted.wait(180)


def ends_not(process: subprocess.Popen[bytes]) -> None:
    """Fail where it has ended."""
    assert process.poll() is None, f"it ended with {process.returncode}"


@pytest.mark.parametrize(("kills", "longest"), [(2, 5), pytest.param(3, 25, marks=pytest.mark.nightly)])
def test_spark_follows_a_topic_exactly_once_through_kills(
    kills: int,
    longest: float,
    s3: None,
    kafka: str,
    services: Services,
    clusters: Clusters,
    recording: Path,
    tmp_path: Path,
) -> None:
    name = f"spark-follow-{kills}"
    publish_to, read_from = make_topic(services, "kafka", name)
    cluster = clusters("spark")
    attack = Attack(
        how=("--every", "2s"),
        messages=read_from,
        root=f"s3://prestacop/{name}",
        kills=kills,
        longest=longest,
        victims=("worker",),
        submit=cluster.submit,
    )
    outcome = campaign(attack, recording, publish_to, 1_500, cluster.services)
    assert is_exact(outcome, "kafka"), outcome
    assert outcome.replayed > 0


def test_spark_rejects_unbounded_mode(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "prestacop", "spark", "submit", "--data", str(tmp_path)]
    flags = ["--mode", "unbounded", "--messages", "kafka://127.0.0.1:1/t", "--lake", str(tmp_path / "lake")]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 2
    assert "--every" in done.stderr


@pytest.mark.parametrize("name", ["flink", "spark"])
def test_submit_without_a_cluster_exits_4(name: str, tmp_path: Path, history: Path) -> None:
    command = [sys.executable, "-m", "prestacop", name, "submit", "--data", str(tmp_path / "none")]
    flags = ["--history", str(history), "--lake", str(tmp_path / "lake"), "--quiet"]
    done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 4
    assert "start it first" in done.stderr
