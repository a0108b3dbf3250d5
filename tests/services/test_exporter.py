"""Metrics beside a real broker: messages wait until a run has committed them, and Kafka's tools see the same; a run
that commits nothing is not healthy."""

import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from messaging.urls import kafka_url
from metrics.lake.parts import LakePart, TopicPart
from runners.services import HOME, free_port
from runners.services.kafka import broker
from runners.services.kafka.broker import Kafka
from runners.services.programs import TARGET, Program
from tests.services.support import make_topic, payloads_of, publish, read_up_to_now, rows_in
from tests.services.test_unbounded import follow as follow  # noqa: PLC0414  # a fixture
from tests.support import make_messages

pytestmark = pytest.mark.services
POM = Path(broker.__file__).with_name("pom.xml")
VERSION = re.findall(r"<version>(.+)</version>", POM.read_text())[1]
TOOLS = Program(
    "kafka-tools",
    ("mvn", "-q", "-B", "-f", "pom.xml", "dependency:copy", f"-Dartifact=org.apache.kafka:kafka-tools:{VERSION}",
     f"-DoutputDirectory={TARGET}/lib"),
    "lib",
    sources=(POM,),
)  # fmt: skip
"""kafka-consumer-groups, which the broker does not need."""


def test_messages_are_behind_until_a_run_has_committed_them(kafka: str, tmp_path: Path) -> None:
    root, url = str(tmp_path / "lake"), make_topic(kafka, "watched", partitions=2)
    lake = LakePart(root, 15.0)
    topic = TopicPart(kafka_url(url), "drones", lake, "watchers", 15.0)

    def behind() -> dict[int, int]:
        for part in (lake, topic):
            part.attempt()
            assert not part.failures
        return topic.behind()

    payloads = payloads_of(make_messages(tmp_path / "first", 5, 4))
    publish(kafka, "watched", payloads, partition=1)
    assert behind() == {0: 0, 1: len(payloads)}
    read_up_to_now(root, url)
    assert behind() == {0: 0, 1: 0}
    publish(kafka, "watched", payloads[:3], partition=1)
    assert behind() == {0: 0, 1: 3}

    ends = len(payloads)
    assert described_group(kafka, "watchers") == [("watched", 1, ends, ends + 3, 3)]


def test_a_run_is_not_healthy_while_it_is_stuck(kafka: str, tmp_path: Path, follow: Callable[..., Any]) -> None:
    root, url, port = tmp_path / "lake", make_topic(kafka, "stalled", partitions=1), free_port()
    payloads = payloads_of(make_messages(tmp_path / "first", 5, 4))

    def page(path: str) -> str:
        """Its text, whatever the status."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            return str(error.read().decode())

    with follow(root, url, "--metrics-port", str(port), "--stuck-after", "4s") as following:
        publish(kafka, "stalled", payloads)
        following.wait_until(lambda: rows_in(root) == len(payloads))
        following.wait_until(
            lambda: f'prestacop_read_rows_total{{source="drones"}} {len(payloads)}.0' in page("/metrics")
        )
        text = page("/metrics")
        assert f'prestacop_run_read_messages_total{{source="drones"}} {len(payloads)}.0' in text
        assert 'prestacop_run_units_under_way{source="drones"}' in text
        following.wait_until(lambda: page("/healthz") == page("/readyz") == "ok\n")
        runner = following.runner()
        runner.suspend()
        publish(kafka, "stalled", payloads[:3])
        following.wait_until(
            lambda: "drones: nothing was committed for" in (said := page("/healthz")) and "and 3 messages wait" in said
        )
        assert 'prestacop_pipeline_stuck{source="drones"} 1.0' in page("/metrics")
        runner.resume()
        following.wait_until(lambda: page("/healthz") == "ok\n")
        assert following.end(signal.SIGINT) == 130


def described_group(address: str, group: str) -> list[tuple[str, int, int, int, int]]:
    """What kafka-consumer-groups says of a group: topic, partition, offset, end and lag of each."""
    jars = f"{Kafka.program.install(HOME)}/*:{TOOLS.install(HOME)}/*"
    tool = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"
    command = ["java", quiet, "-cp", jars, tool, "--bootstrap-server", address, "--describe", "--group", group]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    rows = [line.split() for line in done.stdout.splitlines() if line.startswith(group)]
    return [(topic, *map(int, numbers)) for _, topic, *numbers in (row[:6] for row in rows)]  # type: ignore[misc]
