"""The flags, and what they mean."""

import argparse
from collections.abc import Callable
from typing import Any, Final

from messaging.urls import KAFKA, PROJECT, KafkaUrl, kafka_url
from runners.provision.spec import DAY, IMAGES, NAMES, PARTITIONS, RETENTION, ROLES, LakeBucket, spoken
from terminal.arguments import command_parser, duration, readable, whole

MODULE: Final = "prestacop topics"
_LONGEST_PREFIX: Final = 200
"""A rule is named after the lake's prefix, and a name may have 255 characters."""

_EXAMPLES: Final = f"""examples:
  {MODULE} --kafka localhost:9092 --lake s3://prestacop/lake --dry-run
  {MODULE} --kafka 'broker:9093?security.protocol=SSL' --partitions messages=12 --partitions images=8
  {MODULE} --pubsub my-project --messages fleet --retention alerts=14d
  {MODULE} --kafka broker:9092 --partitions 12 --update     changes existing topics

Prints a line for each topic, subscription and rule: created, exists, differs, updated, or warning. Only --update
changes what exists. Partitions are never removed; after some were added, a drone's messages may go to another
partition. Lifecycle rules of the bucket with other ids are not changed. When a picture expires, the lake keeps its row.
A server without lifecycle rules is reported as a warning.

Secrets come from the environment: KAFKA_SASL_PASSWORD, AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS.

exit codes: 0 done, 2 wrong usage, 3 refused (--strict: or something differs, or is a warning), 4 service unavailable,
7 no permission"""


def parser() -> argparse.ArgumentParser:
    """The command's flags."""
    made = command_parser(
        MODULE,
        "Create the topics, subscriptions and lifecycle rules of the bucket that a deployment needs. A second run "
        "changes nothing.",
        _EXAMPLES,
    )
    where = made.add_argument_group("where (give at least one)")
    where.add_argument(
        "--kafka",
        type=cluster,
        metavar="HOST:PORT",
        help="Kafka's brokers, separated by commas; options of librdkafka follow: ?OPTION=VALUE&...",
    )
    where.add_argument("--pubsub", type=project, metavar="PROJECT", help="a Google Cloud project, for Pub/Sub")
    where.add_argument("--lake", type=lake, metavar="s3://BUCKET/PREFIX", help="the lake, whose bucket must exist")

    topics = made.add_argument_group("topics")
    for role, name in NAMES.items():
        topics.add_argument(
            f"--{role}", default=name, metavar="NAME", help=f"name of the topic of {role} (default: {name})"
        )
    topics.add_argument(
        "--answers", metavar="NAME", help="name of the topic of officers' answers (default: that of the messages)"
    )
    topics.add_argument(
        "--partitions",
        type=per_topic(whole(1, 99_999)),
        action="append",
        default=[],
        metavar="N",
        help="partitions of every topic, or ROLE=N of one: the most readers it can have (default: "
        f"{_shown(PARTITIONS, str)})",
    )
    topics.add_argument(
        "--retention",
        type=per_topic(retention),
        action="append",
        default=[],
        metavar="TIME",
        help="how long topics keep messages: 12h, 7d, or ROLE=TIME for one topic (default: "
        f"{_shown(RETENTION, spoken)})",
    )
    topics.add_argument(
        "--replication",
        type=whole(1, 99_999),
        metavar="N",
        help="copies of each message in Kafka (default: 3, with fewer brokers one each)",
    )

    bucket = made.add_argument_group("the bucket")
    bucket.add_argument(
        "--keep-pictures",
        type=days,
        default=365,
        metavar="DAYS",
        help="delete pictures after this time (default: 365d)",
    )
    bucket.add_argument(
        "--keep-spool",
        type=days,
        default=30,
        metavar="DAYS",
        help="delete Pub/Sub segments that a crash left in the spool after this time (default: 30d); a pipeline that "
        "is down for longer loses its uncommitted ones",
    )

    how = made.add_argument_group("how")
    how.add_argument("--update", action="store_true", help="change what exists with other settings")
    how.add_argument("--dry-run", action="store_true", help="print what would be created or changed, and stop")
    how.add_argument("--strict", action="store_true", help="end with exit code 3 if something differs or is a warning")
    return made


def cluster(text: str) -> KafkaUrl:
    """``HOST:PORT[,HOST:PORT...][?OPTION=VALUE&...]``. Raises ArgumentTypeError."""
    place, mark, query = text.removeprefix(KAFKA).partition("?")
    if "/" in place:
        raise argparse.ArgumentTypeError("write HOST:PORT without a topic: those have flags of their own")
    return readable(kafka_url)(f"{KAFKA}{place}/{IMAGES}{mark}{query}")  # any topic: the form needs one


def project(text: str) -> str:
    """A Google Cloud project. Raises ArgumentTypeError."""
    if not PROJECT.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a Google Cloud project")
    return text


def lake(text: str) -> LakeBucket:
    """``s3://BUCKET[/PREFIX]``. Raises ArgumentTypeError."""
    bucket, _, prefix = text.removeprefix("s3://").removesuffix("/").partition("/")
    if not text.startswith("s3://") or not bucket or (prefix and "" in prefix.split("/")):
        raise argparse.ArgumentTypeError(f"{text!r} is no s3://BUCKET/PREFIX; a directory has no rules")
    if len(prefix) > _LONGEST_PREFIX:
        raise argparse.ArgumentTypeError(f"a prefix of {len(prefix)} characters: {_LONGEST_PREFIX} at most")
    return LakeBucket(bucket, f"{prefix}/" if prefix else "")


def retention(text: str) -> int:
    """``90s``, ``30m``, ``12h``, ``7d`` in seconds, at least a second. Raises ArgumentTypeError."""
    seconds = duration(text)
    if not 0 < seconds < 10**6 * DAY:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration: write 90s, 30m, 12h, 7d")
    return seconds


def days(text: str) -> int:
    """``365d`` in days: a bucket counts nothing smaller. Raises ArgumentTypeError."""
    seconds = retention(text)
    if seconds % DAY:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of days: write 30d")
    return seconds // DAY


def per_topic(value: Callable[[str], int]) -> Callable[[str], dict[str, int]]:
    """``VALUE`` for every topic, ``ROLE=VALUE`` for one.

    >>> per_topic(int)("images=8")
    {'images': 8}
    """

    def read(text: str) -> dict[str, int]:
        role, mark, rest = text.rpartition("=")
        if mark and role not in ROLES:
            raise argparse.ArgumentTypeError(f"{role!r} is none of {', '.join(ROLES)}")
        return dict.fromkeys([role] if mark else ROLES, value(rest))

    return read


def merged(given: list[dict[str, int]]) -> dict[str, int]:
    """A value for one topic overrides the value for all; the last of each counts."""
    return {role: n for one in sorted(given, key=len, reverse=True) for role, n in one.items()}


def _shown(defaults: Any, text: Callable[[int], str]) -> str:
    return ", ".join(f"{role} {text(defaults[role])}" for role in ROLES)
