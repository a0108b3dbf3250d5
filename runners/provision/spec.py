"""The topics of the system, and their settings."""

from collections.abc import Mapping
from typing import Final, NamedTuple

DAY: Final = 24 * 3600
LARGEST_IMAGE_MESSAGE: Final = 16 * 2**20
"""A picture of 10 MiB is 13.3 MiB in base64, and its message a little more."""

MESSAGES: Final = "messages"
IMAGES: Final = "images"
ALERTS: Final = "alerts"
ANSWERS: Final = "answers"
COMMANDS: Final = "commands"
CONFIRMATIONS: Final = "confirmations"
ROLES: Final = (MESSAGES, IMAGES, ALERTS, ANSWERS, COMMANDS, CONFIRMATIONS)

NAMES: Final[Mapping[str, str]] = {
    MESSAGES: "drones",
    IMAGES: "images",
    ALERTS: "alerts",
    COMMANDS: "commands",
    CONFIRMATIONS: "confirmations",
}
"""Answers have none of their own: an officer's answer is a drone message, and goes where those go."""
LAKE, CONSOLE, FLEET = "lake", "console", "fleet"
READERS: Final[Mapping[str, tuple[str, ...]]] = {
    MESSAGES: (LAKE,),
    IMAGES: (LAKE, CONSOLE),
    ALERTS: (CONSOLE,),
    ANSWERS: (LAKE,),
    COMMANDS: (FLEET,),
    CONFIRMATIONS: (CONSOLE,),
}
PARTITIONS: Final[Mapping[str, int]] = {MESSAGES: 4, IMAGES: 4, ALERTS: 1, ANSWERS: 1, COMMANDS: 4, CONFIRMATIONS: 1}
"""Alerts and answers are few, and in one partition they have one order."""
RETENTION: Final[Mapping[str, int]] = {
    MESSAGES: 7 * DAY,
    IMAGES: 7 * DAY,
    ALERTS: 30 * DAY,
    ANSWERS: 7 * DAY,
    COMMANDS: DAY,
    CONFIRMATIONS: DAY,
}
"""How long the pipeline may stand still before messages expire; a command to a drone is useless after a day."""


class LakeBucket(NamedTuple):
    """Where the lake is."""

    bucket: str
    prefix: str
    """With a slash at its end, if there is one."""


class Topic(NamedTuple):
    """One topic."""

    name: str
    partitions: int
    retention_seconds: int
    max_message_bytes: int | None
    """None: what the broker takes by default, a megabyte, is plenty."""
    readers: tuple[str, ...]
    """Who reads it: on Pub/Sub each of them has a subscription."""

    @property
    def feeds_lake(self) -> bool:
        """Whether the pipeline reads it."""
        return LAKE in self.readers


def topics(names: Mapping[str, str], partitions: Mapping[str, int], retention: Mapping[str, int]) -> list[Topic]:
    """The topics to make, defaults where nothing is given. Raises ValueError where two have one name.

    >>> [topic.name for topic in topics({"messages": "fleet"}, {}, {})]
    ['fleet', 'images', 'alerts', 'commands', 'confirmations']
    """
    named = {**NAMES, **names}
    named.setdefault(ANSWERS, named[MESSAGES])
    if named[ANSWERS] == named[MESSAGES]:
        del named[ANSWERS]
    twice = sorted({name for name in named.values() if list(named.values()).count(name) > 1})
    if twice:
        raise ValueError(f"{twice[0]} is the name of two topics: only answers may share that of the messages")
    return [
        Topic(
            named[role],
            {**PARTITIONS, **partitions}[role],
            {**RETENTION, **retention}[role],
            LARGEST_IMAGE_MESSAGE if role == IMAGES else None,
            READERS[role],
        )
        for role in ROLES
        if role in named
    ]


def spoken(seconds: int) -> str:
    """A time as the flags take it.

    >>> spoken(604800), spoken(5400)
    ('7d', '90m')
    """
    for unit, size in (("d", DAY), ("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
