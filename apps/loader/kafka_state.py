"""Whether a Kafka topic still has what a load has published to it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from messaging.kafka import Topic

from .target import TargetChanged

Acknowledged = dict[str, tuple[int, int]]
"""By partition the offsets of the first and the last message of a load that were acknowledged."""


class TopicState(NamedTuple):
    """A topic at one moment."""

    identity: str
    """32 hexadecimal digits, others for a topic that is created again under its name; empty before Kafka 2.8."""
    bounds: dict[str, tuple[int, int]]
    """By partition the offsets of its oldest message, and behind its last."""


def topic_state(topic: Topic) -> TopicState:
    """What the brokers report now. Raises InputUnusable, NotPermitted, ServiceUnavailable."""
    identity, firsts, ends = topic.identity(), topic.firsts(), topic.ends()
    bounds = {str(partition): (firsts[partition], ends[partition]) for partition in firsts}
    return TopicState(identity if identity.strip("0") else "", bounds)


def check_still_there(name: str, known: Mapping[str, Any], found: TopicState) -> None:
    """Whether all that was acknowledged is in the topic.

    Args:
        name: of the topic.
        known: what the journal knows of the load: ``topic`` and ``acknowledged``; older journals have neither.

    Raises:
        TargetChanged: it is not; the message gives the reason.
    """
    if known.get("topic") and found.identity and known["topic"] != found.identity:
        raise TargetChanged(f"{name} was deleted and created again: what had arrived of the file is gone")
    acknowledged: Acknowledged = known.get("acknowledged", {})
    for partition, (first, last) in acknowledged.items():
        oldest, end = found.bounds.get(partition, (0, 0))
        if end <= last:
            raise TargetChanged(
                f"{name}/{partition} ends at offset {end:,}, and message {last:,} of the file had been acknowledged: "
                "it was emptied or has lost it"
            )
        if oldest > first:
            raise TargetChanged(
                f"{name}/{partition} begins at offset {oldest:,}, and the file at {first:,}: the topic's retention, or "
                "somebody, has deleted messages of it"
            )
    if known.get("offset") and not acknowledged and all(oldest == end for oldest, end in found.bounds.values()):
        raise TargetChanged(f"{name} is empty, and a part of the file had arrived")
