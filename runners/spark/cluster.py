"""A standalone Spark cluster of this machine: a master, a worker, a pool of Python workers."""

import os
from pathlib import Path

from runners.services.ports import HOST, free_port, is_open
from runners.services.programs import HOME, beam_job_server, pip_install
from runners.services.service import Service
from runners.services.services import Group
from runners.workers.service import Workers

SPARK = pip_install("spark", "pyspark==3.5.9", "pyspark")
JOB_SERVER = beam_job_server("spark-job-server", Path(__file__).with_name("pom.xml"))
EXECUTOR_MEMORY = "1g"
"""Of the Java side; the rows are in the Python workers."""


CLEANUP_SECONDS = 30
"""What executors leave in the worker's folder is removed so long after the end of their application, or twice that."""


def cores() -> int:
    """That the worker gives away: all, or what Spark's own variable says."""
    return int(os.environ.get("SPARK_WORKER_CORES") or os.cpu_count() or 1)


MEMORY = "4g"
"""That the worker may give away: to an executor, and to the next one while the first still ends."""

OPENED = " ".join(
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in ("sun.nio.ch", "java.nio", "java.util", "java.lang.invoke")
)
"""What Beam and Spark need of Java 17."""


def java(program: Path, *arguments: str) -> list[str]:
    """A class of Spark's."""
    return ["java", "-XX:+UseSerialGC", *OPENED.split(), "-cp", f"{program}/jars/*", *arguments]


class Master(Service):
    """Gives applications their executors."""

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
        """What applications and workers call it by."""
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
        # Each executor gets a copy of the job server's jar, 100 MB, and leaves it where nothing else is said.
        cleanup = {"enabled": "true", "interval": CLEANUP_SECONDS, "appDataTtl": CLEANUP_SECONDS}
        settings = [f"-Dspark.worker.cleanup.{name}={value}" for name, value in cleanup.items()]
        return java(program, "-Xmx512m", *settings, "org.apache.spark.deploy.worker.Worker", *where, *sizes, master)

    def secrets(self, program: Path) -> dict[str, str]:
        # Executors inherit them; the version of Scala is what Spark's scripts would find out.
        return {
            "SPARK_LOCAL_IP": HOST,
            "SPARK_LOCAL_DIRS": str(self.scratch / "local"),
            "SPARK_HOME": str(program),
            "SPARK_SCALA_VERSION": "2.12",
            "JDK_JAVA_OPTIONS": OPENED,
        }

    def is_ready(self) -> bool:
        return is_open(self.port)

    def environment(self) -> dict[str, str]:
        return {}


class SparkWorkers(Workers):
    """Beside this cluster, so that both clusters can run at once."""

    usual_port = 50_001


GROUP = Group((Master, Worker, SparkWorkers), (JOB_SERVER,), HOME / "spark-data")
