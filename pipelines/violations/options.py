"""Every flag of the graph, once."""

import argparse
from fractions import Fraction
from pathlib import Path
from typing import Any

from messaging.urls import KAFKA, PUBSUB, KafkaUrl, PubSubUrl, topic_url
from metrics.flags import add_metrics, add_stuck_after
from pipelines.cli.beam_flags import by_runner
from schemas.dead_letter_share import DEFAULT_SHARE, MIN_ROWS, percent
from schemas.files.urls import FILE, PLACE, local_path, plain_path
from terminal.arguments import (
    LAKE,
    Parser,
    add_quiet,
    command_parser,
    duration,
    imported,
    percentage,
    printing,
    readable,
)

BOUNDED, UNBOUNDED = "bounded", "unbounded"
ON, OFF = "on", "off"
HOUR = 3600

EXAMPLES = """\
examples:
  prestacop run --history 'tickets/*.csv.gz' --lake data/lake
  prestacop run --messages file:fleet.jsonl --lake s3://prestacop/lake
  prestacop run --messages kafka://localhost:9092/drones --lake data/lake
  prestacop run --messages pubsub://project/drones-lake --mode unbounded --lake s3://prestacop/lake
  prestacop run --messages kafka://localhost:9092/drones --mode unbounded --lake data/lake \\
      --officer-keys officers.pem --alerts kafka://localhost:9092/alerts
  prestacop run --history kafka://localhost:9092/tickets --lake data/lake
  prestacop run --history tickets.csv --lake data/lake --dry-run
  prestacop run --history torn.csv --lake data/lake --max-dead-letters 40%
  prestacop run --lake data/lake --messages \\
      'kafka://broker:9093/drones?security.protocol=SASL_SSL&sasl.mechanisms=PLAIN&sasl.username=me'

A run resumes a topic after the last committed offset. A bounded run stops at the current end of the topic; an unbounded
run is continuous (on Prism on this machine, or on Flink). Options of librdkafka may follow the topic. Passwords come
from the environment (KAFKA_SASL_PASSWORD), S3 keys and the endpoint from the AWS credential chain and AWS_ENDPOINT_URL,
those of gs:// from Application Default Credentials.
Beam's own flags may follow: --help-beam lists them by runner.

exit codes: 0 done, 1 rows in and rows out differ, 2 wrong usage or output, 3 input unusable or mostly refused, 4
service unavailable, 5 disk full, 6 an input was changed while it was read, 7 no permission, 70 a fault of the program,
130 stopped
"""


def recording(url: str) -> str:
    """The path or pattern of ``file:PATH``; a ``file://`` URL as it is. Raises ArgumentTypeError for another scheme."""
    if not url.startswith("file:") or url in ("file:", FILE):
        raise argparse.ArgumentTypeError(f"{url!r}: write file:PATH, a recording with one payload a line")
    return plain_path(url)


def _live_file(url: str) -> str:
    return local_path(recording(url))


def source_url(text: str) -> str | KafkaUrl | PubSubUrl:
    """``file:PATH``, ``kafka://...`` or ``pubsub://...``. Raises ArgumentTypeError."""
    return readable(topic_url)(text) if text.startswith((KAFKA, PUBSUB)) else recording(text)


def history_url(text: str) -> str | KafkaUrl | PubSubUrl:
    """A path or pattern, ``s3://...``, ``gs://...``, ``kafka://...`` or ``pubsub://...``. Raises ArgumentTypeError."""
    return readable(topic_url)(text) if text.startswith((KAFKA, PUBSUB)) else plain_path(text)


def window_seconds(text: str) -> int:
    """``90s``, ``5m``, ``1h``, ``1d`` in seconds; it must divide an hour or be whole hours, up to 31 days.

    Raises ArgumentTypeError.
    """
    seconds = duration(text)
    if not seconds or (HOUR % seconds and seconds % HOUR) or seconds > 31 * 24 * HOUR:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a window: write 10s, 1m, 15m, 1h, 6h, 1d; it divides an hour or is whole hours"
        )
    return seconds


