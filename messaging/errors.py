"""What can go wrong at a broker: each condition has one error class, hence one exit code, and one hint.

A condition that is not listed here is taken for an outage: the request is made again until patience ends, and the
command then ends with :class:`schemas.errors.ServiceUnavailable`. ``docs/streams.md`` has this table.
"""

from typing import Final, NamedTuple

from messaging.retry import HINT
from schemas.errors import (
    AcknowledgedLost,
    NotPermitted,
    OptionsRefused,
    PrestaCopError,
    ServiceUnavailable,
    TopicUnusable,
)


class Condition(NamedTuple):
    """Something that a retry does not mend, or an outage."""

    what: str
    error: type[PrestaCopError]
    kafka: str
    """The hint: what to do about it. ``{bootstrap}`` and ``{topic}`` are replaced."""
    pubsub: str
    """``{project}``, ``{kind}`` (topics or subscriptions) and ``{name}`` are replaced."""


UNKNOWN: Final = Condition(
    "there is no such topic or subscription",
    TopicUnusable,
    "Check the name, or create the topic: prestacop topics, or "
    "kafka-topics.sh --bootstrap-server {bootstrap} --create --topic {topic}",
    "Check the name, or create it: prestacop topics, or gcloud pubsub {kind} create {name} --project {project}",
)
DENIED: Final = Condition(
    "wrong or missing credentials, no right to read or publish, TLS that fails",
    NotPermitted,
    "Check security.protocol and the other options of the URL, KAFKA_SASL_PASSWORD, and the user's rights",
    "Check GOOGLE_APPLICATION_CREDENTIALS and the account's rights; an emulator's address is PUBSUB_EMULATOR_HOST",
)
OPTIONS: Final = Condition(
    "the client library refuses the options of the URL",
    OptionsRefused,
    "Check security.protocol and the other options of the URL, and KAFKA_SASL_PASSWORD",
    "",
)
TOO_LARGE: Final = Condition(
    "a message is larger than the topic allows",
    TopicUnusable,
    "Raise max.message.bytes of the topic, and message.max.bytes of the URL where it has that option",
    "Pub/Sub takes 10 MB in one request: send smaller messages",
)
REFUSED: Final = Condition(
    "the topic refuses messages, or the broker a setting, for another reason",
    TopicUnusable,
    "Change the setting or the message that is named",
    "Change the setting or the message that is named",
)
LOST: Final = Condition(
    "the broker has lost messages that it had acknowledged",
    AcknowledgedLost,
    "Check the broker's disks; then run the same command again: a load starts from the beginning of its file",
    "",
)
OUTAGE: Final = Condition(
    "the service does not answer, or fails for longer than the command waits",
    ServiceUnavailable,
    HINT,
    HINT,
)
CONDITIONS: Final = (UNKNOWN, DENIED, OPTIONS, TOO_LARGE, REFUSED, LOST, OUTAGE)


def markdown() -> str:
    """The table of the documentation."""
    rows = [("condition", "exit code", "Kafka", "Pub/Sub"), ("---", "---", "---", "---")]
    rows += [(c.what, f"{c.error.exit_code} `{c.error.__name__}`", c.kafka, c.pubsub or "-") for c in CONDITIONS]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"
