"""The graph as a Flink application: one jar, run by a cluster of its own, as the Kubernetes operator runs it."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runners.flink import cluster as flink
from runners.services import HOME, Services, free_port
from tests.services.conftest import need
from tests.services.support import make_topic, payloads_of, publish, rows_in
from tests.support import make_messages

pytestmark = [pytest.mark.services, pytest.mark.timeout(480)]

ENTRY = "org.apache.flink.container.entrypoint.StandaloneApplicationClusterEntryPoint"
RUNNER = "org.apache.beam.runners.flink.FlinkPipelineRunner"


def runs(jar: Path, session: Callable[[flink.JobManager, Path], list[str]]) -> Callable[..., list[str]]:
    """How a JobManager is started that runs this jar and nothing else."""

    def command(self: flink.JobManager, program: Path) -> list[str]:
        *java, _, flag, settings = session(self, program)
        return [*java, ENTRY, flag, settings, "--job-classname", RUNNER, "--jars", f"file://{jar}"]

    return command


def test_a_jar_of_the_graph_runs_by_itself_and_again_after_a_crash(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = Services(
        data=tmp_path / "flink", ports={kind.name: free_port() for kind in flink.GROUP.kinds}, group=flink.GROUP
    )
    for kind in flink.GROUP.kinds:
        need(services, kind.name)
    root, jar, url = tmp_path / "lake", tmp_path / "graph.jar", make_topic(kafka, "application")
    payloads = payloads_of(make_messages(tmp_path / "m.jsonl", 50, 60))
    half = len(payloads) // 2
    try:
        (workers,) = services.up("workers")
        line = [sys.executable, "-m", "pipelines.violations", "--runner", "FlinkRunner", "--quiet"]
        line += ["--flink_job_server_jar", str(flink.JOB_SERVER.install(HOME)), "--output_executable_path", str(jar)]
        line += ["--environment_type", "EXTERNAL", "--environment_config", workers.address, "--parallelism", "2"]
        line += ["--checkpointing_interval", "2000", "--mode", "unbounded", "--messages", url, "--output", str(root)]
        made = subprocess.run(line, capture_output=True, text=True, check=False, timeout=120)
        assert made.returncode == 0, made.stderr
        monkeypatch.setattr(flink.JobManager, "command", runs(jar, flink.JobManager.command))
        services.up()
        publish(kafka, "application", payloads[:half])
        wait_for_rows(root, half)
        services.kill("jobmanager")
        services.up("jobmanager")
        publish(kafka, "application", payloads[half:])
        wait_for_rows(root, len(payloads))
    finally:
        services.down()


def wait_for_rows(root: Path, rows: int) -> None:
    """Until the ledger has them, each once."""
    end = time.monotonic() + 120
    while (found := rows_in(root) if root.exists() else 0) != rows:
        assert found < rows
        assert time.monotonic() < end, found
        time.sleep(0.5)
