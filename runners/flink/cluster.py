"""A standalone Flink cluster of this machine: a JobManager, two TaskManagers, a pool of Python workers."""

import json
import subprocess
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from runners.services.java import QUICK_START
from runners.services.ports import HOST, free_port
from runners.services.programs import HOME, beam_job_server, pip_install
from runners.services.service import Service
from runners.services.services import Group
from runners.versions import FLINK as VERSION
from runners.versions import FLINK_POM
from runners.workers.service import Workers
from schemas.errors import ServiceUnavailable

_HERE = Path(__file__).parent
FLINK = pip_install("flink", f"apache-flink-libraries=={VERSION}", "pyflink")
JOB_SERVER = beam_job_server("flink-job-server", _HERE / "pom.xml", FLINK_POM)
ANSWER_SECONDS = 10
ATTEMPTS = 100
"""Restarts of a job, 2 s between them: the lake is idempotent for what they replay."""

JAR_SECONDS = 10
"""How long a TaskManager keeps the jar of a job, 156 MB, after its end; Flink's default is an hour."""
_OPENED = "lang lang.reflect net io nio text time util util.concurrent util.concurrent.atomic util.concurrent.locks"
_JAVA = (
    "java",
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    *(f"--add-opens=java.base/java.{package}=ALL-UNNAMED" for package in _OPENED.split()),
    "-XX:+UseSerialGC",
    f"-Dlog4j.configurationFile={_HERE / 'log4j.properties'}",
)


def _java(program: Path, *flags: str) -> list[str]:
    """Java with Flink's classes and Beam's, which each process loads once: a job's own jar would be loaded with it."""
    return [*_JAVA, *flags, "-cp", f"{program}/lib/*:{JOB_SERVER.install(HOME)}"]


class RequestRejected(ServiceUnavailable):
    """The JobManager answers with an error."""


class JobManager(Service):
    """Schedules the jobs; has the REST interface and the web pages."""

    name = "jobmanager"
    usual_port = 8081
    program = FLINK
    tools = ("java",)

    def command(self, program: Path) -> list[str]:
        settings = self.settings / "config.yaml"
        if not settings.exists():  # once: after a crash the TaskManagers look for the same port
            self.settings.mkdir()
            settings.write_text(self._settings(free_port()))
        main = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        return [*_java(program, QUICK_START, "-Xmx768m"), main, "--configDir", str(self.settings)]

    @property
    def snapshots(self) -> Path:
        """The folder of checkpoints and savepoints; both outlive the JobManager."""
        return self.folder / "snapshots"

    @property
    def settings(self) -> Path:
        """The folder of the configuration, the whole cluster's."""
        return self.folder / "conf"

    def is_ready(self) -> bool:
        try:
            self.request("overview")
        except ServiceUnavailable:
            return False
        return True

    def environment(self) -> dict[str, str]:
        return {"FLINK_MASTER": self.address}

    def request(self, path: str, body: dict[str, Any] | None = None, method: str | None = None) -> Any:
        """The answer of its REST interface; with a body the default method is POST.

        Raises ServiceUnavailable, RequestRejected.
        """
        data = None if body is None else json.dumps(body).encode()
        request = Request(f"http://{self.address}/{path}", data, {"Content-Type": "application/json"}, method=method)
        try:
            with urlopen(request, timeout=ANSWER_SECONDS) as answer:
                return json.load(answer)
        except HTTPError as error:
            raise RequestRejected(f"the JobManager rejects {path}: {error.read().decode()[:500]}") from error
        except (URLError, TimeoutError, ConnectionError, HTTPException) as error:
            raise ServiceUnavailable(f"the JobManager at {self.address} does not answer: {error}") from error

    def _settings(self, rpc_port: int) -> str:
        return f"""\
jobmanager.rpc.address: {HOST}
jobmanager.rpc.port: {rpc_port}
jobmanager.bind-host: {HOST}
rest.address: {HOST}
rest.bind-address: {HOST}
rest.port: {self.port}
taskmanager.host: {HOST}
taskmanager.bind-host: {HOST}
taskmanager.memory.process.size: 1536m
taskmanager.memory.jvm-metaspace.size: 384m
taskmanager.numberOfTaskSlots: 4
taskmanager.load-balance.mode: SLOTS
io.tmp.dirs: {self.scratch}
state.checkpoints.dir: file://{self.snapshots}
state.savepoints.dir: file://{self.snapshots}
restart-strategy.type: fixed-delay
restart-strategy.fixed-delay.attempts: {ATTEMPTS}
restart-strategy.fixed-delay.delay: 2 s
# A TaskManager that was killed is missed after two heartbeats that cannot be delivered (3 s), a JobManager after the
# timeout. Shorter times than these, and Flink's 10 s for an answer, take a busy machine for a dead one.
heartbeat.interval: 2000
heartbeat.timeout: 30000
pekko.ask.timeout: 60 s
pekko.startup-timeout: 120 s
blob.service.cleanup.interval: {JAR_SECONDS}
# Beam's classes are those of the cluster. Threads of theirs outlive the job that started them, with its class loader.
classloader.resolve-order: parent-first
classloader.check-leaked-classloader: false
"""


class TaskManager(Service):
    """Runs the parts of jobs; the Python in them runs in the workers' pool."""

    program = FLINK
    tools = ("java",)

    def command(self, program: Path) -> list[str]:
        settings = str(JobManager.running(self.folder.parent).settings)
        memory, *dynamic = self._memory(program, settings)
        main = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        here = [f"-Dtaskmanager.rpc.port={self.port}", f"-Dtaskmanager.resource-id={self.name}"]
        here.append(f"-Dio.tmp.dirs={self.scratch}")
        own = [part for flag in here for part in ("-D", flag.removeprefix("-D"))]
        command = [*_java(program, *memory.split()), main, "--configDir", settings]
        return [*command, *(part for line in dynamic for part in line.split()), *own]

    def is_ready(self) -> bool:
        found = JobManager.running(self.folder.parent).request("taskmanagers")["taskmanagers"]
        return any(manager["id"] == self.name for manager in found)

    def environment(self) -> dict[str, str]:
        return {}

    def _memory(self, program: Path, settings: str) -> list[str]:
        """The flags of Java and those of Flink, from the tool that Flink's start script uses."""
        (dist,) = program.glob("lib/flink-dist*.jar")
        tool = ["-cp", f"{program}/bin/bash-java-utils.jar:{dist}", "org.apache.flink.runtime.util.bash.BashJavaUtils"]
        command = ["java", *tool, "GET_TM_RESOURCE_PARAMS", "--configDir", settings]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        result = "BASH_JAVA_UTILS_EXEC_RESULT:"
        lines = [line.removeprefix(result) for line in done.stdout.splitlines() if line.startswith(result)]
        if len(lines) != 2:
            raise ServiceUnavailable(f"Flink could not size {self.name}:\n{(done.stdout + done.stderr).strip()}")
        return lines


class TaskManager1(TaskManager):
    """The first."""

    name = "taskmanager-1"
    usual_port = 6122


class TaskManager2(TaskManager):
    """The second."""

    name = "taskmanager-2"
    usual_port = 6123


GROUP = Group((JobManager, TaskManager1, TaskManager2, Workers), (JOB_SERVER,), HOME / "flink-data")
