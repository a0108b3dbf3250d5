"""``prestacop load``: parses the command line and loads each file."""

import argparse
import os
import re
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from messaging.retry import Patience
from messaging.urls import KAFKA, PUBSUB, kafka_url, pubsub_url
from metrics.flags import add_metrics, serving_metrics
from schemas.errors import InputUnusable, NotPermitted, PrestaCopError
from schemas.files.kinds import Packing
from schemas.files.urls import local_path, plain_path
from terminal.arguments import add_quiet, bytes_a_second, command_parser, duration, readable, whole
from terminal.exits import PIPE_CLOSED, report_interrupt, report_text

from .journal import folder
from .load import LoadOptions, load
from .progress import progress
from .status import status
from .target import Target, TargetChanged

if TYPE_CHECKING:
    from metrics.server import Pages

_FORMS: Final = "kafka://HOST:PORT/TOPIC?OPTION=VALUE, pubsub://PROJECT/TOPIC, s3://BUCKET/PREFIX or file:DIR"

_EPILOG: Final = """\
examples:
  prestacop load tickets-2015.csv --to kafka://broker:9092/tickets
  prestacop load archive/*.csv.gz --to s3://prestacop/history --max-rate 2M
  prestacop load tickets.csv --to file:/mnt/stick
  prestacop load --status

An interrupted load (Ctrl-C, a power cut) resumes where it stopped: run the same command again. To file: and s3: the
file is copied as it is and becomes visible when it is complete. To kafka: and pubsub: it is sent as messages, each with
the header, the file's fingerprint and the number of its first record. Read it with prestacop run --history.
More: docs/loader.md.

Passwords come from the environment (KAFKA_SASL_PASSWORD, AWS_PROFILE, GOOGLE_APPLICATION_CREDENTIALS).

exit codes: 0 loaded, 2 wrong usage, or the target or the journal was changed since the last run, 3 not a ticket file,
no such topic or bucket, 4 service unavailable, 5 disk full, 6 the file changed during the load, 7 no permission, 8
another process loads the same file, 130 stopped
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = parser().parse_args(argv)
    try:
        if arguments.status:
            return _status(arguments.journal)
        text, make = arguments.to
        options = LoadOptions(
            arguments.journal,
            text,
            lambda patience: make(arguments.batch_rows, patience),
            arguments.patience,
            arguments.max_rate,
            arguments.restart,
            arguments.quiet,
        )
        progress.begin(len(arguments.files))
        with serving_metrics(arguments, _pages):
            return max([_load(path, options) for path in arguments.files])
    except PrestaCopError as error:
        return _fail(error)
    except BrokenPipeError:  # the reader of our output, such as head, has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes at its end
        return PIPE_CLOSED
    except PermissionError as error:
        return _fail(NotPermitted(f"{error}; give this user the permission, or run as another user"))
    except OSError as error:  # write errors are translated where they occur
        return _fail(InputUnusable(f"reading failed: {error}. The progress is saved in the journal; check the disk"))
    except UnicodeEncodeError as error:
        return _fail(InputUnusable(f"{error.object!a}: a name must be UTF-8 text; rename it"))
    except KeyboardInterrupt:
        going_on = [argument for argument in argv if argument != "--restart"]
        again = shlex.join(["prestacop", "load", *going_on])
        return report_interrupt(f"The progress is saved; to resume run:\n  {again}")


def _pages() -> "Pages":
    from .metrics import pages  # noqa: PLC0415

    return pages(progress)


def _load(path: Path, options: LoadOptions) -> int:
    try:
        print(load(path, options), flush=True)
        progress.file_done()
    except TargetChanged as error:  # the other files can still be loaded
        return _fail(error)
    return 0


def _status(journals: Path) -> int:
    lines, odd = status(journals)
    for line in lines:
        print(line, flush=True)
    if not lines and not odd:
        print(f"nothing was loaded from this computer yet ({journals} has no journal)", flush=True)
    return max([_fail(error) for error in odd], default=0)


def _fail(error: PrestaCopError) -> int:
    return report_text(str(error).replace("\n", " "), error.exit_code)


Make = Callable[[int, Patience], Target]


def target(text: str) -> tuple[str, Make]:
    """A target's URL and its factory, which imports only the client it needs. Raises ArgumentTypeError."""
    if text.encode(errors="replace").decode() != text:
        raise argparse.ArgumentTypeError(f"{text!a}: a name must be UTF-8 text; rename it")
    if text.startswith(KAFKA):
        kafka = readable(kafka_url)(text)

        def to_kafka(rows: int, patience: Patience) -> Target:
            from .to_kafka import ToKafka  # noqa: PLC0415

            return ToKafka(kafka, rows, patience)

        return text, to_kafka
    if text.startswith(PUBSUB):
        pubsub = readable(pubsub_url)(text)

        def to_pubsub(rows: int, patience: Patience) -> Target:
            from .to_pubsub import ToPubSub  # noqa: PLC0415

            return ToPubSub(pubsub, rows, patience)

        return text, to_pubsub
    if re.fullmatch(r"s3://[^/]+(/[^/]+)*/?", text):

        def to_s3(rows: int, patience: Patience) -> Target:
            from .to_s3 import ToS3  # noqa: PLC0415

            return ToS3(text, patience)

        return text, to_s3
    place = local_path(plain_path(text))
    if text.startswith("file:") and place:

        def to_file(rows: int, patience: Patience) -> Target:
            from .to_file import ToFile  # noqa: PLC0415

            return ToFile(Path(place))

        return f"file:{Path(place).absolute()}", to_file
    raise argparse.ArgumentTypeError(f"{text!r} is not a target: write {_FORMS}")


def _check(arguments: argparse.Namespace) -> str | None:
    if arguments.status or (arguments.files and arguments.to):
        return None
    return "name the files and the target: FILE... --to URL"


def parser() -> argparse.ArgumentParser:
    """Of ``prestacop load``."""
    made = command_parser(
        "prestacop load",
        "Ship the city's ticket files from a weak computer to where prestacop run reads them. It reads a file once, "
        "needs little memory, and resumes after a power cut.",
        _EPILOG,
    )
    made.check = _check
    made.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help=f"a CSV file of tickets, plain or packed ({', '.join(Packing)})",
    )
    made.add_argument("--to", type=target, metavar="URL", help=f"the target: {_FORMS}")
    made.add_argument(
        "--batch-rows", type=whole(1, 999_999), default=500, metavar="N", help="rows per message (default: 500)"
    )
    made.add_argument(
        "--max-rate",
        type=bytes_a_second,
        metavar="RATE",
        help="send at most this many bytes per second: 500k, 2M (default: unlimited)",
    )
    made.add_argument(
        "--patience",
        type=duration,
        default=86_400,
        metavar="TIME",
        help="how long to retry while the target is unreachable (default: 1d)",
    )
    made.add_argument("--restart", action="store_true", help="ignore the saved progress and load from the beginning")
    made.add_argument(
        "--status", action="store_true", help="print the progress of each load from this computer, and stop"
    )
    made.add_argument(
        "--journal",
        type=Path,
        default=folder(),
        metavar="DIR",
        help="directory of the saved progress (default: %(default)s)",
    )
    add_quiet(made)
    add_metrics(made)
    return made
