"""A standalone Spark cluster of this machine: a master, a worker, a pool of Python workers."""

import os
from pathlib import Path

from runners.services.ports import HOST, free_port, is_open
from runners.services.programs import HOME, beam_job_server, pip_install
from runners.services.service import Service
from runners.services.services import Group
from runners.versions import SPARK as VERSION
from runners.versions import SPARK_POM
from runners.workers.service import Workers

SPARK = pip_install("spark", f"pyspark=={VERSION}", "pyspark")
JOB_SERVER = beam_job_server("spark-job-server", Path(__file__).with_name("pom.xml"), SPARK_POM)
EXECUTOR_MEMORY = "1g"
"""Of the Java side; the rows are in the Python workers."""


CLEANUP_SECONDS = 30
"""The files of an application in the worker's folder are removed so long after its end, or twice that."""


def cores() -> int:
    """The cores of the worker: SPARK_WORKER_CORES, or all."""
    return int(os.environ.get("SPARK_WORKER_CORES") or os.cpu_count() or 1)


MEMORY = "4g"
"""The memory of the worker: for an executor, and for the next one while the first still ends."""

OPENED = " ".join(
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in ("sun.nio.ch", "java.nio", "java.util", "java.lang.invoke")
)
"""The packages that Beam and Spark need open in Java 17."""


def java(program: Path, *arguments: str) -> list[str]:
    """The command line of a class of Spark."""
    return ["java", "-XX:+UseSerialGC", *OPENED.split(), "-cp", f"{program}/jars/*", *arguments]


class Master(Service):
    """Assigns executors to applications."""

    name = "master"
    usual_port = 7077
    program = SPARK
    tools = ("java",)

    def command(self, program: Path) -> list[str]:
        where = ["--host", HOST, "--port", str(self.port), "--webui-port", str(free_port())]
        return java(program, "-Xmx512m", "org.apache.spark.deploy.master.Master", *where)

    def secrets(self, program: Path) -> dict[str, str]:
        return {"SPARK_LOCAL_IP": HOST}

    def is_ready(self) -> bool:
        return is_open(self.port)

    def environment(self) -> dict[str, str]:
        return {"SPARK_MASTER": self.url}

    @property
    def url(self) -> str:
        """Its URL for applications and workers."""
        return f"spark://{self.address}"


class Worker(Service):
    """Runs the executors; the Python in them runs in the workers' pool."""

    name = "worker"
    usual_port = 7078
    program = SPARK
    tools = ("java",)

    def command(self, program: Path) -> list[str]:
        where = ["--host", HOST, "--port", str(self.port), "--webui-port", str(free_port())]
        sizes = ["--cores", str(cores()), "--memory", MEMORY, "--work-dir", str(self.scratch / "work")]
        master = Master.running(self.folder.parent).url
        # Where a job names jars, each executor gets a copy of them, which Spark keeps by default.
        cleanup = {"enabled": "true", "interval": CLEANUP_SECONDS, "appDataTtl": CLEANUP_SECONDS}
        settings = [f"-Dspark.worker.cleanup.{name}={value}" for name, value in cleanup.items()]
        return java(program, "-Xmx512m", *settings, "org.apache.spark.deploy.worker.Worker", *where, *sizes, master)

    def secrets(self, program: Path) -> dict[str, str]:
        # Executors inherit them; Spark's scripts would find the version of Scala out.
        return {
            "SPARK_LOCAL_IP": HOST,
            "SPARK_LOCAL_DIRS": str(self.scratch / "local"),
            "SPARK_HOME": str(program),
            "SPARK_SCALA_VERSION": "2.12",
            "JDK_JAVA_OPTIONS": f"{os.environ.get('JDK_JAVA_OPTIONS', '')} {OPENED}",
        }

    def is_ready(self) -> bool:
        return is_open(self.port)

    def environment(self) -> dict[str, str]:
        return {}


class SparkWorkers(Workers):
    """The pool of this cluster; its port differs from Flink's, so that both can run at once."""

    usual_port = 50_001


GROUP = Group((Master, Worker, SparkWorkers), (JOB_SERVER,), HOME / "spark-data")
