"""Two limits of Beam's job servers that shaped this project: a test that passes says that the limit is gone.

docs/clusters.md says what follows from each. They are run when ``runners/versions.py`` changes.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import apache_beam as beam
import pytest
from apache_beam.io.restriction_trackers import OffsetRange, OffsetRestrictionTracker
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.transforms.core import RestrictionProvider
from apache_beam.utils.timestamp import Duration

from pipelines.cli.app import JobEnded
from runners.flink import cluster as flink
from runners.flink.submit import on_flink
from runners.spark.submit import on_spark
from tests.services.clusters import Cluster
from tests.support import wait_until

pytestmark = [pytest.mark.services, pytest.mark.nightly, pytest.mark.timeout(1200)]

CHECKPOINTS = 20


class UpTo(RestrictionProvider):  # type: ignore[misc]  # Beam's classes are untyped
    """The numbers below an element."""

    def initial_restriction(self, element: int) -> OffsetRange:
        return OffsetRange(0, element)

    def create_tracker(self, restriction: OffsetRange) -> OffsetRestrictionTracker:
        return OffsetRestrictionTracker(restriction)

    def restriction_size(self, element: int, restriction: OffsetRange) -> int:
        return int(restriction.size())


TRACKER = beam.DoFn.RestrictionParam(UpTo())


class OneAtATime(beam.DoFn):  # type: ignore[misc]
    """Gives a number and defers the others."""

    def process(self, element: int, tracker: Any = TRACKER) -> Iterator[int]:
        position = tracker.current_restriction().start
        if tracker.try_claim(position):
            yield position
            tracker.defer_remainder(Duration(micros=10_000))


class OneAtATimeForEver(OneAtATime):
    """The same for an unbounded pipeline."""

    @beam.DoFn.unbounded_per_element()  # type: ignore[untyped-decorator]
    def process(self, element: int, tracker: Any = TRACKER) -> Iterator[int]:
        yield from super().process(element, tracker)


def append(path: str) -> Callable[[int], None]:
    def write(number: int) -> None:
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(f"{number}\n")

    return write


@pytest.mark.xfail(strict=True, raises=RuntimeError, reason="Beam 2.70 on Spark has no handler of deferred residuals")
def test_spark_runs_a_source_that_defers_its_residual(clusters: Callable[[str], Cluster], tmp_path: Path) -> None:
    cluster, seen = clusters("spark"), tmp_path / "seen"
    with (
        on_spark(PipelineOptions(), cluster.services) as options,
        beam.Pipeline(options=options) as pipeline,
    ):
        _ = pipeline | beam.Create([5]) | beam.ParDo(OneAtATime()) | beam.Map(append(str(seen)))
    assert sorted(map(int, seen.read_text().split())) == list(range(5))


@pytest.mark.xfail(strict=True, raises=AssertionError, reason="Beam 2.70 on Flink keeps each deferred residual")
def test_checkpoints_of_flink_do_not_grow_with_deferred_residuals(
    clusters: Callable[[str], Cluster], tmp_path: Path
) -> None:
    cluster, seen = clusters("flink"), tmp_path / "seen"
    manager = cluster.services.running(flink.JobManager)
    flags = ["--streaming", "--checkpointing_interval=500", "--job_name=limits", "--parallelism=1"]

    def run() -> None:
        with (
            suppress(JobEnded),  # it is cancelled below
            on_flink(PipelineOptions(flags), cluster.services) as options,
            beam.Pipeline(options=options) as pipeline,
        ):
            _ = pipeline | beam.Create([10**9]) | beam.ParDo(OneAtATimeForEver()) | beam.Map(append(str(seen)))

    def sizes() -> list[int]:
        for job in manager.request("jobs/overview")["jobs"]:
            if job["name"] == "limits":
                found = manager.request(f"jobs/{job['jid']}/checkpoints")
                return [one["state_size"] for one in found["history"] if one["status"] == "COMPLETED"]
        return []

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        wait_until(seen.exists, seconds=600)
        found: list[int] = []
        for _ in count():
            found += sizes()[:1]
            if len(found) > CHECKPOINTS:
                break
            time.sleep(0.5)
    finally:
        for job in manager.request("jobs/overview")["jobs"]:
            if job["name"] == "limits":
                manager.request(f"jobs/{job['jid']}", method="PATCH")
        thread.join()
    assert found[-1] < 1.5 * found[0], found
