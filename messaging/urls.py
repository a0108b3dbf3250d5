"""URLs of topics: ``kafka://HOST:PORT/TOPIC?OPTION=VALUE`` and ``pubsub://PROJECT/NAME``.

Process lists and logs show a URL, so it contains no secret: those are environment variables.
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
"""The options that are secrets, and the environment variable of each."""

OPTIONS: Final = frozenset(
    [
        "client.dns.lookup",
        "client.id",
        "debug",
        "log.connection.close",
        "broker.address.family",
        "broker.address.ttl",
        "broker.version.fallback",
        "connections.max.idle.ms",
        "metadata.max.age.ms",
        "metadata.recovery.rebootstrap.trigger.ms",
        "metadata.recovery.strategy",
        "reconnect.backoff.max.ms",
        "reconnect.backoff.ms",
        "retry.backoff.max.ms",
        "retry.backoff.ms",
        "socket.connection.setup.timeout.ms",
        "socket.keepalive.enable",
        "socket.max.fails",
        "socket.nagle.disable",
        "socket.receive.buffer.bytes",
        "socket.send.buffer.bytes",
        "socket.timeout.ms",
        "topic.metadata.refresh.fast.interval.ms",
        "topic.metadata.refresh.interval.ms",
        "topic.metadata.refresh.sparse",
        "enable.sasl.oauthbearer.unsecure.jwt",
        "enable.ssl.certificate.verification",
        "security.protocol",
        "sasl.kerberos.keytab",
        "sasl.kerberos.min.time.before.relogin",
        "sasl.kerberos.principal",
        "sasl.kerberos.service.name",
        "sasl.mechanism",
        "sasl.mechanisms",
        "sasl.username",
        "sasl.oauthbearer.assertion.algorithm",
        "sasl.oauthbearer.assertion.claim.aud",
        "sasl.oauthbearer.assertion.claim.exp.seconds",
        "sasl.oauthbearer.assertion.claim.iss",
        "sasl.oauthbearer.assertion.claim.jti.include",
        "sasl.oauthbearer.assertion.claim.nbf.seconds",
        "sasl.oauthbearer.assertion.claim.sub",
        "sasl.oauthbearer.assertion.file",
        "sasl.oauthbearer.assertion.jwt.template.file",
        "sasl.oauthbearer.assertion.private.key.file",
        "sasl.oauthbearer.client.credentials.client.id",
        "sasl.oauthbearer.client.id",
        "sasl.oauthbearer.config",
        "sasl.oauthbearer.extensions",
        "sasl.oauthbearer.grant.type",
        "sasl.oauthbearer.metadata.authentication.type",
        "sasl.oauthbearer.method",
        "sasl.oauthbearer.scope",
        "sasl.oauthbearer.token.endpoint.url",
        "ssl.ca.certificate.stores",
        "ssl.ca.location",
        "ssl.ca.pem",
        "ssl.certificate.location",
        "ssl.certificate.pem",
        "ssl.cipher.suites",
        "ssl.crl.location",
        "ssl.curves.list",
        "ssl.endpoint.identification.algorithm",
        "ssl.key.location",
        "ssl.keystore.location",
        "ssl.sigalgs.list",
        "https.ca.location",
        "https.ca.pem",
        "batch.num.messages",
        "batch.size",
        "compression.codec",
        "compression.level",
        "compression.type",
        "delivery.timeout.ms",
        "linger.ms",
        "message.max.bytes",
        "message.timeout.ms",
        "queue.buffering.max.kbytes",
        "queue.buffering.max.messages",
        "queue.buffering.max.ms",
        "request.timeout.ms",
    ]
)
"""The options that a URL may have: how to reach a cluster and authenticate there, and how a producer fills its batches.

