"""The flags of Beam and its runners that matter for the graph, by runner. Imports nothing of Beam."""

from typing import Final

BY_RUNNER: Final = {
    "every runner": {
        "--runner": "DirectRunner (default), PrismRunner, FlinkRunner, SparkRunner, DataflowRunner, PortableRunner",
        "--job_name": "its name in the cluster's pages",
    },
    "DirectRunner": {
        "--direct_num_workers": "threads or processes (the cores of this machine)",
        "--direct_running_mode": "multi_threading, or multi_processing (default where a million messages wait)",
    },
    "PrismRunner (--mode unbounded on this machine)": {
        "--prism_location": "the binary (the one that make services-install builds)",
    },
    "FlinkRunner (make submit-flink fills in the first three)": {
        "--flink_master": "HOST:PORT of the JobManager's REST interface, or [local]",
        "--flink_job_server_jar": "the jar that make flink-up builds: it listens on 127.0.0.1",
        "--listen-on-all": "behind a firewall: take another jar, such as Beam's published one",
        "--environment_type": "EXTERNAL with --environment_config HOST:PORT of a worker pool, DOCKER, or PROCESS",
        "--parallelism": "subtasks of each step",
        "--checkpointing_interval": "milliseconds between checkpoints (10000 by submit-flink)",
        "--savepoint_path": "a savepoint or checkpoint to resume from",
        "--allow_non_restored_state": "skip the state of steps that no longer exist",
        "--state_backend_storage_path": "where checkpoints are kept",
    },
    "DataflowRunner (docs/dataflow.md; needs the extra gcp)": {
        "--project": "the project of Google Cloud that pays for the job",
        "--region": "where its workers are",
        "--temp_location": "gs://BUCKET/PREFIX for the job's own files",
        "--sdk_container_image": "the image of deploy/Dockerfile, with this project in it",
        "--service_account_email": "the account of the workers",
        "--dry_run=true": "build the job and submit nothing",
    },
    "SparkRunner (make submit-spark fills in the first three)": {
        "--spark_master_url": "spark://HOST:PORT, yarn, or local[N]",
        "--spark_job_server_jar": "Beam's job server for Spark 3, as a jar (needs --listen-on-all)",
        "--environment_type": "as of Flink",
        "--environment_cache_millis": "how long an idle Python worker stays (60000 by submit-spark)",
        "--sdk_worker_parallelism": "Python workers of an executor (its cores by submit-spark)",
    },
}  # fmt: skip


def by_runner() -> str:
    """The same as text for a help page."""
    lines = ["options of Beam, by runner:"]
    for runner, flags in BY_RUNNER.items():
        lines += [f"  {runner}", *(f"    {flag:32}{text}" for flag, text in flags.items())]
    return "\n".join(lines)
