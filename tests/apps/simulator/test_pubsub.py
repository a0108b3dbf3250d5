"""The fleet on Pub/Sub: a server of two methods takes what it publishes, or fails."""

import re
from pathlib import Path

import grpc
import msgspec
import pytest

from apps.simulator.command import main
from apps.simulator.transport import pubsub
from schemas.messages import ImageMessage
from tests.apps.topics import PubSubDouble

FLEET = ["drones", "--drones", "100", "--seconds", "50", "--quiet"]
URL = "pubsub://prestacop/drones"
TOPIC = "projects/prestacop/topics/drones"


def publish(*more: str) -> int:
    return main([*FLEET, "--output", URL, *more])


def test_a_topic_gets_the_messages_of_a_file(pubsub_double: PubSubDouble, tmp_path: Path) -> None:
    mishaps = ["--v0-share", "0.2", "--duplicates", "0.05", "--disorder", "4", "--corrupt", "0.05"]
    assert main([*FLEET, *mishaps, "--output", f"file:{tmp_path / 'lines'}"]) == 0
    assert publish(*mishaps, "--truth", str(tmp_path / "truth")) == 0
    published = pubsub_double.published(TOPIC)
    assert sorted(data for data, _ in published) == sorted((tmp_path / "lines").read_bytes().split(b"\n")[:-1])
    assert {key for _, key in published} == {f"drone-{number:04d}" for number in range(1, 101)}
    assert (tmp_path / "truth").read_bytes() == (tmp_path / "lines.truth.parquet").read_bytes()
    assert max(len(request.messages) for request in pubsub_double.requests) == 1000


def test_images_have_their_own_topic(pubsub_double: PubSubDouble) -> None:
    assert publish("--images", "pubsub://prestacop/images", "--image-bytes", "600000", "--seconds", "5") == 0
    pictures = pubsub_double.published("projects/prestacop/topics/images")
    assert len(pictures) > 20
    assert all(msgspec.json.decode(data, type=ImageMessage).image_id == key for data, key in pictures)
    assert all(len(request.messages) <= 5 for request in pubsub_double.requests if request.topic.endswith("images"))


def test_transient_errors_are_retried(pubsub_double: PubSubDouble) -> None:
    pubsub_double.publish_fails = [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert publish() == 0
    assert len(pubsub_double.published(TOPIC)) == 5000


def test_publishing_needs_no_permission_to_read_the_topic(pubsub_double: PubSubDouble) -> None:
    pubsub_double.look_fails = [grpc.StatusCode.PERMISSION_DENIED]
    assert publish() == 0
    assert len(pubsub_double.published(TOPIC)) == 5000


def test_an_unknown_topic_exits_3(
    pubsub_double: PubSubDouble, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pubsub_double.look_fails = [grpc.StatusCode.NOT_FOUND]
    assert publish("--truth", str(tmp_path / "truth")) == 3
    assert "gcloud pubsub topics create drones --project prestacop" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("code", "exits", "expected"),
    [
        (grpc.StatusCode.NOT_FOUND, 3, "there is no topic drones"),
        (grpc.StatusCode.PERMISSION_DENIED, 7, "drones: 403 told to fail"),
        (grpc.StatusCode.INVALID_ARGUMENT, 3, "drones: 400 told to fail"),
        (grpc.StatusCode.UNAVAILABLE, 4, r"does not answer \(503 told to fail\).*; \d,\d{3} messages are not acknow"),
    ],
)
def test_a_request_that_fails_ends_it(
    code: grpc.StatusCode,
    exits: int,
    expected: str,
    pubsub_double: PubSubDouble,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(pubsub, "_AWAY_S", 0.5)
    pubsub_double.publish_fails = [code] * 100
    assert publish("--truth", str(tmp_path / "truth")) == exits
    error = capsys.readouterr().err
    assert re.search(expected, error)
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_message_over_ten_megabytes_exits_3(pubsub_double: PubSubDouble, capsys: pytest.CaptureFixture[str]) -> None:
    images = ["--images", "pubsub://prestacop/images", "--seconds", "1", "--image-bytes"]
    assert publish(*images, "8000000") == 3
    assert re.search(r"/images: a message has 10,\d{3},\d{3} bytes. Pub/Sub takes 10 MB", capsys.readouterr().err)
    assert publish(*images, "7000000") == 0


def test_no_server_exits_4(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:1")
    monkeypatch.setattr(pubsub, "_START_S", 1.0)
    assert publish() == 4
    assert "does not answer" in capsys.readouterr().err


def test_no_credentials_exit_7(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    assert publish() == 7
    assert "PUBSUB_EMULATOR_HOST" in capsys.readouterr().err
