"""The command ``simulate drones``."""

import argparse
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from apps.simulator.arguments import DUPLICATE_WITHIN_S, moment
from apps.simulator.transport.open import TARGETS, target_of
from messaging.urls import topic_url
from schemas.messages import MAX_IMAGE_BYTES
from terminal import logs
from terminal.arguments import (
    LAKE,
    MOST_SECONDS,
    Commands,
    above_zero,
    add_command,
    add_quiet,
    between,
    readable,
    share,
    whole,
)
from terminal.signals import INTERRUPTED

if TYPE_CHECKING:
    from apps.simulator.fleet.publish import Outcome

_DRONES: Final = f"""\
Publish the messages of a simulated fleet of drones over New York. A URL is {TARGETS}.
With a file FILE it also writes FILE.truth.parquet: the id of each line's message, the expected output of the graph, and
the capacity of the drone's battery, relative to a new one.
The same arguments always give the same file.

Messages are published as fast as the topic acknowledges them, or with --live each one when it is due. In Kafka the
messages of a drone stay in order: its name is their key. Exit code 0 means that every message was acknowledged. Ctrl-C
waits until the messages in flight are acknowledged; a second Ctrl-C stops at once. The OPTIONs of Kafka are
librdkafka's; the password is in the environment variable KAFKA_SASL_PASSWORD. Pub/Sub uses PUBSUB_EMULATOR_HOST.
"""
_DRONES_EXAMPLES: Final = """\
examples:
  prestacop simulate drones --drones 100 --seconds 60 --rate 1 --seed 1 --output file:drones.jsonl
  prestacop simulate drones --drones 10000 --seconds 600 --rate 1 --seed 1 --output file:rush.jsonl \\
      --v0-share 0.2 --duplicates 0.01 --disorder 5 --late-share 0.001 --late 900 --corrupt 0.001
  prestacop simulate drones --drones 10 --seconds 60 --rate 10 --seed 1 --output file:drones.jsonl \\
      --images file:images.jsonl
  prestacop simulate drones --drones 10 --seconds 60 --seed 1 --output kafka://localhost:9092/drones \\
      --images kafka://localhost:9092/images --upload-images s3://prestacop/lake
  prestacop simulate drones --drones 10000 --seconds 0 --live --output kafka://localhost:9092/drones
  prestacop simulate drones --drones 100 --seconds 0 --live --output kafka://localhost:9092/drones \\
      --commands kafka://localhost:9092/commands --confirmations kafka://localhost:9092/confirmations
  prestacop simulate drones --drones 100 --seconds 3600 --truth truth.parquet --output pubsub://prestacop/drones
  KAFKA_SASL_PASSWORD=... prestacop simulate drones --drones 100 --seconds 60 --output \\
      'kafka://kafka:9093/drones?security.protocol=SASL_SSL&sasl.mechanisms=SCRAM-SHA-512&sasl.username=simulator'
"""
_START: Final = datetime(2026, 1, 15, 12, tzinfo=UTC)
_DAY_S: Final = 24 * 3600
_BEHIND_S: Final = 1.0
"""A smaller delay is the time that publishing takes."""


