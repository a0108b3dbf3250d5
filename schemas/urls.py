"""Where a topic is: ``kafka://HOST:PORT/TOPIC?OPTION=VALUE`` and ``pubsub://PROJECT/NAME``.

A URL is seen by whoever lists the processes or reads a log, so it carries no secret: those are in the environment.
"""

import os
import re
from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import unquote

KAFKA: Final = "kafka://"
PUBSUB: Final = "pubsub://"
SECRETS: Final = {
    option: "KAFKA_" + option.upper().replace(".", "_")
    for option in (
        "sasl.password",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.oauthbearer.assertion.private.key.pem",
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.client.secret",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
    )
}
"""The options that are secrets, and the environment variable that each is taken from."""

_KAFKA_FORM: Final = "kafka://HOST:PORT[,HOST:PORT...]/TOPIC[?OPTION=VALUE&...]"
_PUBSUB_FORM: Final = "pubsub://PROJECT/NAME"
_BROKER: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})")
_KAFKA_TOPIC: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
_PROJECT: Final = re.compile(r"[A-Za-z][A-Za-z0-9.:_-]*")
_PUBSUB_NAME: Final = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}")
_SAID_BY_HOST: Final = ("bootstrap.servers", "metadata.broker.list")


class KafkaUrl(NamedTuple):
    """A Kafka topic. ``bootstrap`` is ``HOST:PORT``, several with commas between them; ``options`` are librdkafka's."""

    bootstrap: str
    topic: str
    options: Mapping[str, str]


class PubSubUrl(NamedTuple):
    """A Pub/Sub topic or subscription: which of them ``name`` is, whoever uses it knows."""

    project: str
    name: str


def kafka_url(text: str) -> KafkaUrl:
    """The topic that ``text`` names. Raises ValueError.

    >>> kafka_url("kafka://one:9092,two:9092/drones?security.protocol=SSL")
    KafkaUrl(bootstrap='one:9092,two:9092', topic='drones', options={'security.protocol': 'SSL'})
    """
    if not text.startswith(KAFKA):
        raise ValueError(f"{text!r} is no Kafka topic: write {_KAFKA_FORM}")
    place, _, query = text.removeprefix(KAFKA).partition("?")
    bootstrap, _, topic = place.partition("/")
    if "@" in bootstrap:
        # The text is not repeated: it may hold a password.
        raise ValueError(
            "a Kafka URL holds no user and no password: write ?sasl.username=USER, "
            f"and put the password into the environment variable {SECRETS['sasl.password']}"
        )
    for broker in bootstrap.split(","):
        found = _BROKER.fullmatch(broker)
        if not found or not 0 < int(found[1]) < 65_536:
            raise ValueError(f"{broker!r} in {text!r} is no HOST:PORT: write {_KAFKA_FORM}")
    if not _KAFKA_TOPIC.fullmatch(topic):
        raise ValueError(
            f"{topic!r} in {text!r} is no name of a Kafka topic (1 to 249 of letters, digits, '.', '_', '-'): "
            f"write {_KAFKA_FORM}"
        )
    return KafkaUrl(bootstrap, topic, _options(query))


Topic = KafkaUrl | PubSubUrl


def topic_url(text: str) -> Topic:
    """The topic of either service that ``text`` names. Raises ValueError."""
    if text.startswith(KAFKA):
        return kafka_url(text)
    if text.startswith(PUBSUB):
        return pubsub_url(text)
    raise ValueError(f"{text!r} is no topic: write {_KAFKA_FORM} or {_PUBSUB_FORM}")


def kafka_config(url: KafkaUrl) -> dict[str, str]:
    """The librdkafka configuration that a producer and a consumer of ``url`` share, secrets from the environment."""
    secrets = {option: os.environ[variable] for option, variable in SECRETS.items() if os.environ.get(variable)}
    return {"bootstrap.servers": url.bootstrap, **url.options, **secrets}


def pubsub_url(text: str) -> PubSubUrl:
    """The topic or subscription that ``text`` names. Raises ValueError.

    >>> pubsub_url("pubsub://prestacop/drones")
    PubSubUrl(project='prestacop', name='drones')
    """
    if not text.startswith(PUBSUB):
        raise ValueError(f"{text!r} is nothing of Pub/Sub: write {_PUBSUB_FORM}")
    project, _, name = text.removeprefix(PUBSUB).partition("/")
    if not _PROJECT.fullmatch(project):
        raise ValueError(f"{project!r} in {text!r} is no Google Cloud project: write {_PUBSUB_FORM}")
    if not _PUBSUB_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} in {text!r} is no name in Pub/Sub (3 to 255 of letters, digits and -._~+%, a letter first, "
            f"not 'goog'): write {_PUBSUB_FORM}"
        )
    return PubSubUrl(project, name)


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, _, value = map(unquote, pair.partition("="))
        # Values are not repeated in what is said: they may be secret.
        if name in SECRETS:
            raise ValueError(f"{name} has no place in a URL: put it into the environment variable {SECRETS[name]}")
        if name in _SAID_BY_HOST:
            raise ValueError(f"{name} is what stands before the topic: write {_KAFKA_FORM}")
        if not name or not value:
            raise ValueError(f"option {name!r} of a Kafka URL has no name or no value: write {_KAFKA_FORM}")
        if name in options:
            raise ValueError(f"option {name} stands twice in a Kafka URL")
        options[name] = value
    return options
