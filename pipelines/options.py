"""Every flag of the graph, once."""

import argparse
import re

from transforms.stats import HOUR

_UNITS = {"s": 1, "m": 60, "h": HOUR, "d": 24 * HOUR}


def recording(url: str) -> str:
    """The path of a ``file:PATH`` URL. Raises ArgumentTypeError for another scheme."""
    if not url.startswith("file:") or url == "file:":
        raise argparse.ArgumentTypeError(f"{url!r}: write file:PATH, a recording with one payload a line")
    return url.removeprefix("file://").removeprefix("file:")


def duration(text: str) -> int:
    """``30s``, ``5m``, ``1h``, ``1d`` in seconds. Raises ArgumentTypeError."""
    found = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write 30s, 5m, 1h, 1d")
    return int(found[1]) * _UNITS[found[2]]


def window_seconds(text: str) -> int:
    """``90s``, ``5m``, ``1h``, ``1d`` in seconds; it must divide an hour or be whole hours, up to 31 days.

    Raises ArgumentTypeError.
    """
    seconds = duration(text)
    if not seconds or (HOUR % seconds and seconds % HOUR) or seconds > 31 * 24 * HOUR:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no window: write 10s, 1m, 15m, 1h, 6h, 1d; it divides an hour or is whole hours"
        )
    return seconds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of the graph."""
    group = parser.add_argument_group("the graph")
    group.add_argument(
        "--history",
        metavar="GLOB",
        help="ticket CSV files of the city, plain or gzip: a path, a quoted pattern, or s3://BUCKET/KEY",
    )
    group.add_argument(
        "--messages",
        metavar="URL",
        type=recording,
        help="drone messages: file:PATH reads a recording, one payload a line",
    )
    group.add_argument(
        "--images",
        metavar="URL",
        type=recording,
        help="pictures that drones took: file:PATH reads a recording, one payload a line",
    )
    group.add_argument(
        "--output", metavar="DIR_OR_S3_URL", help="the lake: a directory or s3://BUCKET/PREFIX, made if need be"
    )
    group.add_argument(
        "--window",
        type=window_seconds,
        default=HOUR,
        metavar="SIZE",
        help="size of the windows of the exact statistics: 1m, 15m, 1h (default), 1d",
    )
    group.add_argument(
        "--live",
        type=recording,
        metavar="URL",
        help="live statistics of the messages, as Beam's windows fire: file:PATH gets a line of JSON a pane",
    )
    group.add_argument(
        "--live-window", type=window_seconds, default=60, metavar="SIZE", help="size of the live windows (1m)"
    )
    group.add_argument(
        "--allowed-lateness",
        type=duration,
        default=300,
        metavar="TIME",
        help="how long after a live window's end its late rows still fire (5m); later ones are told as too_late",
    )
    group.add_argument(
        "--dry-run", action="store_true", help="say which units would be read and what would be written, and stop"
    )
    group.add_argument("--quiet", action="store_true", help="no progress bar")
