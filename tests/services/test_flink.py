"""What Beam's Flink runner gets wrong unless it is told otherwise."""

import argparse
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request, urlopen

import apache_beam as beam
import pytest

from pipelines.cli.app import JobEnded
from pipelines.cli.runner import beam_options
from runners.flink import jobs
from runners.flink.cluster import JobManager
from runners.flink.submit import on_flink
from schemas.errors import ServiceUnavailable
from tests.services.clusters import Cluster
from tests.support import wait_until

pytestmark = [pytest.mark.services, pytest.mark.timeout(1800)]

FLAGS = ("--checkpointing_interval=500", "--parallelism=1")


class _Slow(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    """Its bundle is still open when the last watermark, and then a checkpoint, comes."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def process(self, element: str) -> Iterator[tuple[str, str]]:
        time.sleep(self._seconds)
        yield element, "seen"


def _note(element: tuple[str, str]) -> None:
    Path(element[0]).write_text(element[1])


@pytest.fixture
def cluster(clusters: Callable[[str], Cluster]) -> Iterator[Cluster]:
    """The session's Flink; without a job when the test ends."""
    found = clusters("flink")
    yield found
    found.services.up()  # a test may have killed the JobManager
    manager = found.services.running(JobManager)
    for job in jobs.running_ids(manager):
        cancel(manager, job)
    wait_until(lambda: not jobs.running_ids(manager))


def cancel(manager: JobManager, job: str) -> None:
    """End a job without a savepoint."""
    urlopen(Request(f"http://{manager.address}/jobs/{job}?mode=cancel", method="PATCH")).close()


def test_the_output_of_a_bundle_during_a_checkpoint_is_not_lost(cluster: Cluster, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    options = beam_options(argparse.ArgumentParser(), FLAGS, streaming=True)
    with on_flink(options, cluster.services) as there:
        pipeline = beam.Pipeline(options=there)
        _ = (
            pipeline
            | beam.Create([str(seen)], reshuffle=False)
            | beam.ParDo(_Slow(4))
            | beam.Reshuffle()
            | beam.Map(_note)
        )
        job = pipeline.run()
        wait_until(seen.exists)
        job.cancel()


@pytest.mark.parametrize(
    "how", ["cancelled", "killed and started again", pytest.param("killed", marks=pytest.mark.nightly)]
)
def test_the_end_of_a_job_is_reported_to_its_submitter(cluster: Cluster, how: str) -> None:
    manager = cluster.services.running(JobManager)

    def end() -> None:
        wait_until(lambda: any(job["state"] == "RUNNING" for job in manager.request("jobs/overview")["jobs"]))
        if how == "cancelled":
            cancel(manager, *jobs.running_ids(manager))
            return
        cluster.services.kill(JobManager.name)
        if how == "killed and started again":
            cluster.services.up(JobManager.name)

    options = beam_options(argparse.ArgumentParser(), (*FLAGS, "--job_name=slow"), streaming=True)
    expected = "slow was cancelled in the cluster" if how == "cancelled" else r"has ended, and its jobs .* --go-on"

    def wait() -> None:
        with on_flink(options, cluster.services) as there:
            pipeline = beam.Pipeline(options=there)
            _ = pipeline | beam.Create(["x"], reshuffle=False) | beam.ParDo(_Slow(20))
            pipeline.run().wait_until_finish()

    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(end)
        with pytest.raises((JobEnded, ServiceUnavailable), match=expected) as raised:
            wait()
        ending.result(60)
    assert isinstance(raised.value, JobEnded | ServiceUnavailable)
    assert raised.value.exit_code == (130 if how == "cancelled" else 4)
