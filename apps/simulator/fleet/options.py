"""The command ``drones``: its arguments, and how it is run."""

import argparse
import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from apps.simulator import arguments
from apps.simulator.fleet.flight import Flight
from apps.simulator.fleet.mishaps import DUPLICATE_WITHIN_S, Mishaps
from apps.simulator.fleet.publish import write_drones
from apps.simulator.interrupt import EXIT_INTERRUPTED
from apps.simulator.transport.open import TARGETS

_DRONES: Final = f"""\
Publish the messages of a fleet of drones over New York.
A URL is {TARGETS}.
Beside a file stands file.truth.parquet: the identity of each line, and the branch of the graph that it belongs in.
The same arguments always give the same file.

A topic gets messages as fast as it acknowledges them, or with --live each one when its time comes. A drone's messages
stay in order in Kafka: its name is their key. Success means that every message was acknowledged. Ctrl-C ends it, and
waits for what is under way; once more, and it does not wait. The OPTIONs of Kafka are librdkafka's; the password is in
the environment variable KAFKA_SASL_PASSWORD. Pub/Sub goes to PUBSUB_EMULATOR_HOST if that is set.
"""
_DRONES_EXAMPLES: Final = """\
examples:
  prestacop simulate drones --drones 100 --seconds 60 --rate 1 --seed 1 --output file:drones.jsonl
  prestacop simulate drones --drones 10000 --seconds 600 --rate 1 --seed 1 --output file:rush.jsonl \\
      --v0-share 0.2 --duplicates 0.01 --disorder 5 --late-share 0.001 --late 900 --corrupt 0.001
  prestacop simulate drones --drones 10 --seconds 60 --rate 10 --seed 1 --output file:drones.jsonl \\
      --images file:images.jsonl
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
"""Less than this is the time that a message takes."""


def add_drones(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command to the parser."""
    drones = commands.add_parser(
        "drones",
        help="drone messages",
        description=_DRONES,
        epilog=_DRONES_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    drones.set_defaults(run=_run, refuse=drones.error)
    _add_fleet(drones.add_argument_group("the fleet"))
    _add_mishaps(drones.add_argument_group("what happens on the way"))
    add = drones.add_argument_group("where it goes").add_argument
    add("--output", type=arguments.target, required=True, metavar="URL", help="of the messages")
    add("--images", type=arguments.target, metavar="URL", help="of the images, one message each (none)")
    add(
        "--image-bytes",
        type=arguments.image_bytes,
        default=0,
        metavar="N",
        help="how large a picture is, about (as small as can be)",
    )
    add("--truth", type=Path, metavar="FILE", help="the truth in Parquet (beside a file, else none)")
    add("--live", action="store_true", help="each message when its time comes, by the clock of this machine")
    add(
        "--commands",
        type=arguments.topic,
        metavar="URL",
        help="with --live: obey what this topic says (kafka://HOST:PORT/TOPIC, pubsub://PROJECT/SUBSCRIPTION)",
    )
    add("--confirmations", type=arguments.topic, metavar="URL", help="the topic that is told when a drone obeys")
    add("--quiet", action="store_true", help="no progress on stderr")


def _add_fleet(fleet: argparse._ArgumentGroup) -> None:
    add = fleet.add_argument
    add("--drones", type=arguments.positive_count, required=True, metavar="N", help="size of the fleet")
    add(
        "--seconds",
        type=arguments.seconds,
        required=True,
        metavar="T",
        help="how long it flies, by its own clock; 0 with --live: until Ctrl-C",
    )
    add("--rate", type=arguments.rate, default=1.0, metavar="R", help="messages a second a drone (1)")
    add("--seed", type=arguments.count, default=1, metavar="S", help="another seed, other messages (1)")
    add(
        "--start",
        type=arguments.moment,
        metavar="RFC3339",
        help="when it takes off (2026-01-15T12:00:00Z; now with --live)",
    )
    add(
        "--days",
        type=arguments.positive_count,
        metavar="N",
        help="cut the flight into short ones, one at the beginning of each hour of N days (one flight)",
    )
    add(
        "--v0-share",
        type=arguments.share,
        default=0.0,
        metavar="SHARE",
        help="of the drones: speak the text line v0 (0)",
    )
    add(
        "--violation-share",
        type=arguments.share,
        default=0.1,
        metavar="SHARE",
        help="of the messages: violations (0.1)",
    )
    add(
        "--unqualified-share",
        type=arguments.share,
        default=0.01,
        metavar="SHARE",
        help="of the violations: code 0 (0.01)",
    )
    add(
        "--image-share",
        type=arguments.share,
        default=1.0,
        metavar="SHARE",
        help="of the violations: have an image where the images go (1)",
    )


def _add_mishaps(mishaps: argparse._ArgumentGroup) -> None:
    add = mishaps.add_argument
    add("--duplicates", type=arguments.share, default=0.0, metavar="SHARE", help="of the messages: published twice (0)")
    add(
        "--duplicates-within",
        type=arguments.hour,
        default=DUPLICATE_WITHIN_S,
        metavar="SECONDS",
        help=f"the second time is up to so much later, at most an hour ({DUPLICATE_WITHIN_S:g})",
    )
    add(
        "--disorder",
        type=arguments.seconds,
        default=0.0,
        metavar="SECONDS",
        help="publish up to so much later, by chance (0)",
    )
    add("--late-share", type=arguments.share, default=0.0, metavar="SHARE", help="of the messages: published late (0)")
    add("--late", type=arguments.seconds, default=0.0, metavar="SECONDS", help="how late these are (0)")
    add("--corrupt", type=arguments.share, default=0.0, metavar="SHARE", help="of the messages: spoiled (0)")


def _run(options: argparse.Namespace) -> int:
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
    )
    mishaps = Mishaps(
        duplicates=options.duplicates,
        duplicates_within_s=options.duplicates_within,
        disorder_s=options.disorder,
        late_share=options.late_share,
        late_s=options.late,
        corrupt=options.corrupt,
    )
    outcome = write_drones(
        flight,
        mishaps,
        output=options.output,
        images=options.images,
        image_bytes=options.image_bytes,
        truth=options.truth,
        live=options.live,
        commands=options.commands,
        confirmations=options.confirmations,
        quiet=options.quiet,
    )
    if not options.quiet:
        acknowledged = "" if isinstance(options.output, Path) else ", all acknowledged"
        took = f"in {outcome.seconds:.1f} s, {outcome.rate:,.0f} a second"
        print(f"simulator: {outcome.messages:,} messages {took}{acknowledged}", file=sys.stderr)
    asked = flight.drones * flight.rate * (1 + mishaps.duplicates)
    if outcome.behind_s > _BEHIND_S and outcome.rate < asked:
        print(
            f"simulator: it did not keep up: {asked:,.0f} messages a second were asked for, {outcome.rate:,.0f} "
            f"reached, the last one {outcome.behind_s:.1f} s late",
            file=sys.stderr,
        )
    return EXIT_INTERRUPTED if outcome.interrupted else 0


def _check(options: argparse.Namespace) -> None:
    """Refuse what does not go together."""
    if bool(options.late_share) != bool(options.late):
        options.refuse("--late-share and --late go together")
    if options.image_bytes and not options.images:
        options.refuse("--image-bytes is for --images")
    if options.live and isinstance(options.output, Path):
        options.refuse("--live is for topics: a file is written as fast as it can be")
    if options.days and options.live:
        options.refuse("--days is not for --live: a live fleet flies by the clock of this machine")
    if options.days and options.seconds > options.days * _DAY_S:
        options.refuse("--seconds is longer than --days")
    if options.commands and not options.live:
        options.refuse("--commands is for --live: a fleet that is not in the air obeys nobody")
    if options.confirmations and not options.commands:
        options.refuse("--confirmations is for --commands")
    places = [
        place
        for place in (options.output, options.images, options.truth, options.commands, options.confirmations)
        if place
    ]
    if any(place in places[:at] for at, place in enumerate(places)):
        options.refuse("two of --output, --images, --truth, --commands and --confirmations are the same place")
