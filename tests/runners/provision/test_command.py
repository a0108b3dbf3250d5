"""What prestacop topics makes of its flags, and the rules of a bucket; Kafka and Pub/Sub are in tests/services."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import boto3
import pytest

from runners.provision import kafka, lifecycle
from runners.provision.arguments import days, merged, per_topic
from runners.provision.command import main
from runners.provision.diff import Mode
from runners.provision.spec import DAY, LARGEST_IMAGE_MESSAGE, LakeBucket, Topic, topics
from runners.services import free_port
from schemas.messages import MAX_IMAGE_BYTES

KEEP = lifecycle.Keep(365, 30)
CREATE = Mode()
LAKE = LakeBucket("lake", "city/lake/")


def rules() -> list[dict[str, Any]]:
    """Of the bucket."""
    with closing(boto3.client("s3")) as s3:
        found: list[dict[str, Any]] = s3.get_bucket_lifecycle_configuration(Bucket="lake")["Rules"]
        return found


def put_rules(*some: dict[str, Any]) -> None:
    with closing(boto3.client("s3")) as s3:
        s3.put_bucket_lifecycle_configuration(Bucket="lake", LifecycleConfiguration={"Rules": list(some)})


@contextmanager
def s3_that_answers(status: int, code: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An S3 server that answers everything with one error."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(f"<Error><Code>{code}</Code><Message>no</Message></Error>".encode())

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "test")
        monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        yield
        server.shutdown()
        thread.join()


def test_answers_go_where_the_messages_go_unless_a_topic_is_named() -> None:
    assert [topic.name for topic in topics({}, {}, {})] == ["drones", "images", "alerts", "commands", "confirmations"]
    assert topics({"answers": "drones"}, {}, {}) == topics({}, {}, {})
    assert topics({"messages": "fleet", "answers": "fleet"}, {}, {})[0].name == "fleet"
    own = topics({"answers": "answers"}, {}, {})
    assert [topic.name for topic in own if topic.feeds_lake] == ["drones", "images", "answers"]
    with pytest.raises(ValueError, match="drones is the name of two topics"):
        topics({"images": "drones"}, {}, {})


def test_each_topic_has_settings_of_its_own() -> None:
    assert topics({}, merged([{"images": 8}, per_topic(int)("12")]), {"alerts": DAY}) == [
        Topic("drones", 12, 7 * DAY, None, ("lake",)),
        Topic("images", 8, 7 * DAY, LARGEST_IMAGE_MESSAGE, ("lake", "console")),
        Topic("alerts", 12, DAY, None, ("console",)),
        Topic("commands", 12, DAY, None, ("fleet",)),
        Topic("confirmations", 12, DAY, None, ("console",)),
    ]


def test_two_of_three_replicas_acknowledge_a_message() -> None:
    (drones, *_) = topics({}, {}, {})
    assert [kafka._config(drones, copies)["min.insync.replicas"] for copies in (1, 2, 3)] == ["1", "1", "2"]


def test_the_broker_sets_the_publish_time_of_messages_for_the_lake() -> None:
    kinds = {topic.name: kafka._config(topic, 1).get("message.timestamp.type") for topic in topics({}, {}, {})}
    of_lake = dict.fromkeys(("drones", "images"), "LogAppendTime")
    assert kinds == dict.fromkeys(("alerts", "commands", "confirmations")) | of_lake


def test_the_largest_picture_fits_into_a_message() -> None:
    assert MAX_IMAGE_BYTES * 4 // 3 + 1000 < LARGEST_IMAGE_MESSAGE


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "say where"),
        (["--kafka", "a:1/drones"], "without a topic"),
        (["--kafka", "a"], "is not HOST:PORT"),
        (["--kafka", "a:1?sasl.password=p"], "KAFKA_SASL_PASSWORD"),
        (["--kafka", "a:1", "--images", "a/b"], "not a name of a Kafka topic"),
        (["--kafka", "a:1", "--partitions", "0"], "not a whole number from 1"),
        (["--kafka", "a:1", "--partitions", "pictures=1"], "none of messages, images"),
        (["--kafka", "a:1", "--retention", "1w"], "is not a duration"),
        (["--kafka", "a:1", "--alerts", "images"], "name of two topics"),
        (["--pubsub", "p/q"], "not a Google Cloud project"),
        (["--pubsub", "p", "--retention", "commands=1m"], "commands: Pub/Sub keeps messages for 10m to 31d"),
        (["--pubsub", "p", "--commands", "google"], "not a name in Pub/Sub"),
        (["--lake", "data/lake"], "a directory has no rules"),
        (["--lake", "s3://"], "is no s3://"),
        (["--lake", "s3://b/" + "p" * 201], "200 at most"),
        (["--lake", "s3://b", "--keep-spool", "12h"], "not a number of days"),
    ],
)
def test_wrong_usage_exits_2(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert expected in capsys.readouterr().err


@pytest.mark.embedded
def test_an_unreachable_broker_exits_4_and_invalid_options_exit_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(kafka, "ANSWER_SECONDS", 1)
    address = f"127.0.0.1:{free_port()}"
    assert main(["--kafka", address]) == 4
    assert f"error: kafka://{address} does not answer (" in capsys.readouterr().err
    assert main(["--kafka", f"{address}?socket.timeout.ms=1"]) == 2
    assert "socket.timeout.ms" in capsys.readouterr().err


def test_a_bucket_gets_rules_and_the_second_run_finds_them(s3: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--lake", f"{s3}/city/lake/", "--keep-pictures", "90d", "--strict"]
    assert main([*asked, "--dry-run"]) == 0
    assert capsys.readouterr().out.count("would create s3 rule lake prestacop-") == 3
    assert main(asked) == 0
    assert capsys.readouterr().out.count("created ") == 3
    assert {rule["ID"]: rule for rule in rules()} == {
        "prestacop-uploads": {
            "ID": "prestacop-uploads",
            "Filter": {"Prefix": ""},
            "Status": "Enabled",
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1},
        },
        "prestacop-pictures:city/lake/": {
            "ID": "prestacop-pictures:city/lake/",
            "Filter": {"Prefix": "city/lake/pictures/"},
            "Status": "Enabled",
            "Expiration": {"Days": 90},
        },
        "prestacop-spool:city/lake/": {
            "ID": "prestacop-spool:city/lake/",
            "Filter": {"Prefix": "city/lake/spool/"},
            "Status": "Enabled",
            "Expiration": {"Days": 30},
        },
    }
    before = rules()
    assert main(asked) == 0
    assert capsys.readouterr().out.count("exists ") == 3
    assert rules() == before


def test_rules_of_others_stay(s3: str) -> None:
    others: list[dict[str, Any]] = [
        {"ID": "logs", "Filter": {"Prefix": "logs/"}, "Status": "Enabled", "Expiration": {"Days": 3}},
        {
            "ID": "old",
            "Filter": {"And": {"Prefix": "old/", "Tags": [{"Key": "kind", "Value": "copy"}]}},
            "Status": "Disabled",
            "Transitions": [{"Days": 30, "StorageClass": "GLACIER"}],
        },
    ]
    put_rules(*others)
    others = rules()
    lifecycle.make(LAKE, KEEP, CREATE)
    lifecycle.make(LakeBucket("lake", "second/"), KEEP, CREATE)
    assert rules()[:2] == others
    assert sorted(rule["ID"] for rule in rules()[2:]) == [
        "prestacop-pictures:city/lake/",
        "prestacop-pictures:second/",
        "prestacop-spool:city/lake/",
        "prestacop-spool:second/",
        "prestacop-uploads",
    ]


def test_a_rule_that_differs_is_reported_and_changed_by_update(s3: str, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--lake", s3]
    main(asked)
    before = rules()
    capsys.readouterr()
    changed = [*asked, "--keep-spool", "7d"]
    assert main(changed) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("differs")]
    assert "prestacop-spool: " in line
    assert 'Expiration {"Days": 30}, expected {"Days": 7}; --update changes it' in line
    assert main([*changed, "--strict"]) == 3
    assert main([*changed, "--update", "--dry-run"]) == 0
    assert rules() == before
    capsys.readouterr()
    assert main([*changed, "--update", "--strict"]) == 0
    assert 'Expiration {"Days": 30} -> {"Days": 7}' in capsys.readouterr().out
    assert main([*changed, "--strict"]) == 0
    assert [rule["Expiration"] for rule in rules() if rule["Filter"]["Prefix"] == "spool/"] == [{"Days": 7}]


def test_a_setting_of_the_bucket_that_comes_with_its_rules_is_put_back() -> None:
    found = {"Rules": [], "TransitionDefaultMinimumObjectSize": "varies_by_storage_class"}
    assert lifecycle._request("lake", found, [])["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"


def test_a_bucket_that_is_not_there_exits_3(s3: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--lake", "s3://nowhere/lake"]) == 3
    assert "there is no bucket nowhere" in capsys.readouterr().err


@pytest.mark.embedded
def test_a_server_without_rules_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with s3_that_answers(501, "NotImplemented", monkeypatch):
        assert main(["--lake", "s3://lake"]) == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert line.startswith("warning      s3 rules of lake ")
        assert "this server has no lifecycle rules: pictures stay" in line
        assert main(["--lake", "s3://lake", "--strict"]) == 3


@pytest.mark.embedded
def test_a_refusal_exits_7(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with s3_that_answers(403, "AccessDenied", monkeypatch):
        assert main(["--lake", "s3://lake"]) == 7
    assert "AccessDenied" in capsys.readouterr().err


def test_days_are_whole() -> None:
    assert days("48h") == 2
