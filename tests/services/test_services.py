"""Real servers start, keep what they are given, and end; each through the client that pipelines use."""

import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest
from botocore.exceptions import ClientError
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient
from google.api_core.exceptions import MethodNotImplemented
from google.cloud import pubsub_v1

from runners.services import Services
from runners.services.pubsub.server import PubSub
from schemas.errors import OutputUnusable, ServiceUnavailable
from schemas.files.marks import MARK
from tests.services.support import make_topic, publish
from tests.support import wait_until

pytestmark = pytest.mark.services

BUCKET = "prestacop"


def test_kafka_keeps_its_messages_after_a_crash(kafka: str, services: Services) -> None:
    messages = sorted([*(b"%d" % n for n in range(1000)), bytes(15_000_000)])
    make_topic(kafka, "fines")
    publish(kafka, "fines", messages)
    assert consume(kafka, "fines", len(messages)) == messages
    services.kill("kafka")
    assert services.status("kafka")[0].pid is None
    assert services.environment("kafka") == {}
    services.up("kafka")
    assert consume(kafka, "fines", len(messages)) == messages


def test_kafka_keeps_messages_with_old_timestamps_and_creates_no_topics_by_itself(kafka: str) -> None:
    make_topic(kafka, "old")
    publish(kafka, "old", [b"2014"], timestamp=1_400_000_000_000)
    assert consume(kafka, "old", 1) == [b"2014"]
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.list_topics("misspelled", timeout=10)
    assert "misspelled" not in admin.list_topics(timeout=10).topics


def test_pubsub_responses_are_no_larger_than_what_clients_receive(pubsub: str) -> None:
    large = [bytes([n]) * 1_500_000 for n in range(6)]
    with Subscription("large") as subscription:
        subscription.publish(large)
        seen: list[bytes] = []
        while found := subscription.pull():
            seen += found
        assert sorted(seen) == large


def test_pubsub_redelivers_messages_that_are_not_acknowledged(pubsub: str) -> None:
    with Subscription("again") as subscription:
        subscription.publish([b"once more"])
        assert subscription.pull(acknowledge=False) == [b"once more"]
        wait_until(lambda: subscription.pull() == [b"once more"])


def test_pubsub_rejects_a_seek_to_the_past_and_keeps_running(pubsub: str) -> None:
    with Subscription("past") as subscription:
        subscription.publish([b"1"])
        assert subscription.pull() == [b"1"]
        with pytest.raises(MethodNotImplemented, match="no seek to the past"):
            subscription.subscriber.seek(request={"subscription": subscription.name, "time": {"seconds": 1}})
        subscription.publish([b"2"])
        assert subscription.pull() == [b"2"]


def test_s3_keeps_its_objects_after_a_crash(s3_server: dict[str, str], services: Services) -> None:
    content = os.urandom(20_000_000)
    with closing(client(s3_server)) as s3:
        s3.put_object(Bucket=BUCKET, Key="lake/a.parquet", Body=content)
        assert s3.get_object(Bucket=BUCKET, Key="lake/a.parquet")["Body"].read() == content
    services.kill("s3")
    services.up("s3")
    assert services.environment("s3") == s3_server
    with closing(client(s3_server)) as s3:
        assert s3.get_object(Bucket=BUCKET, Key="lake/a.parquet")["Body"].read() == content


def test_a_conditional_put_has_one_winner_among_many(s3_server: dict[str, str]) -> None:
    with closing(client(s3_server)) as s3, ThreadPoolExecutor(16) as pool:

        def put(n: int) -> str:
            try:
                s3.put_object(Bucket=BUCKET, Key="ledger/unit", Body=b"%d" % n, IfNoneMatch="*")
            except ClientError as error:
                return str(error.response["Error"]["Code"])
            return "won"

        outcomes = list(pool.map(put, range(16)))
        assert sorted(outcomes) == ["PreconditionFailed"] * 15 + ["won"]
        assert s3.get_object(Bucket=BUCKET, Key="ledger/unit")["Body"].read() == b"%d" % outcomes.index("won")


