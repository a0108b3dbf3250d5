"""A Kafka broker that is its own controller."""

import base64
import shutil
import subprocess
import uuid
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from runners.services.ports import HOST, free_port, is_open
from runners.services.programs import TARGET, Program
from runners.services.service import Service
from schemas.errors import ServiceUnavailable

_POM = Path(__file__).with_name("pom.xml")
_LARGEST_MESSAGE = 16 * 2**20
"""A photo of a parked car is more than Kafka's 1 MB."""

_JAVA = (
    "java",
    "-Xms128m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-Djava.awt.headless=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd HH:mm:ss",
)

_SETTINGS = f"""
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER

# Topics are created explicitly, with their number of partitions; a misspelled name is an error.
auto.create.topics.enable=false
num.partitions=4
# Recorded messages carry times of years ago, and would be deleted at once.
log.retention.ms=-1
message.max.bytes={_LARGEST_MESSAGE}
replica.fetch.max.bytes={_LARGEST_MESSAGE}

# There is one broker.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4

# After a crash the broker may not come back before its own controller has given it up: 2 s instead of 9.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
# Members of a group do not wait 3 s for others that may join.
group.initial.rebalance.delay.ms=0
# A quarter of the heap for compaction is too much here.
log.cleaner.dedupe.buffer.size=16777216
"""


class Kafka(Service):
    """The broker; its messages survive restarts and crashes."""

    name = "kafka"
    usual_port = 9092
    program = Program(
        "kafka",
        ("mvn", "-q", "-B", "-f", "pom.xml", "dependency:copy-dependencies", f"-DoutputDirectory={TARGET}/lib"),
        "lib",
        sources=(_POM,),
    )
    tools = ("java",)

    def command(self, program: Path) -> list[str]:
        java = [*_JAVA, "-cp", f"{program}/*"]
        settings = self.folder / "server.properties"
        settings.write_text(self._settings())
        self._format(java, settings)
        return [*java, "kafka.Kafka", str(settings)]

    def is_ready(self) -> bool:
        if not is_open(self.port):
            return False
        try:
            # The client would log errors while the broker starts.
            return bool(AdminClient({"bootstrap.servers": self.address, "log_level": 0}).list_topics(timeout=2).brokers)
        except KafkaException:
            return False

    def environment(self) -> dict[str, str]:
        return {"KAFKA_BOOTSTRAP_SERVERS": self.address}

    def _settings(self) -> str:
        # Only the broker talks to the controller, so that it may have another port each time.
        controller = f"{HOST}:{free_port()}"
        return f"""{_SETTINGS}
listeners=PLAINTEXT://{self.address},CONTROLLER://{controller}
advertised.listeners=PLAINTEXT://{self.address},CONTROLLER://{controller}
controller.quorum.bootstrap.servers={controller}
log.dirs={self.folder / "topics"}
"""

    def _format(self, java: list[str], settings: Path) -> None:
        """Format the folder of the topics. One that was not finished is empty, and is formatted again."""
        formatted = self.folder / "formatted"
        if formatted.exists():
            return
        shutil.rmtree(self.folder / "topics", ignore_errors=True)
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = ["kafka.tools.StorageTool", "format", "--standalone", f"--cluster-id={cluster}", f"--config={settings}"]
        done = subprocess.run([*java, *tool], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ServiceUnavailable(f"kafka could not format {self.folder}:\n{(done.stdout + done.stderr).strip()}")
        formatted.touch()