def add_drones(commands: Commands) -> None:
    """Add the command to the parser."""
    drones = add_command(commands, "drones", "drone messages", _DRONES, _DRONES_EXAMPLES)
    drones.set_defaults(run=_run, refuse=drones.error)
    fleet = drones.add_argument_group("the fleet")
    _add_fleet(fleet)
    _add_faults(fleet)
    _add_mishaps(drones.add_argument_group("faults on the way"))
    add = drones.add_argument_group("output").add_argument
    add("--output", type=readable(target_of), required=True, metavar="URL", help="publish the messages there")
    add(
        "--images",
        type=readable(target_of),
        metavar="URL",
        help="publish the images there, one message each (default: no images)",
    )
    add(
        "--image-bytes",
        type=whole(0, MAX_IMAGE_BYTES),
        default=0,
        metavar="N",
        help="approximate size of an image in bytes (default: 0, the smallest possible)",
    )
    add(
        "--draw-images",
        action="store_true",
        help="draw a parked car with its plate in each image: 30 KB, and 30 ms of a core",
    )
    add(
        "--upload-images",
        metavar=LAKE,
        help="upload the images to this lake, and publish messages that name them (v2); drones of version 0 do not "
        "(default: the images are in the messages)",
    )
    add(
        "--truth",
        type=Path,
        metavar="FILE",
        help="write the expected output of the graph there, as Parquet (default: FILE.truth.parquet beside a file)",
    )
    add(
        "--faults-truth",
        type=Path,
        metavar="FILE",
        help="with --faults: write there, as Parquet, which drone has which fault, and from when on",
    )
    add("--live", action="store_true", help="publish each message when it is due, by the clock of this machine")
    add(
        "--commands",
        type=readable(topic_url),
        metavar="URL",
        help="with --live: the drones follow the commands of kafka://HOST:PORT/TOPIC or pubsub://PROJECT/SUBSCRIPTION",
    )
    add(
        "--confirmations",
        type=readable(topic_url),
        metavar="URL",
        help="with --commands: publish confirmations to this topic",
    )
    add_quiet(drones)


def _add_fleet(fleet: argparse._ArgumentGroup) -> None:
    add = fleet.add_argument
    add("--drones", type=whole(1), required=True, metavar="N", help="number of drones")
    add(
        "--seconds",
        type=between(0, MOST_SECONDS),
        required=True,
        metavar="T",
        help="how long they fly, in seconds of event time; with --live, 0 is until Ctrl-C",
    )
    add("--rate", type=above_zero, default=1.0, metavar="R", help="messages per second of one drone (default: 1)")
    add("--seed", type=whole(), default=1, metavar="S", help="seed of the random numbers (default: 1)")
    add(
        "--start",
        type=moment,
        metavar="RFC3339",
        help="when they take off (default: 2026-01-15T12:00:00Z, with --live now)",
    )
    add(
        "--days",
        type=whole(1),
        metavar="N",
        help="spread the --seconds over N days, some at the beginning of each hour (default: one flight)",
    )
    add(
        "--battery-days",
        type=between(0, 3650),
        default=0.0,
        metavar="N",
        help="batteries have been used for up to N days at take-off, ten flights a day (default: 0, all are new)",
    )
    add(
        "--v0-share",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="share of the drones that send messages of version 0, lines of text (default: 0)",
    )
    add(
        "--violation-share",
        type=share,
        default=0.1,
        metavar="SHARE",
        help="share of the messages that are violations (default: 0.1)",
    )
    add(
        "--unqualified-share",
        type=share,
        default=0.01,
        metavar="SHARE",
        help="share of the violations with code 0 (default: 0.01)",
    )
    add(
        "--image-share",
        type=share,
        default=1.0,
        metavar="SHARE",
        help="share of the qualified violations that have an image; each unqualified one has one, unless it is 0 "
        "(default: 1)",
    )


def _add_faults(fleet: argparse._ArgumentGroup) -> None:
    fleet.add_argument(
        "--faults",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="share of the drones that have one fault each, in turn: silent for 3 minutes, a battery that drains six "
        "times too fast, a position that jumps, a clock that is 2 minutes off, no pictures (default: 0)",
    )


def _add_mishaps(mishaps: argparse._ArgumentGroup) -> None:
    add = mishaps.add_argument
    add(
        "--duplicates",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="share of the messages that are published twice (default: 0)",
    )
    add(
        "--duplicates-within",
        type=between(0, 3600),
        default=DUPLICATE_WITHIN_S,
        metavar="SECONDS",
        help=f"longest time between the two, at most 3600 (default: {DUPLICATE_WITHIN_S:g})",
    )
    add(
        "--disorder",
        type=between(0, MOST_SECONDS),
        default=0.0,
        metavar="SECONDS",
        help="delay each message at random by up to this time, which changes their order (default: 0)",
    )
    add(
        "--late-share",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="share of the messages that are published late (default: 0)",
    )
    add(
        "--late",
        type=between(0, MOST_SECONDS),
        default=0.0,
        metavar="SECONDS",
        help="how late they are published (default: 0)",
    )
    add(
        "--corrupt",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="share of the messages that are corrupt (default: 0)",
    )