def test_s3_refuses_other_keys(s3_server: dict[str, str]) -> None:
    guessed = s3_server | {"AWS_SECRET_ACCESS_KEY": "guess"}
    with closing(client(guessed)) as s3, pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        s3.list_buckets()


def test_a_server_that_is_open_to_the_network_is_stopped(alone: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PubSub, "command", lambda self, program: [str(program), "-listen", f":{self.port}"])
    with pytest.raises(ServiceUnavailable, match="pubsub would be open to the network"):
        alone.up("pubsub")
    assert [state.pid for state in alone.status("pubsub")] == [None]


def test_prism_runs_a_pipeline(prism: Path) -> None:
    code = """
import sys, apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from pipelines.cli.loopback import listen_here_alone
listen_here_alone()
options = PipelineOptions(runner="PrismRunner", prism_location=sys.argv[1], environment_type="LOOPBACK")
with beam.Pipeline(options=options) as p:
    p | beam.Create([1, 2, 3]) | beam.CombineGlobally(sum) | beam.Map(lambda total: print("total", total))
"""
    done = subprocess.run([sys.executable, "-c", code, str(prism)], capture_output=True, text=True, check=False)
    assert "total 6" in done.stdout, done.stderr


def test_concurrent_ups_start_one_server(alone: Services) -> None:
    with ThreadPoolExecutor(4) as pool:
        states = [state for (state,) in pool.map(lambda _: alone.up("pubsub"), range(4))]
    assert len({state.pid for state in states}) == 1
    assert [state.is_new for state in states].count(True) == 1


def test_down_leaves_no_process_and_clean_no_data(alone: Services, tmp_path: Path) -> None:
    (state,) = alone.up("pubsub")
    assert state.pid is not None
    assert psutil.pid_exists(state.pid)
    (before,) = alone.down("pubsub")
    assert before.pid == state.pid
    assert not psutil.pid_exists(state.pid)
    assert [state.pid for state in alone.status()] == [None, None, None]
    assert state.log.exists()
    alone.down(clean=True)
    assert [path.name for path in (tmp_path / "data").iterdir()] == [MARK]


def test_clean_removes_no_folder_that_is_not_of_a_service(tmp_path: Path) -> None:
    (tmp_path / "s3").mkdir()
    Services(data=tmp_path).down(clean=True)
    (tmp_path / "s3/lock").touch()
    with pytest.raises(OutputUnusable, match=r"/s3 has no \.made-by-prestacop"):
        Services(data=tmp_path).down(clean=True)
    assert (tmp_path / "s3").exists()


def test_the_error_of_a_port_in_use_names_the_flag(alone: Services) -> None:
    port = int(alone.status("pubsub")[0].address.rpartition(":")[2])
    message = f"another program listens on .*:{port}.*--pubsub-port"
    with socket.create_server(("127.0.0.1", port)), pytest.raises(ServiceUnavailable, match=message):
        alone.up("pubsub")
    alone.up("pubsub")


