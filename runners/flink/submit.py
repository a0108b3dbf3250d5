"""Submit the graph to the Flink cluster of this machine."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from apache_beam.options.pipeline_options import GoogleCloudOptions, PipelineOptions, StandardOptions

from pipelines.cli.cluster import portable
from pipelines.cli.job_server import job_server
from pipelines.cli.runner_options import FlinkJobOptions
from runners.flink import jobs
from runners.flink.cluster import JOB_SERVER, JobManager
from runners.services import HOME, Services
from runners.services.java import QUICK_START, empty_jar
from runners.workers.service import Workers
from schemas.errors import InputUnusable, ServiceUnavailable

PARALLELISM = 2
CHECKPOINT_MILLISECONDS = 10_000
IDLE_MILLISECONDS = 1_000
"""How long a bounded job keeps an idle Python worker for its next stage: less than the delay of a restart, which so has
new ones."""
_LOST = re.compile(r"java\.net\.ConnectException|FlinkJobNotFoundException")
_NO_SNAPSHOT = re.compile(
    r"(Cannot find|Failed to rollback to|Could not (load|find)) [^\n:.]*(checkpoint|savepoint)[^\n]*"
)


@contextmanager
def on_flink(options: PipelineOptions, services: Services) -> Iterator[PipelineOptions]:
    """The options that run pipelines in the cluster. Raises ServiceUnavailable where there is no cluster."""
    manager, workers = services.running(JobManager), services.running(Workers)
    jar = JOB_SERVER.install(HOME)
    defaults: dict[str, Any] = {"parallelism": PARALLELISM}
    if options.view_as(StandardOptions).streaming:
        defaults |= {
            "checkpointing_interval": CHECKPOINT_MILLISECONDS,
            "retain_externalized_checkpoints_on_cancellation": True,
        }
    else:
        defaults["environment_cache_millis"] = IDLE_MILLISECONDS

    def command(port: int) -> list[str]:
        where = [f"--flink-master={manager.address}", "--job-host=127.0.0.1", f"--job-port={port}"]
        ports = ["--artifact-port=0", "--expansion-port=0", f"--artifacts-dir={manager.folder / 'artifacts'}"]
        small = [QUICK_START, "-XX:+UseSerialGC", "-Xmx512m"]
        return ["java", *small, f"-Djava.io.tmpdir={temporary}", "-jar", str(jar), *where, *ports]

    before, name = jobs.all_ids(manager), options.view_as(GoogleCloudOptions).job_name
    snapshot = options.view_as(FlinkJobOptions).savepoint_path
    final = jobs.FinalErrors(manager, name, before)
    with (
        manager.temporary() as temporary,
        (manager.folder / "job-server.log").open("ab") as log,
        job_server("Flink's job server", command, log.fileno()) as endpoint,
        final.watching(),
    ):
        defaults["files_to_stage"] = [empty_jar(temporary)]  # the cluster has the classes
        there = portable(options, endpoint, defaults, environment_type="EXTERNAL", environment_config=workers.address)
        try:
            yield there
        except RuntimeError as error:  # Beam raises it for a job that did not succeed
            if snapshot:
                _refuse_snapshot(snapshot, str(error))
            if _LOST.search(str(error)):
                raise ServiceUnavailable(
                    f"the JobManager at {manager.address} has ended, and its jobs with it; committed units stay in the "
                    "lake. Start it again (prestacop flink up), then submit with --go-on, which resumes from "
                    "the newest checkpoint"
                ) from error
            if final.found:
                raise final.found from error
            if ended := jobs.ended_by_user(manager, name, before):
                raise ended from error
            raise


def _refuse_snapshot(snapshot: str, text: str) -> None:
    """Raise InputUnusable where Flink cannot restore the snapshot."""
    if "Cannot map checkpoint/savepoint state" in text:
        raise InputUnusable(
            f"{snapshot} has the state of steps that this graph does not have. Give --history, --messages, --images, "
            "--live, --alerts, --alert-webhook and --alert-email as before; or omit --go-on and --savepoint_path: "
            "committed units are not read again, and only the open windows of --live are lost"
        )
    if found := _NO_SNAPSHOT.search(text):
        raise InputUnusable(
            f"Flink cannot resume from {snapshot}: {found[0].strip()}. prestacop flink status names the newest "
            "checkpoint or savepoint, and --go-on resumes from it"
        )
