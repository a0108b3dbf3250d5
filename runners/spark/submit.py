"""Submit the graph to the Spark cluster of this machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from apache_beam.options.pipeline_options import PipelineOptions

from pipelines.cli.cluster import portable
from pipelines.cli.job_server import job_server
from runners.services import HOME, Services
from runners.services.java import QUICK_START, empty_jar
from runners.spark.cluster import EXECUTOR_MEMORY, JOB_SERVER, SPARK, Master, SparkWorkers, cores, java

IDLE_MILLISECONDS = 60_000
"""How long an idle Python worker is kept: without it, each stage starts new ones."""


@contextmanager
def on_spark(options: PipelineOptions, services: Services) -> Iterator[PipelineOptions]:
    """The options that run pipelines in the cluster. Raises ServiceUnavailable where there is no cluster."""
    master, workers = services.running(Master), services.running(SparkWorkers)
    jar, spark = JOB_SERVER.install(HOME), SPARK.install(HOME)
    defaults: dict[str, Any] = {
        "sdk_worker_parallelism": cores(),
        "environment_cache_millis": IDLE_MILLISECONDS,
    }

    def command(port: int) -> list[str]:
        """The job server is also the driver of the application."""
        spark_settings = [
            "-Dspark.driver.host=127.0.0.1",
            "-Dspark.driver.bindAddress=127.0.0.1",
            "-Dspark.ui.enabled=false",
            f"-Dspark.executor.memory={EXECUTOR_MEMORY}",
            f"-Dspark.executor.extraClassPath={jar}",
            f"-Dspark.executor.extraJavaOptions={QUICK_START} -XX:+UseSerialGC",
            f"-Djava.io.tmpdir={temporary}",
        ]
        where = [f"--spark-master-url={master.url}", "--job-host=127.0.0.1", f"--job-port={port}"]
        ports = ["--artifact-port=0", "--expansion-port=0", f"--artifacts-dir={master.folder / 'artifacts'}"]
        program = java(
            spark, QUICK_START, "-Xmx1g", *spark_settings, "org.apache.beam.runners.spark.SparkJobServerDriver"
        )
        classes = program.index("-cp") + 1
        program[classes] = f"{jar}:{program[classes]}"
        return [*program, *where, *ports]

    with (
        master.temporary() as temporary,
        (master.folder / "job-server.log").open("ab") as log,
        job_server("Spark's job server", command, log.fileno(), {"SPARK_LOCAL_IP": "127.0.0.1"}) as endpoint,
    ):
        defaults["files_to_stage"] = [empty_jar(temporary)]  # the cluster has the classes
        yield portable(options, endpoint, defaults, environment_type="EXTERNAL", environment_config=workers.address)
