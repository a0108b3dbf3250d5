"""Kill a Flink cluster's processes one after another while messages go through; what has the lake then?"""

import random
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

from pipelines.cli.commit_progress import Committed
from runners.flink import jobs
from runners.flink.cluster import JobManager
from runners.services import Services
from tests.recovery.comparison import Comparison, compare
from tests.recovery.publisher import Publishing

JOBMANAGER, SAVEPOINT = "jobmanager", "savepoint"
BLOWS = ("taskmanager-1", JOBMANAGER, "taskmanager-2", SAVEPOINT, "taskmanager-1", "taskmanager-2")
"""What happens one after another: a name is killed with -9, after the JobManager the job goes on with parallelism 1; a
savepoint ends the job, and it goes on with 3."""
PROGRESS_SECONDS = 600
END_SECONDS = 600


class Flow(NamedTuple):
    """What goes through the cluster."""

    recording: Path
    publish_to: str
    messages: str
    """The URL that the graph reads."""
    root: str
    rate: float
    """Messages a second until the last blow, so low that there are some for each: a cluster takes its time to go on."""
    rows: int
    """That the ledger has when all was read; of Pub/Sub at least."""
    log: Path


def campaign(flow: Flow, cluster: Services, data: Path, blows: tuple[str, ...] = BLOWS) -> Comparison:
    """Publish, strike, wait until all was read, and compare. Raises TimeoutError where the cluster does not go on."""
    dice = random.Random(flow.root)
    committed = Committed(flow.root)
    submitted = _submit(flow, data)
    try:
        with Publishing(flow.recording, flow.publish_to, flow.rate) as publishing:
            for number, blow in enumerate(blows, 1):
                _wait_for_progress(committed, cluster)
                time.sleep(dice.uniform(1, 4))
                print(f"blow {number}, {blow}: {publishing.published:,} published, {committed.units} units", flush=True)
                submitted = _strike(blow, flow, cluster, data, submitted, parallelism=1 + (number + 1) % 3)
            publishing.hurry()
            while not publishing.done:
                time.sleep(0.1)
        _wait_for_rows(committed, flow)
    finally:
        submitted.terminate()
        submitted.wait()
    jobs.stop(cluster.running(JobManager), None)
    return compare(flow.root, flow.recording)


def _strike(
    blow: str, flow: Flow, cluster: Services, data: Path, submitted: subprocess.Popen[bytes], parallelism: int
) -> subprocess.Popen[bytes]:
    """One blow; gives the process that has submitted the job that runs afterwards."""
    if blow == SAVEPOINT:
        jobs.stop(cluster.running(JobManager), None)
    else:
        cluster.kill(blow)
        cluster.up(blow)
    if blow not in (JOBMANAGER, SAVEPOINT):
        return submitted
    submitted.terminate()
    submitted.wait()
    return _submit(flow, data, "--go-on", "--parallelism", str(parallelism))


def _submit(flow: Flow, data: Path, *flags: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "prestacop",
        "flink",
        "submit",
        "--data",
        str(data),
        "--mode",
        "unbounded",
        "--quiet",
    ]
    command += ["--messages", flow.messages, "--lake", flow.root, "--checkpointing_interval", "2000", *flags]
    with flow.log.open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log)


def _wait_for_progress(committed: Committed, cluster: Services) -> None:
    """Until a job runs and units come into the ledger: before that, a blow would hit a cluster that is still down.

    What comes before the job is there is of the one that ran before: its tasks outlive their JobManager for a while.
    """
    deadline = time.monotonic() + PROGRESS_SECONDS
    while not jobs.running_ids(cluster.running(JobManager)):
        _look(committed, deadline)
    committed.refresh()
    before = committed.units
    while committed.units < before + 3:
        _look(committed, deadline)


def _wait_for_rows(committed: Committed, flow: Flow) -> None:
    deadline = time.monotonic() + END_SECONDS
    while committed.of("rows_in") < flow.rows:
        _look(committed, deadline)


def _look(committed: Committed, deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(f"the ledger stays at {committed.units} units, {committed.of('rows_in')} rows")
    time.sleep(0.5)
    committed.refresh()
