"""Submit the graph to the Flink cluster of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from pipelines.cluster import portable
from pipelines.job_server import job_server
from runners.flink.cluster import JOB_SERVER, JobManager
from runners.services import HOME, Services
from runners.workers.service import Workers

PARALLELISM = 2
CHECKPOINT_MILLISECONDS = 10_000


@contextmanager
def on_flink(options: PipelineOptions, services: Services) -> Iterator[PipelineOptions]:
    """The options that run the body's pipelines there. Raises ServiceUnavailable where there is no cluster."""
    manager, workers = services.running(JobManager), services.running(Workers)
    jar = JOB_SERVER.install(HOME)
    defaults: dict[str, Any] = {"parallelism": PARALLELISM}
    if options.view_as(StandardOptions).streaming:
        defaults |= {
            "checkpointing_interval": CHECKPOINT_MILLISECONDS,
            "retain_externalized_checkpoints_on_cancellation": True,
        }

    def command(port: int) -> list[str]:
        where = [f"--flink-master={manager.address}", "--job-host=127.0.0.1", f"--job-port={port}"]
        ports = ["--artifact-port=0", "--expansion-port=0", f"--artifacts-dir={manager.folder / 'artifacts'}"]
        return ["java", "-Xmx512m", "-jar", str(jar), *where, *ports]

    with (
        (manager.folder / "job-server.log").open("ab") as log,
        job_server("Flink's job server", command, log.fileno()) as endpoint,
    ):
        yield portable(options, endpoint, defaults, environment_type="EXTERNAL", environment_config=workers.address)
