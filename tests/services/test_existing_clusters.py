"""The ways of docs/clusters.md to clusters that exist already: Beam's own command line, and jars of the graph."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runners.flink import cluster as flink
from runners.services import HOME, free_port
from runners.spark import cluster as spark
from runners.workers.service import Workers
from tests.services.clusters import Cluster, prepared
from tests.services.support import make_topic, payloads_of, publish, rows_in
from tests.support import content, make_history, make_messages, run_graph, wait_until

pytestmark = [pytest.mark.services, pytest.mark.timeout(1200)]

ENTRY = "org.apache.flink.container.entrypoint.StandaloneApplicationClusterEntryPoint"
FLINK_RUNNER = "org.apache.beam.runners.flink.FlinkPipelineRunner"
SPARK_SERVER = "org.apache.beam.runners.spark.SparkJobServerDriver"
ROWS = 3_000


def graph(runner: str, workers: str, *flags: str) -> subprocess.CompletedProcess[str]:
    """``prestacop run`` with Beam's own options."""
    line = [sys.executable, "-m", "prestacop", "run", "--runner", runner, "--quiet"]
    line += ["--environment_type", "EXTERNAL", "--environment_config", workers, *flags]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=240)


def test_a_flink_that_runs_takes_the_graph(clusters: Callable[[str], Cluster], tmp_path: Path) -> None:
    history, root, direct = make_history(tmp_path / "t.csv", ROWS), tmp_path / "lake", tmp_path / "direct"
    cluster = clusters("flink")
    manager, workers = cluster.services.running(flink.JobManager), cluster.services.running(Workers)
    given = ["--flink_job_server_jar", str(flink.JOB_SERVER.install(HOME)), "--flink_master", manager.address]
    given += ["--parallelism", "2", "--history", str(history), "--lake", str(root)]
    done = graph("FlinkRunner", workers.address, *given)
    assert done.returncode == 0, done.stderr
    run_graph(direct, history)
    assert content(root) == content(direct)


def test_a_spark_that_runs_takes_the_graph_from_a_job_server(
    clusters: Callable[[str], Cluster], tmp_path: Path
) -> None:
    history, root, direct = make_history(tmp_path / "t.csv", ROWS), tmp_path / "lake", tmp_path / "direct"
    jar, program, port = spark.JOB_SERVER.install(HOME), spark.SPARK.install(HOME), free_port()
    cluster = clusters("spark")
    master, workers = cluster.services.running(spark.Master), cluster.services.running(Workers)
    line = ["java", *spark.OPENED.split(), "-cp", f"{jar}:{program}/jars/*", SPARK_SERVER]
    line += ["--spark-master-url", master.url, "--job-port", str(port), "--artifact-port=0", "--expansion-port=0"]
    here = os.environ | {"SPARK_LOCAL_IP": "127.0.0.1"}
    with (
        (tmp_path / "server.log").open("wb") as log,
        subprocess.Popen(line, stdout=log, stderr=log, env=here) as server,
    ):
        try:
            given = ("--history", str(history), "--lake", str(root))
            done = graph("PortableRunner", workers.address, "--job_endpoint", f"localhost:{port}", *given)
        finally:
            server.terminate()
    assert done.returncode == 0, done.stderr
    run_graph(direct, history)
    assert content(root) == content(direct)


def runs(jar: Path, session: Callable[[flink.JobManager, Path], list[str]]) -> Callable[..., list[str]]:
    """How a JobManager is started that runs this jar and nothing else, as the Kubernetes operator starts one: Beam's
    classes are those of the jar, beside which it looks for the graph."""

    def command(self: flink.JobManager, program: Path) -> list[str]:
        *java, _, flag, settings = session(self, program)
        java = [part.removesuffix(f":{flink.JOB_SERVER.install(HOME)}") for part in java]
        return [*java, ENTRY, flag, settings, "--job-classname", FLINK_RUNNER, "--jars", f"local://{jar}"]

    return command


@pytest.mark.nightly  # it starts a cluster of its own, twice
def test_a_flink_application_runs_its_jar_and_again_after_a_crash(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = prepared("flink", tmp_path / "flink")
    root, jar, url = tmp_path / "lake", tmp_path / "graph.jar", make_topic(kafka, "application")
    payloads = payloads_of(make_messages(tmp_path / "m.jsonl", 50, 60))
    half = len(payloads) // 2
    try:
        (workers,) = services.up("workers")
        given = ["--flink_job_server_jar", str(flink.JOB_SERVER.install(HOME)), "--output_executable_path", str(jar)]
        given += ["--parallelism", "2", "--checkpointing_interval", "2000"]
        given += ["--mode", "unbounded", "--messages", url, "--lake", str(root)]
        made = graph("FlinkRunner", workers.address, *given)
        assert made.returncode == 0, made.stderr
        monkeypatch.setattr(flink.JobManager, "command", runs(jar, flink.JobManager.command))
        services.up()
        publish(kafka, "application", payloads[:half])
        wait_until(lambda: root.exists() and rows_in(root) == half, seconds=600)
        services.kill("jobmanager")
        services.up("jobmanager")
        publish(kafka, "application", payloads[half:])
        wait_until(lambda: rows_in(root) == len(payloads), seconds=600)
    finally:
        services.down()