def share(text: str) -> Fraction:
    """``10%``, ``0.5%``, ``none`` as a share, 1 at most. Raises ArgumentTypeError."""
    if text == "none":
        return Fraction(1)
    try:
        return percentage(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or none, which is 100%") from error


def add_max_dead_letters(parser: argparse._ActionsContainer) -> None:
    """The flag of what reads files."""
    parser.add_argument(
        "--max-dead-letters",
        type=share,
        metavar="SHARE",
        help="end the run (exit code 3) before it writes a unit with more than this share of dead letters, as when the "
        f"wrong file is given: 0.5%%, 40%%, none (default: {percent(DEFAULT_SHARE)}%). A unit of fewer than "
        f"{MIN_ROWS:,} rows counts as {MIN_ROWS:,}, unless all rows of a file are dead letters. Unbounded runs, and "
        "without this flag bounded runs of a topic that the lake has units of, print a warning instead",
    )


class _Once(argparse.Action):
    """Stores a value; argparse's own takes the last of several without a word."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        given: set[str] = namespace.__dict__.setdefault("given_once", set())
        if self.dest in given:
            raise argparse.ArgumentError(
                self, "it is given twice; a pattern names several files at once, and other inputs are runs of their own"
            )
        given.add(self.dest)
        setattr(namespace, self.dest, values)


def take_once(parser: argparse.ArgumentParser) -> None:
    """Let flags that are added from now on be given once, if they have a value."""
    parser.register("action", None, _Once)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the graph."""
    take_once(parser)
    group = parser.add_argument_group("input")
    group.add_argument(
        "--history",
        metavar="GLOB_OR_URL",
        type=history_url,
        help="ticket CSV files of the city, plain or packed: a path, a quoted pattern, s3://BUCKET/KEY, "
        "gs://BUCKET/KEY, or the topic that prestacop load has sent them to: kafka://HOST:PORT/TOPIC, pubsub://PROJECT/SUBSCRIPTION",
    )
    group.add_argument(
        "--messages",
        metavar="URL",
        type=source_url,
        help="drone messages: kafka://HOST:PORT/TOPIC, pubsub://PROJECT/SUBSCRIPTION, or file:PATH, a recording "
        "with one payload a line",
    )
    group.add_argument(
        "--images",
        metavar="URL",
        type=source_url,
        help="pictures that drones took: a topic or recording of their own, with a URL as for --messages",
    )
    group.add_argument(
        "--mode",
        choices=(BOUNDED, UNBOUNDED),
        default=BOUNDED,
        help="bounded (default): read topics after the last committed offset up to their current end; unbounded: "
        "continue until stopped",
    )
    group.add_argument(
        "--every",
        type=duration,
        metavar="TIME",
        help="repeat a bounded run every 30s, 5m, ...: for runners that have no unbounded runs, such as Spark",
    )
    group.add_argument(
        "--skew",
        type=duration,
        default=10,
        metavar="TIME",
        help="how far the watermark of an unbounded run stays behind the publish times (default: 10s)",
    )
    group.add_argument(
        "--accept-loss",
        action="store_true",
        help="skip messages that a topic deleted before they were read; without it they end the run (exit code 3)",
    )
    add_max_dead_letters(group)
    group = parser.add_argument_group("output")
    group.add_argument("--lake", metavar=LAKE, help=f"the lake: {PLACE}; created if missing")
    group.add_argument("--output", dest="lake", help=argparse.SUPPRESS)  # the flag's former name
    group.add_argument(
        "--publish",
        choices=(ON, OFF),
        default=ON,
        help="on (default): add committed rows to the Delta tables, which any engine reads; off: only prestacop "
        "compact adds them",
    )
    group.add_argument(
        "--publish-every",
        type=duration,
        default=10,
        metavar="TIME",
        help="how often an unbounded run publishes; a bounded one does at its end (default: 10s)",
    )
    group.add_argument(
        "--window",
        type=window_seconds,
        default=HOUR,
        metavar="SIZE",
        help="size of the windows of the exact statistics: 1m, 15m, 1d (default: 1h)",
    )
    group = parser.add_argument_group("live statistics")
    group.add_argument(
        "--live",
        type=_live_file,
        metavar="URL",
        help="file:PATH: append one line of JSON for each pane of the live windows",
    )
    group.add_argument(
        "--live-window", type=window_seconds, default=60, metavar="SIZE", help="size of the live windows (default: 1m)"
    )
    group.add_argument(
        "--allowed-lateness",
        type=duration,
        default=300,
        metavar="TIME",
        help="how long after its end a live window still takes late rows; later ones count as too_late (default: 5m)",
    )
    group = parser.add_argument_group("officers")
    group.add_argument(
        "--officer-keys",
        type=Path,
        metavar="FILE",
        help="public keys (PEM) that verify officers' answers; without it every answer is a dead letter",
    )
    group.add_argument(
        "--alerts",
        type=readable(topic_url),
        metavar="URL",
        help="publish an alert for each unqualified violation of a drone to kafka://HOST:PORT/TOPIC or "
        "pubsub://PROJECT/TOPIC",
    )
    group.add_argument(
        "--alert-webhook",
        type=imported("transforms.alerts.webhook:webhook_url"),
        metavar="URL",
        help="POST each alert to this URL, signed with the environment's ALERT_WEBHOOK_SECRET",
    )
    group.add_argument(
        "--alert-email",
        type=imported("transforms.alerts.mail:mail_address"),
        metavar="ADDRESS",
        help="mail the alerts to this address through the environment's SMTP_HOST",
    )
    group = parser.add_argument_group("this run")
    group.add_argument("--dry-run", action="store_true", help="print what would be read and written, and stop")
    add_quiet(group)
    add_metrics(group)
    add_stuck_after(group)
    group.add_argument(
        "--help-beam", nargs=0, action=printing(by_runner), help="print the flags of Beam and its runners, and stop"
    )


def check(arguments: argparse.Namespace) -> str | None:
    """What is wrong with the flags of the graph together."""
    unbounded = arguments.mode == UNBOUNDED
    if not arguments.lake:
        return "--lake is missing: say where the lake is, for example --lake data/lake"
    if not (arguments.history or arguments.messages or arguments.images):
        return "nothing to read: give --history, --messages or --images"
    if unbounded and arguments.every:
        return "--every is for bounded runs: --mode unbounded never ends"
    if (unbounded or arguments.every) and arguments.max_dead_letters not in (None, 1):
        return (
            "--max-dead-letters is for runs that end: who may write to a topic could stop an unbounded run for all. "
            f"It warns of units with more than {percent(DEFAULT_SHARE)} dead letters; leave the flag out"
        )
    if arguments.live and not Path(arguments.live).absolute().parent.is_dir():
        return f"--live file:{arguments.live}: there is no such directory; make it first"
    return None


def parser() -> Parser:
    """Of ``prestacop run``."""
    about = "Read drone messages and ticket history into a Parquet lake, exactly once, with statistics."
    made = command_parser("prestacop run", about, EXAMPLES)
    made.check = check
    add_arguments(made)
    return made
