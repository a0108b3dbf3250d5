"""``prestacop topics``: create what a deployment needs, and report what differs."""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence

from messaging.urls import kafka_url, pubsub_url
from runners.provision import lifecycle, pubsub
from runners.provision.arguments import merged, parser
from runners.provision.diff import Line, Mode
from runners.provision.kafka import KafkaTopics
from runners.provision.lifecycle import Keep
from runners.provision.spec import ROLES, Topic, spoken, topics
from schemas.errors import PrestaCopError, TopicUnusable
from terminal.exits import PIPE_CLOSED, report, report_interrupt


def main(argv: Sequence[str] | None = None) -> int:
    """The command; gives its exit code."""
    usage = parser()
    arguments = usage.parse_args(argv)
    try:
        expected = _expected(arguments)
    except ValueError as error:
        usage.error(str(error))
    well = True
    try:
        for line in _lines(arguments, expected):
            print(line.text(arguments.dry_run), flush=True)
            well = well and line.is_ok
    except PrestaCopError as error:
        return report(error)
    except BrokenPipeError:  # who reads our output, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at its end
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return report_interrupt("Run it again: it is idempotent")
    return 0 if well or not arguments.strict else TopicUnusable.exit_code


def _expected(arguments: argparse.Namespace) -> list[Topic]:
    """The topics, by names that each service takes. Raises ValueError."""
    if not (arguments.kafka or arguments.pubsub or arguments.lake):
        raise ValueError("say where: --kafka, --pubsub or --lake, one of them at least")
    names = {role: getattr(arguments, role) for role in ROLES if getattr(arguments, role)}
    expected = topics(names, merged(arguments.partitions), merged(arguments.retention))
    for topic in expected:
        if arguments.kafka:
            kafka_url(f"kafka://{arguments.kafka.bootstrap}/{topic.name}")
        if arguments.pubsub:
            pubsub_url(f"pubsub://{arguments.pubsub}/{topic.name}")
            least, most = pubsub.RETENTION_LIMITS
            if not least <= topic.retention_seconds <= most:
                raise ValueError(f"{topic.name}: Pub/Sub keeps messages for {spoken(least)} to {spoken(most)}")
    return expected


def _lines(arguments: argparse.Namespace, expected: list[Topic]) -> Iterator[Line]:
    mode = Mode(arguments.update, arguments.dry_run)
    if arguments.kafka:
        yield from KafkaTopics(arguments.kafka).make(expected, arguments.replication, mode)
    if arguments.pubsub:
        yield from pubsub.make(arguments.pubsub, expected, mode)
    if arguments.lake:
        yield from lifecycle.make(arguments.lake, Keep(arguments.keep_pictures, arguments.keep_spool), mode)