def test_the_error_of_a_broker_that_cannot_start_has_its_last_log_lines(alone: Services, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "kafka"
    folder.mkdir(parents=True)
    (folder / "formatted").touch()  # it is not
    message = r"(?s)kafka ended while it started; .*server.log:.*meta.properties"
    with pytest.raises(ServiceUnavailable, match=message):
        alone.up("kafka")
    assert alone.status("kafka")[0].pid is None


def test_the_command_starts_shows_and_stops_a_service(alone: Services, tmp_path: Path) -> None:
    address = alone.status("pubsub")[0].address
    where = ["pubsub", "--data", str(tmp_path / "data")]
    up = command("up", *where, "--pubsub-port", address.rpartition(":")[2])
    assert (up.returncode, up.stderr) == (0, "")
    assert f"export PUBSUB_EMULATOR_HOST={address}" in up.stdout
    assert "already running" in command("up", *where).stdout
    (state,) = alone.status("pubsub")
    assert command("status", *where).stdout == f"pubsub         {address:17}pid {state.pid:<8}log {state.log}\n"
    assert command("status", *where, "--env").stdout == f"export PUBSUB_EMULATOR_HOST={address}\n"
    assert command("down", *where).stdout == f"pubsub         stopped pid {state.pid}\n"
    assert command("down", *where).stdout == "pubsub         was not running\n"
    stopped = command("status", *where)
    assert (stopped.returncode, stopped.stdout) == (4, "pubsub         not running\n")


def test_wrong_arguments_and_missing_tools_are_reported(tmp_path: Path) -> None:
    wrong = command("up", "rabbit")
    assert (wrong.returncode, "is not one of kafka, pubsub, s3" in wrong.stderr) == (2, True)
    wrong = command("up", "--s3-port", "70700")
    assert (wrong.returncode, "from 1 to 65535" in wrong.stderr) == (2, True)
    poor = command("up", "kafka", "--data", str(tmp_path), path=str(tmp_path))
    assert poor.returncode == 4
    assert poor.stderr.startswith("error: java is not on the PATH: install a Java 17 runtime")


def command(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command as a shell does."""
    environment = os.environ | ({"PATH": path} if path else {})
    line = [sys.executable, "-m", "prestacop", "services", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False, env=environment)


def consume(broker: str, topic: str, count: int) -> list[bytes]:
    """That many messages of a topic, by content."""
    settings = {"bootstrap.servers": broker, "group.id": f"test-{time.time_ns()}", "auto.offset.reset": "earliest"}
    consumer = Consumer(settings)
    try:
        consumer.subscribe([topic])
        seen: list[bytes] = []

        def all_seen() -> bool:
            for message in consumer.consume(count - len(seen), timeout=0.5):
                assert message.error() is None, message.error()
                seen.append(message.value() or b"")
            return len(seen) >= count

        wait_until(all_seen)
        return sorted(seen)
    finally:
        consumer.close()


class Subscription:
    """A topic with a subscription, by the clients of the address in the environment."""

    def __init__(self, name: str) -> None:
        self._publisher = pubsub_v1.PublisherClient()
        self.subscriber = pubsub_v1.SubscriberClient()
        self._topic = f"projects/local-dev/topics/{name}"
        self.name = f"projects/local-dev/subscriptions/{name}"
        self._publisher.create_topic(name=self._topic)
        self.subscriber.create_subscription(name=self.name, topic=self._topic, ack_deadline_seconds=10)

    def __enter__(self) -> "Subscription":
        return self

    def __exit__(self, *_: object) -> None:
        self._publisher.stop()
        self._publisher.transport.close()
        self.subscriber.close()

    def publish(self, messages: list[bytes]) -> None:
        """Publish them, and wait until the server has them all."""
        for future in [self._publisher.publish(self._topic, data, kind="fine") for data in messages]:
            future.result(timeout=30)

    def pull(self, acknowledge: bool = True) -> list[bytes]:
        """What one response has; not acknowledged is given back."""
        request = {"subscription": self.name, "max_messages": 100}
        found = self.subscriber.pull(request=request, timeout=30).received_messages
        ids = [message.ack_id for message in found]
        if ids and acknowledge:
            self.subscriber.acknowledge(subscription=self.name, ack_ids=ids)
        elif ids:
            self.subscriber.modify_ack_deadline(subscription=self.name, ack_ids=ids, ack_deadline_seconds=0)
        return [message.message.data for message in found]


def client(environment: dict[str, str]) -> Any:  # boto3's clients are made at run time and have no type of their own
    """An S3 client of that environment."""
    return boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
        region_name=environment["AWS_REGION"],
    )
