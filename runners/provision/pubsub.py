"""Topics and subscriptions of a Pub/Sub project; the clients go to ``PUBSUB_EMULATOR_HOST`` where that is set."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final

from google.api_core import exceptions
from google.api_core.retry import Retry
from google.pubsub_v1 import ExpirationPolicy, PublisherClient, SubscriberClient, Subscription

from messaging.pubsub import PASSES, Connection
from messaging.urls import PubSubUrl
from runners.provision.diff import CREATED, Difference, Line, Mode, compared
from runners.provision.spec import DAY, Topic, spoken

ACK_SECONDS: Final = 60
"""The pipeline acknowledges a segment when it is in the lake's spool: a few seconds, also where S3 is slow."""
KEPT_SECONDS: Final = 7 * DAY
"""How long a subscription waits for a pipeline that stands still."""
RETENTION_LIMITS: Final = (600, 31 * DAY)
"""What Pub/Sub allows for a topic."""
_OPTIONS: Final[dict[str, Any]] = {"retry": Retry(PASSES, timeout=20.0), "timeout": 20.0}


def make(project: str, topics: list[Topic], mode: Mode) -> Iterator[Line]:
    """Make the topics that are missing, and a subscription for each of their readers; compare the others."""
    connection = Connection(PubSubUrl(project, ""), "topics")
    with connection.open(PublisherClient) as publisher, connection.open(SubscriberClient) as subscriber:
        for topic in topics:
            with Connection(PubSubUrl(project, topic.name), "topics").errors():
                yield from _topic(publisher, project, topic, mode)
            for reader in topic.readers:
                with Connection(PubSubUrl(project, f"{topic.name}-{reader}"), "subscriptions").errors():
                    yield from _subscription(subscriber, project, topic, reader, mode)


def _topic(client: PublisherClient, project: str, topic: Topic, mode: Mode) -> list[Line]:
    thing, kept = f"pubsub topic {topic.name}", timedelta(seconds=topic.retention_seconds)
    detail = f"keeps messages for {spoken(topic.retention_seconds)}"
    expected = {"name": f"projects/{project}/topics/{topic.name}", "message_retention_duration": kept}
    found = _found(lambda: client.get_topic(topic=expected["name"], **_OPTIONS))
    if found is None:
        if mode.dry_run or _made(lambda: client.create_topic(request=expected, timeout=20.0)):
            return [Line(CREATED, thing, detail)]
        found = client.get_topic(topic=expected["name"], **_OPTIONS)
    differences = _retention(found, kept)
    changed, lines = compared(thing, detail, differences, mode)
    if changed and not mode.dry_run:
        mask = {"paths": [d.name for d in changed]}
        client.update_topic(request={"topic": expected, "update_mask": mask}, **_OPTIONS)
    return lines


def _subscription(client: SubscriberClient, project: str, topic: Topic, reader: str, mode: Mode) -> list[Line]:
    name = f"{topic.name}-{reader}"
    thing = f"pubsub subscription {name}"
    detail = f"acknowledge within {ACK_SECONDS} s, keeps messages for {spoken(KEPT_SECONDS)}, never expires"
    expected = {
        "name": f"projects/{project}/subscriptions/{name}",
        "topic": f"projects/{project}/topics/{topic.name}",
        "ack_deadline_seconds": ACK_SECONDS,
        "message_retention_duration": timedelta(seconds=KEPT_SECONDS),
        "expiration_policy": ExpirationPolicy(),  # without a time: never
    }
    found = _found(lambda: client.get_subscription(subscription=expected["name"], **_OPTIONS))
    if found is None:
        if mode.dry_run or _made(lambda: client.create_subscription(request=expected, timeout=20.0)):
            return [Line(CREATED, thing, detail)]
        found = client.get_subscription(subscription=expected["name"], **_OPTIONS)
    changed, lines = compared(thing, detail, _differences(found, expected), mode)
    if changed and not mode.dry_run:
        mask = {"paths": [d.name for d in changed]}
        client.update_subscription(request={"subscription": expected, "update_mask": mask}, **_OPTIONS)
    return lines


def _differences(found: Subscription, expected: dict[str, Any]) -> list[Difference]:
    differences = _retention(found, expected["message_retention_duration"])
    if found.ack_deadline_seconds != ACK_SECONDS:
        differences.append(Difference("ack_deadline_seconds", found.ack_deadline_seconds, ACK_SECONDS))
    if "expiration_policy" not in found:
        differences.append(Difference("expiration_policy", "31d", "never"))
    elif "ttl" in found.expiration_policy:
        differences.append(Difference("expiration_policy", _spoken(found.expiration_policy.ttl), "never"))
    if "dead_letter_policy" in found:
        # Dead letters are stored in the lake; a message in a dead-letter topic would be in no ledger.
        dead_letters = found.dead_letter_policy.dead_letter_topic
        differences.append(Difference("dead_letter_policy", dead_letters, "none"))
    if found.topic != expected["topic"]:
        kept = "a subscription stays with its topic: remove it, and run this again"
        differences.append(Difference("topic", found.topic, expected["topic"], kept))
    return differences


def _retention(found: Any, expected: timedelta) -> list[Difference]:
    name = "message_retention_duration"
    has = found.message_retention_duration if name in found else None
    return [] if has == expected else [Difference(name, _spoken(has), _spoken(expected))]


def _spoken(time: timedelta | None) -> str:
    return "none" if time is None else spoken(round(time.total_seconds()))


def _found(ask: Callable[[], Any]) -> Any | None:
    """What is there, if anything is."""
    try:
        return ask()
    except exceptions.NotFound:
        return None


def _made(ask: Callable[[], Any]) -> bool:
    """Whether this process created it, and not another one meanwhile."""
    try:
        ask()
    except exceptions.AlreadyExists:
        return False
    return True