def _run(options: argparse.Namespace) -> int:
    # These import pyarrow, which --help does without.
    from apps.simulator.fleet.flight import Flight  # noqa: PLC0415
    from apps.simulator.fleet.mishaps import Mishaps  # noqa: PLC0415
    from apps.simulator.fleet.publish import Outputs, write_drones  # noqa: PLC0415

    _check(options)
    flight = Flight(
        drones=options.drones,
        seconds=options.seconds if options.seconds or not options.live else math.inf,
        rate=options.rate,
        seed=options.seed,
        start=options.start or (None if options.live else _START),
        v0_share=options.v0_share,
        violation_share=options.violation_share,
        unqualified_share=options.unqualified_share,
        image_share=options.image_share,
        days=options.days,
        battery_days=options.battery_days,
        faults=options.faults,
    )
    mishaps = Mishaps(
        duplicates=options.duplicates,
        duplicates_within_s=options.duplicates_within,
        disorder_s=options.disorder,
        late_share=options.late_share,
        late_s=options.late,
        corrupt=options.corrupt,
    )
    outputs = Outputs(
        messages=options.output,
        images=options.images,
        image_bytes=None if options.draw_images else options.image_bytes,
        uploads=options.upload_images,
        truth=options.truth,
        commands=options.commands,
        confirmations=options.confirmations,
        faults=options.faults_truth,
    )
    outcome = write_drones(flight, mishaps, outputs, live=options.live, quiet=options.quiet)
    _report(outcome, options, flight.drones * flight.rate * (1 + mishaps.duplicates))
    return INTERRUPTED if outcome.interrupted else 0


def _report(outcome: "Outcome", options: argparse.Namespace, requested_rate: float) -> None:
    """Print the throughput, and whether it was too low for a live fleet."""
    if not options.quiet:
        acknowledged = "" if isinstance(options.output, Path) else ", all acknowledged"
        took = f"in {outcome.seconds:.1f} s, {outcome.rate:,.0f} a second"
        logs.COMMAND.info("simulator: %s messages %s%s", f"{outcome.messages:,}", took, acknowledged)
    if outcome.behind_s > _BEHIND_S and outcome.rate < requested_rate:
        logs.COMMAND.warning(
            "simulator: the throughput was too low: %s messages a second were requested, %s were published, the last "
            "one %.1f s late",
            f"{requested_rate:,.0f}",
            f"{outcome.rate:,.0f}",
            outcome.behind_s,
        )


def _check(options: argparse.Namespace) -> None:
    """Refuse options that contradict each other."""
    if bool(options.late_share) != bool(options.late):
        options.refuse("--late-share needs --late, and --late needs --late-share")
    if (options.image_bytes or options.draw_images or options.upload_images) and not options.images:
        options.refuse("--image-bytes, --draw-images and --upload-images need --images")
    if options.image_bytes and options.draw_images:
        options.refuse("--image-bytes is the size of images that are not drawn: leave out --draw-images")
    if options.faults_truth and not options.faults:
        options.refuse("--faults-truth needs --faults")
    if options.live and isinstance(options.output, Path):
        options.refuse("--live needs a topic: a file is written as fast as possible")
    if options.days and options.live:
        options.refuse("--days is not for --live: a live fleet flies by the clock of this machine")
    if options.days and options.seconds > options.days * _DAY_S:
        options.refuse("--seconds is longer than --days")
    if options.commands and not options.live:
        options.refuse("--commands needs --live")
    if options.confirmations and not options.commands:
        options.refuse("--confirmations needs --commands")
    places = [
        place
        for place in (options.output, options.images, options.truth, options.faults_truth, options.commands,
                      options.confirmations)
        if place
    ]  # fmt: skip
    if any(place in places[:at] for at, place in enumerate(places)):
        options.refuse(
            "two of --output, --images, --truth, --faults-truth, --commands and --confirmations are the same place"
        )
