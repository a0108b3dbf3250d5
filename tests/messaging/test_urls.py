"""URLs of topics: what is taken, what is refused, and that secrets come from the environment alone."""

from collections.abc import Callable
from urllib.parse import unquote

import pytest
from confluent_kafka import KafkaException, Producer

from messaging.urls import OPTIONS, SECRETS, KafkaUrl, PubSubUrl, kafka_config, kafka_url, pubsub_url, topic_url


@pytest.fixture(autouse=True)
def no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in SECRETS.values():
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("kafka://localhost:9092/drones", KafkaUrl("localhost:9092", "drones", {})),
        ("kafka://10.0.0.1:1/a.b_c-D", KafkaUrl("10.0.0.1:1", "a.b_c-D", {})),
        ("kafka://[::1]:9092,b-2.example.org:65535/t", KafkaUrl("[::1]:9092,b-2.example.org:65535", "t", {})),
        (
            "kafka://b:9092/t?security.protocol=SASL_SSL&ssl.ca.location=/etc/a+b%20c.pem&sasl.username=a%26b=c",
            KafkaUrl(
                "b:9092",
                "t",
                {"security.protocol": "SASL_SSL", "ssl.ca.location": "/etc/a+b c.pem", "sasl.username": "a&b=c"},
            ),
        ),
    ],
)
def test_kafka_urls(text: str, meant: KafkaUrl) -> None:
    assert kafka_url(text) == meant


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost:9092/drones", "kafka://HOST:PORT"),
        ("kafka:localhost:9092/drones", "kafka://HOST:PORT"),
        ("kafka:///drones", "'' in"),
        ("kafka://localhost/drones", "'localhost' in"),
        ("kafka://localhost:0/drones", "'localhost:0' in"),
        ("kafka://localhost:65536/drones", "'localhost:65536' in"),
        ("kafka://a:1,,b:2/drones", "'' in"),
        ("kafka://a:1, b:2/drones", "' b:2' in"),
        ("kafka://localhost:9092", "name of a Kafka topic"),
        ("kafka://localhost:9092/", "name of a Kafka topic"),
        ("kafka://localhost:9092/..", "name of a Kafka topic"),
        ("kafka://localhost:9092/a/b", "name of a Kafka topic"),
        ("kafka://localhost:9092/drones\n", "name of a Kafka topic"),
        ("kafka://localhost:9092/" + "a" * 250, "name of a Kafka topic"),
        ("kafka://a:1/t?client.id", "'client.id'"),
        ("kafka://a:1/t?client.id=", "'client.id'"),
        ("kafka://a:1/t?=1", "''"),
        ("kafka://a:1/t?client.id=1&client.id=1", "client.id is given twice"),
        ("kafka://a:1/t?Client.Id=1", "'Client.Id' of a Kafka URL is written client.id"),
        ("kafka://a:1/t?bootstrap.servers=b:1", "before the topic"),
    ],
)
def test_no_kafka_urls(text: str, expected: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        kafka_url(text)
    assert expected in str(refused.value)


@pytest.mark.parametrize(
    ("text", "variable"),
    [
        ("kafka://user:hush@a:1/t", "KAFKA_SASL_PASSWORD"),
        ("kafka://a:1/t?sasl.username=u&sasl.password=hush", "KAFKA_SASL_PASSWORD"),
        ("kafka://a:1/t?sasl%2Epassword=hush", "KAFKA_SASL_PASSWORD"),
        ("kafka://a:1/t?ssl.key.password=hush", "KAFKA_SSL_KEY_PASSWORD"),
        ("kafka://a:1/t?ssl.key.pem=hush", "KAFKA_SSL_KEY_PEM"),
        ("kafka://a:1/t?sasl.oauthbearer.client.secret=hush", "KAFKA_SASL_OAUTHBEARER_CLIENT_SECRET"),
    ],
)
def test_secrets_are_refused_in_a_url_and_not_repeated(text: str, variable: str) -> None:
    with pytest.raises(ValueError, match=variable) as refused:
        kafka_url(text)
    assert "hush" not in str(refused.value)


GUARDED = (
    "acks", "request.required.acks", "enable.idempotence", "max.in.flight", "max.in.flight.requests.per.connection",
    "retries", "message.send.max.retries", "transactional.id", "transaction.timeout.ms", "enable.gapless.guarantee",
    "partitioner", "queuing.strategy", "produce.offset.report",
    "auto.offset.reset", "enable.auto.commit", "auto.commit.enable", "auto.commit.interval.ms",
    "enable.auto.offset.store", "group.id", "group.instance.id", "group.protocol", "group.remote.assignor",
    "partition.assignment.strategy", "isolation.level", "enable.partition.eof", "check.crcs", "offset.store.method",
    "fetch.max.bytes", "fetch.message.max.bytes", "max.partition.fetch.bytes", "queued.max.messages.kbytes",
    "topic.blacklist", "allow.auto.create.topics", "consume.callback.max.messages",
    "plugin.library.paths", "ssl.engine.location", "sasl.kerberos.kinit.cmd", "test.mock.num.brokers",
    "bootstrap.server", "securty.protocol", "no.such.option",
)  # fmt: skip
"""Options on which a guarantee, a bound or the process itself rests, aliases too, and such as do not exist."""


@pytest.mark.parametrize("option", GUARDED)
@pytest.mark.parametrize("written", [str, str.upper, str.title, lambda name: name.replace(".", "%2E", 1)])
def test_options_on_which_a_guarantee_rests_are_refused_by_name(option: str, written: Callable[[str], str]) -> None:
    name = written(option)
    for reader in (kafka_url, topic_url):
        with pytest.raises(ValueError) as refused:  # noqa: PT011
            reader(f"kafka://a:1/t?client.id=me&{name}=latest")
        assert f"option {unquote(name)!r} is not allowed in a Kafka URL" in str(refused.value)
        assert "latest" not in str(refused.value)


def test_librdkafka_knows_every_option_that_a_url_may_have() -> None:
    for option in sorted(OPTIONS):
        with pytest.raises(KafkaException) as refused:  # at the latest for the second one, so that none is made
            Producer({option: "1", "no.such.option": "1"})
        assert f'No such configuration property: "{option}"' not in str(refused.value)


def test_a_pubsub_url_has_no_options() -> None:
    for text in ("pubsub://prestacop/drones?ack=1", "pubsub://prestacop/drones?"):
        with pytest.raises(ValueError, match="a Pub/Sub URL has no options"):
            topic_url(text)


def test_the_configuration_has_the_options_and_the_password_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    url = kafka_url("kafka://a:1,b:2/t?security.protocol=SASL_SSL&sasl.username=u")
    common = {"bootstrap.servers": "a:1,b:2", "security.protocol": "SASL_SSL", "sasl.username": "u"}
    assert kafka_config(url) == common
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hush")
    assert kafka_config(url) == {**common, "sasl.password": "hush"}
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "")
    assert kafka_config(url) == common


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("pubsub://prestacop/drones", PubSubUrl("prestacop", "drones")),
        ("pubsub://example.org:presta-cop/a.b~c+d%e-F", PubSubUrl("example.org:presta-cop", "a.b~c+d%e-F")),
    ],
)
def test_pubsub_urls(text: str, meant: PubSubUrl) -> None:
    assert pubsub_url(text) == meant


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pubsub:prestacop/drones", "pubsub://PROJECT/NAME"),
        ("pubsub:///drones", "'' in"),
        ("pubsub://1/drones", "'1' in"),
        ("pubsub://prestacop", "not a name in Pub/Sub"),
        ("pubsub://prestacop/ab", "not a name in Pub/Sub"),
        ("pubsub://prestacop/goog-drones", "not a name in Pub/Sub"),
        ("pubsub://prestacop/drones/more", "not a name in Pub/Sub"),
        ("pubsub://prestacop/drones?a=b", "has no options"),
        ("pubsub://prestacop/drones\n", "not a name in Pub/Sub"),
    ],
)
def test_no_pubsub_urls(text: str, expected: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        pubsub_url(text)
    assert expected in str(refused.value)
