"""``--metrics-port`` of a run: its own figures beside those of its lake, and whether it is stuck."""

import urllib.request
from argparse import Namespace
from pathlib import Path

import boto3
import pytest

from lake import retries
from lake.ledger import commit
from lake.retries import Requests, patiently
from lake.storage.s3 import _s3_client
from messaging.urls import kafka_url
from metrics.lake.collector import Metrics
from metrics.lake.parts import Ends, LakePart, TopicPart
from metrics.server import Pages
from pipelines.violations import metrics as of_run
from pipelines.violations.metrics import METRICS, RunMetrics
from runners.services import free_port
from sources.progress import Lag, Progress
from tests.lakes import Said, write
from tests.metrics.support import check_page, get, samples
from tests.support import wait_until


def test_the_page_has_the_lake_and_what_the_process_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, progress, requests = str(tmp_path), Progress(), Requests()
    monkeypatch.setattr(of_run, "progress", progress)
    monkeypatch.setattr(of_run, "requests", requests)
    commit(root, [write(root, "drones-00000-" + 32 * "a", [Said("1")])])
    lake = LakePart(root, 15.0)
    assert lake.attempt() is None
    topic = TopicPart(kafka_url("kafka://127.0.0.1:1/fleet"), "drones", lake, None, 15.0)
    metrics = RunMetrics(Metrics(lake, [topic]))
    progress.planned(1_000)
    progress.advance(400)
    progress.came("drones", 7, 2_100)
    progress.lags("drones", Lag(messages=5, until=0.0, units=3))
    requests.count("PutObject")
    check_page(metrics, METRICS)
    assert samples(metrics, "prestacop_read_rows_total") == {("drones",): 1}
    assert samples(metrics, "prestacop_run_planned_bytes_total") == {(): 1_000}
    assert samples(metrics, "prestacop_run_read_bytes_total") == {(): 400}
    assert samples(metrics, "prestacop_run_read_messages_total") == {("drones",): 7}
    assert samples(metrics, "prestacop_run_units_under_way") == {("drones",): 3}
    assert samples(metrics, "prestacop_run_unplanned_messages") == {("drones",): 5}
    assert samples(metrics, "prestacop_s3_requests_total") == {("PutObject",): 1}


def test_requests_to_s3_are_counted_and_those_that_are_made_again() -> None:
    before, failed = retries.requests.made["ListBuckets"], retries.requests.failed
    session = boto3.Session("id", "key", region_name="us-east-1")
    client = _s3_client(session)
    client.meta.events.register_last("before-call.s3", lambda **_: (Response(), {}))
    client.list_buckets()
    assert retries.requests.made["ListBuckets"] == before + 1
    left = [OSError("HTTP status 503")]

    def call() -> None:
        if left:
            raise left.pop()

    patiently(call)
    assert retries.requests.failed == failed + 1


class Response:
    """An answer of S3."""

    status_code = 200


def test_a_run_that_commits_nothing_is_not_healthy(tmp_path: Path) -> None:
    """As :func:`serving_run` makes its pages."""
    now = [1_000.0]
    lake = LakePart(str(tmp_path), 15.0, lambda: now[0])
    topic = TopicPart(kafka_url("kafka://127.0.0.1:1/fleet"), "drones", lake, None, 15.0, lambda: now[0])

    def look() -> None:
        topic.found = Ends("drones-kafka-fleet", {0: 0}, {0: 12})
        topic.note()

    topic.look = look  # type: ignore[method-assign]
    metrics = Metrics(lake, [topic], lambda: now[0], stuck_after=60)
    pages = Pages(RunMetrics(metrics), metrics.stuck, metrics.old_looks)
    metrics.look()
    assert get(pages, "/healthz") == ("200 OK", "ok\n")
    for _ in range(4):
        now[0] += 15
        metrics.look()
    reason = "drones: nothing was committed for 60 s, and 12 messages wait\n"
    assert get(pages, "/healthz") == ("503 Service Unavailable", reason)
    assert get(pages, "/readyz") == ("200 OK", "ok\n")


@pytest.mark.embedded
def test_it_is_served_while_the_body_runs(tmp_path: Path) -> None:
    port = free_port()
    given = Namespace(
        lake=str(tmp_path), messages=None, images=None, metrics_host="127.0.0.1", metrics_port=port, stuck_after=300
    )

    def is_ready() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=60) as page:
                return bool(page.status == 200)
        except OSError:
            return False

    with of_run.serving_run(given):
        wait_until(is_ready)
    assert not is_ready()