All others are set by the clients: exactly-once delivery, or the bound of memory, depends on many of them (decision
070)."""

_KAFKA_FORM: Final = "kafka://HOST:PORT[,HOST:PORT...]/TOPIC[?OPTION=VALUE&...]"
_PUBSUB_FORM: Final = "pubsub://PROJECT/NAME"
_BROKER: Final = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})")
_KAFKA_TOPIC: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
PROJECT: Final = re.compile(r"[A-Za-z][A-Za-z0-9.:_-]*")
_PUBSUB_NAME: Final = re.compile(r"(?!goog)[A-Za-z][A-Za-z0-9._~+%-]{2,254}")
_BOOTSTRAP: Final = ("bootstrap.servers", "metadata.broker.list")


class KafkaUrl(NamedTuple):
    """A Kafka topic. ``bootstrap`` is ``HOST:PORT``, several with commas between them; ``options`` are those of
    librdkafka that are in :data:`OPTIONS`."""

    bootstrap: str
    topic: str
    options: Mapping[str, str]


class PubSubUrl(NamedTuple):
    """A Pub/Sub topic or subscription: which of them ``name`` is, depends on where it is used."""

    project: str
    name: str


def kafka_url(text: str) -> KafkaUrl:
    """The topic that ``text`` names. Raises ValueError.

    >>> kafka_url("kafka://one:9092,two:9092/drones?security.protocol=SSL")
    KafkaUrl(bootstrap='one:9092,two:9092', topic='drones', options={'security.protocol': 'SSL'})
    """
    if not text.startswith(KAFKA):
        raise ValueError(f"{text!r} is not a Kafka topic: write {_KAFKA_FORM}")
    place, _, query = text.removeprefix(KAFKA).partition("?")
    bootstrap, _, topic = place.partition("/")
    if "@" in bootstrap:
        # The text is not printed: it may contain a password.
        raise ValueError(
            "a Kafka URL contains no user and no password: write ?sasl.username=USER, "
            f"and put the password into the environment variable {SECRETS['sasl.password']}"
        )
    for broker in bootstrap.split(","):
        found = _BROKER.fullmatch(broker)
        if not found or not 0 < int(found[1]) < 65_536:
            raise ValueError(f"{broker!r} in {text!r} is not HOST:PORT: write {_KAFKA_FORM}")
    if not _KAFKA_TOPIC.fullmatch(topic):
        raise ValueError(
            f"{topic!r} in {text!r} is not a name of a Kafka topic (1 to 249 of letters, digits, '.', '_', '-'): "
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
    raise ValueError(f"{text!r} is not a topic: write {_KAFKA_FORM} or {_PUBSUB_FORM}")


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
        raise ValueError(f"{text!r} is not a Pub/Sub topic or subscription: write {_PUBSUB_FORM}")
    if "?" in text:
        raise ValueError(f"a Pub/Sub URL has no options: write {_PUBSUB_FORM}")
    project, _, name = text.removeprefix(PUBSUB).partition("/")
    if not PROJECT.fullmatch(project):
        raise ValueError(f"{project!r} in {text!r} is not a Google Cloud project: write {_PUBSUB_FORM}")
    if not _PUBSUB_NAME.fullmatch(name):
        raise ValueError(
            f"{name!r} in {text!r} is not a name in Pub/Sub (3 to 255 of letters, digits and -._~+%, a letter first, "
            f"not 'goog'): write {_PUBSUB_FORM}"
        )
    return PubSubUrl(project, name)


def _options(query: str) -> dict[str, str]:
    options: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, _, value = map(unquote, pair.partition("="))
        # Values are not printed: they may be secret.
        if name in SECRETS:
            raise ValueError(f"{name} is not allowed in a URL: put it into the environment variable {SECRETS[name]}")
        if name in _BOOTSTRAP:
            raise ValueError(f"{name} is the part before the topic: write {_KAFKA_FORM}")
        if not name or not value:
            raise ValueError(f"option {name!r} of a Kafka URL has no name or no value: write {_KAFKA_FORM}")
        if name in options:
            raise ValueError(f"option {name} is given twice in a Kafka URL")
        if name not in OPTIONS:
            raise ValueError(f"option {name!r} {_refusal(name)}")
        options[name] = value
    return options


def _refusal(name: str) -> str:
    if (lower := name.lower()) != name and lower in {*OPTIONS, *SECRETS}:
        return f"of a Kafka URL is written {lower}"
    return (
        "is not allowed in a Kafka URL: leave it out. Allowed are options that say how to reach the cluster "
        "(security.protocol, sasl.*, ssl.*, socket.*, client.id) and how a producer fills its batches; the others are "
        "fixed, because exactly-once delivery depends on them"
    )
