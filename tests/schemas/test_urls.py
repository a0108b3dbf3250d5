"""URLs of topics: what is taken, what is refused, and that secrets come from the environment alone."""

import pytest

from schemas.urls import SECRETS, KafkaUrl, PubSubUrl, kafka_config, kafka_url, pubsub_url


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
    ("text", "said"),
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
        ("kafka://a:1/t?acks", "'acks'"),
        ("kafka://a:1/t?acks=", "'acks'"),
        ("kafka://a:1/t?=1", "''"),
        ("kafka://a:1/t?acks=1&acks=1", "acks stands twice"),
        ("kafka://a:1/t?bootstrap.servers=b:1", "before the topic"),
    ],
)
def test_no_kafka_urls(text: str, said: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        kafka_url(text)
    assert said in str(refused.value)


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
    ("text", "said"),
    [
        ("pubsub:prestacop/drones", "pubsub://PROJECT/NAME"),
        ("pubsub:///drones", "'' in"),
        ("pubsub://1/drones", "'1' in"),
        ("pubsub://prestacop", "no name in Pub/Sub"),
        ("pubsub://prestacop/ab", "no name in Pub/Sub"),
        ("pubsub://prestacop/goog-drones", "no name in Pub/Sub"),
        ("pubsub://prestacop/drones/more", "no name in Pub/Sub"),
        ("pubsub://prestacop/drones?a=b", "no name in Pub/Sub"),
        ("pubsub://prestacop/drones\n", "no name in Pub/Sub"),
    ],
)
def test_no_pubsub_urls(text: str, said: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        pubsub_url(text)
    assert said in str(refused.value)
