"""No command that needs servers, and none of the processes that it starts, is open to more than this machine."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pipelines.cli.java_job_server import listens_here
from pipelines.cli.loopback import reachable
from runners.flink import jobs
from runners.flink.cluster import JOB_SERVER, JobManager
from runners.services import HOME, NAMES, Services, free_port
from tests.services.clusters import Cluster, prepared
from tests.services.conftest import need
from tests.services.support import make_topic, payloads_of, publish, rows_in
from tests.services.test_unbounded import recorded_now
from tests.sockets import listening, watched, watching
from tests.support import make_history, wait_until

pytestmark = [pytest.mark.services, pytest.mark.timeout(1800)]

JAR_BYTES = 50_000_000
"""What is as large as that in the folder of a cluster is the jar of a job."""


class Here:
    """Commands of one group of services, whose processes are watched, too."""

    def __init__(self, name: str, services: Services, folder: Path, ports: list[str]) -> None:
        self.services = services
        self.folder = folder
        self._command = [sys.executable, "-m", "prestacop", name]
        self._ports = ports

    def line(self, action: str, *flags: str) -> list[str]:
        """The command line of an action."""
        return [*self._command, action, "--data", str(self.folder), *flags]

    def pids(self) -> list[int]:
        """The processes of the services that run now."""
        return [state.pid for state in self.services.status() if state.pid]

    def run(self, action: str, *flags: str, code: int = 0) -> str:
        """Run one to its end; gives what it said."""
        ports = [] if action == "submit" else self._ports
        ran = watched(self.line(action, *ports, *flags), self.folder.with_suffix(".log"), 400, self.pids)
        assert ran.code == code, ran.printed
        assert ran.reachable == set()
        if action != "install":
            assert ran.listened, "the test looks too seldom"
        return ran.printed


@contextmanager
def group(name: str, services: Services, folder: Path) -> Iterator[Here]:
    """Commands of a group; what they have started is ended."""
    ports = [text for kind, port in services._ports.items() for text in (f"--{kind}-port", str(port))]
    try:
        yield Here(name, services, folder, ports)
    finally:
        services.down()


def test_the_servers_listen_on_loopback_only(services: Services, tmp_path: Path) -> None:
    for name in NAMES:
        need(services, name)
    own = Services(data=tmp_path / "data", ports={name: free_port() for name in NAMES})
    with group("services", own, tmp_path / "data") as here:
        for action in ("up", "status", "install", "down"):
            here.run(action)


AT_KAFKA: dict[str, Callable[[str, Path], list[str]]] = {
    "topics": lambda broker, root: ["topics", "--kafka", broker],
    "loader": lambda broker, root: [
        "load", str(make_history(root.with_suffix(".csv"), 2_000)), "--quiet",
        "--to", make_topic(broker, "ports-loaded").partition("?")[0], "--journal", str(root.with_suffix(".journal")),
    ],
    "drones": lambda broker, root: [
        "simulate", "drones", "--drones", "5", "--seconds", "30", "--output", make_topic(broker, "ports-drones")
    ],
    "violations": lambda broker, root: [
        "run", "--messages", published(broker, root, "ports-messages"), "--lake", str(root)
    ],
}  # fmt: skip


def published(broker: str, root: Path, topic: str) -> str:
    """The URL of a topic with some messages."""
    url = make_topic(broker, topic)
    publish(broker, topic, payloads_of(recorded_now(root.with_suffix(".m"), 20, 4)))
    return url


@pytest.mark.parametrize("name", AT_KAFKA)
def test_a_command_with_servers_listens_on_loopback_only(
    name: str, kafka: str, services: Services, tmp_path: Path
) -> None:
    command = AT_KAFKA[name](kafka, tmp_path / "lake")

    def pids() -> list[int]:
        return [state.pid for state in services.status() if state.pid]

    ran = watched([sys.executable, "-m", "prestacop", *command], tmp_path / "log", 120, pids)
    assert ran.code == 0, ran.printed
    assert ran.reachable == set()


def jars(folder: Path) -> list[Path]:
    """Of jobs, left in the folder of a cluster."""
    found = []
    for path in folder.rglob("*"):
        try:
            if path.is_file() and path.stat().st_size > JAR_BYTES:
                found.append(path)
        except FileNotFoundError:  # removed just now
            continue
    return found


def stream_life(here: Here, kafka: str, folder: Path) -> None:
    """A stream on a Flink that runs: submit, status, stop, and what it refuses to resume from."""
    root, live = folder / "lake", folder / "live"
    manager = here.services.running(JobManager)
    stream = ["--mode", "unbounded", "--lake", str(root), "--quiet", "--checkpointing_interval", "2000"]
    stream += ["--messages", published(kafka, root, f"ports-{folder.name}")]
    log = folder / "submitted"
    with (
        log.open("wb") as file,
        subprocess.Popen(
            here.line("submit", "--live", f"file:{live}", "--job_name", "my-stream", *stream),
            stdout=file,
            stderr=file,
        ) as submitted,
        watching(lambda: (submitted.pid, *here.pids())) as seen,
    ):
        wait_until(lambda: submitted.poll() is not None or (root.exists() and rows_in(root)))
        printed = here.run("status")
        assert f"RUNNING      {jobs.running_ids(manager)[0]}  " in printed
        assert printed.count("my-stream") == 1
        assert jars(here.folder), "else nothing shows that it is removed"
        (savepoint,) = (line.split()[1] for line in here.run("stop").splitlines() if line.startswith("savepoint"))
        assert submitted.wait(180) == 0
    # A job that was ended on purpose ends its submit in one line, without a traceback.
    assert log.read_text().strip().splitlines() == [
        f"the job my-stream was stopped with a savepoint; --go-on resumes from it: {savepoint}"
    ]
    assert seen.reachable == set()
    printed = here.run("submit", "--go-on", *stream, code=3)
    assert printed.startswith(f"error: {savepoint} has the state of steps that this graph does not have. Give ")
    assert len(printed.splitlines()) == 1
    wait_until(lambda: not jars(here.folder))
    printed = here.run("submit", "--savepoint_path", f"file:{folder}/none", *stream, code=3)
    assert printed.startswith(f"error: Flink cannot resume from file:{folder}/none: Cannot find checkpoint or savepoi")


def test_a_stream_on_flink_listens_on_loopback_only(
    clusters: Callable[[str], Cluster], kafka: str, tmp_path: Path
) -> None:
    assert listens_here(JOB_SERVER.install(HOME))
    cluster = clusters("flink")
    stream_life(Here("flink", cluster.services, cluster.data, []), kafka, tmp_path)


@pytest.mark.nightly  # it starts a cluster of its own
def test_flink_listens_on_loopback_only(kafka: str, tmp_path: Path) -> None:
    with group("flink", prepared("flink", tmp_path / "flink"), tmp_path / "flink") as here:
        here.run("install")
        here.run("up")
        manager = here.services.running(JobManager)
        stream_life(here, kafka, tmp_path)
        here.services.kill(JobManager.name)
        here.services.up(JobManager.name)
        here.run("down")
        assert not manager.scratch.exists()
        assert jars(here.folder) == []


@pytest.mark.parametrize("name", ["flink", "spark"])
def test_the_processes_of_a_cluster_listen_on_loopback_only(name: str, clusters: Callable[[str], Cluster]) -> None:
    pids = [state.pid for state in clusters(name).services.status() if state.pid]
    assert all(listening(pid) for pid in pids)
    assert [address for pid in pids for address in reachable(pid)] == []


@pytest.mark.nightly  # it starts a cluster of its own
def test_spark_listens_on_loopback_only(tmp_path: Path) -> None:
    root = tmp_path / "lake"
    with group("spark", prepared("spark", tmp_path / "spark"), tmp_path / "spark") as here:
        here.run("install")
        here.run("up")
        here.run("submit", "--quiet", "--history", str(make_history(tmp_path / "t.csv", 2_000)), "--lake", str(root))
        assert rows_in(root) == 2_000
        wait_until(lambda: not jars(here.folder))
        here.run("status")
        here.run("down")
