"""What every command line has: the form of its help, the log's flags, and the types of arguments.

Imports nothing heavy: a command's ``--help`` is printed before Beam or pyarrow are imported. A type takes the text and
gives the value, or raises ArgumentTypeError, whose message says what to write.
"""

import argparse
import re
import sys
import textwrap
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

from terminal import logs
from terminal.printing import printable

T = TypeVar("T")
AnyParser = TypeVar("AnyParser", bound=argparse.ArgumentParser)

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SIZES: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
MOST_SECONDS: Final = 86_399_999_999_999.0
"""What a timedelta holds."""
LAKE: Final = "DIR_OR_S3_URL"
"""The metavar of ``--lake``."""
BEAM_AND_S3: Final = """\
Beam's own flags may follow (--help-beam of prestacop run lists them). S3 keys and the endpoint come from the AWS
credential chain and AWS_ENDPOINT_URL."""
"""For the help of commands that run a graph over a lake."""


class _LogFlag(argparse.Action):
    """Chooses the log's level or format as soon as it is read."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
    ) -> None:
        logs.set_up(**{self.dest: values})


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
"""The sub-commands of a parser."""

USAGE: Final = 2
"""The exit code of a usage error."""


class Parser(argparse.ArgumentParser):
    """A parser whose usage errors are records of the log with ``--log-format json``, wherever that flag is given."""

    check: Callable[[argparse.Namespace], str | None] | None = None
    """Gives what is wrong with the arguments together; it is called after each has been parsed."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does it; a usage error exits with code 2."""
        words = sys.argv[1:] if args is None else list(args)
        with suppress(argparse.ArgumentError):  # argparse reports it below
            _LOG_FORMAT.parse_known_args(words)
        arguments, rest = super().parse_known_args(words, namespace)
        if self.check and (problem := self.check(arguments)):
            self.error(problem)
        return arguments, rest

    def error(self, message: str) -> NoReturn:
        """Report a usage error in one line, as every error is, and exit with code 2."""
        logs.set_up()
        logs.COMMAND.error("%s (%s --help lists the flags)", printable(message), self.prog, extra={"exit_code": USAGE})
        self.exit(USAGE)


def command_parser(prog: str, description: str, epilog: str) -> Parser:
    """The parser of a command without sub-commands, which has the log's flags."""
    return add_log_flags(_parser(prog, description, epilog))


def group_parser(prog: str, description: str, epilog: str) -> Parser:
    """The parser of a command with sub-commands, each of which gets the log's flags."""
    return _parser(prog, description, f"{epilog.rstrip()}\n\nEach of these also has --log-level and --log-format.")


def add_command(commands: Commands, name: str, summary: str, about: str, epilog: str) -> Parser:
    """Add a sub-command, which has the log's flags; gives its parser."""
    return add_log_flags(commands.add_parser(name, help=summary, **_form(about, epilog)))


def _parser(prog: str, description: str, epilog: str) -> Parser:
    return Parser(prog=prog, **_form(description, epilog))


def _form(description: str, epilog: str) -> dict[str, Any]:
    return {"description": description, "epilog": epilog, "formatter_class": HelpFormatter, "allow_abbrev": False}


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Fills paragraphs to the width of the terminal; keeps the lines of a paragraph with indented ones, as examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Called by argparse for descriptions and epilogs.

        >>> print(HelpFormatter("")._fill_text("example:\\n  prestacop doctor\\n\\nexit codes:\\n0 done", 40, ""))
        example:
          prestacop doctor
        <BLANKLINE>
        exit codes: 0 done
        """
        paragraphs = text.strip("\n").split("\n\n")
        filled = [
            part if "\n " in part else textwrap.fill(part, width, break_on_hyphens=False, break_long_words=False)
            for part in paragraphs
        ]
        return textwrap.indent("\n\n".join(filled), indent)


def add_log_flags(parser: AnyParser) -> AnyParser:
    """Add ``--log-level`` and ``--log-format``; gives the parser."""
    parser.add_argument(
        "--log-level",
        dest="level",
        action=_LogFlag,
        choices=logs.LEVELS,
        default=argparse.SUPPRESS,
        metavar="LEVEL",
        help="what is logged on stderr: error, warning (default), info or debug; the last two include the logs and "
        "tracebacks of Beam",
    )
    _add_log_format(parser)
    return parser


def _add_log_format(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--log-format",
        dest="form",
        action=_LogFlag,
        choices=logs.FORMATS,
        default=argparse.SUPPRESS,
        metavar="FORMAT",
        help="text (default) or json: one object per line, no progress bar",
    )


_LOG_FORMAT: Final = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
_add_log_format(_LOG_FORMAT)


def add_lake(parser: argparse._ActionsContainer) -> None:
    """Add ``--lake``, which has to be given."""
    parser.add_argument("--lake", required=True, metavar=LAKE, help="the lake: a directory or s3://BUCKET/PREFIX")


def add_quiet(parser: argparse._ActionsContainer) -> None:
    """Add ``--quiet``."""
    parser.add_argument("--quiet", action="store_true", help="show no progress bar")


def readable(read: Callable[[str], T]) -> Callable[[str], T]:
    """The same type, of whose ValueError argparse prints the message."""

    def checked(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return checked


def imported(place: str) -> Callable[[str], Any]:
    """The type ``module:function``, whose module is imported once a text is to be read; ValueError as above."""
    module, _, function = place.partition(":")

    def read(text: str) -> Any:
        return getattr(import_module(module), function)(text)

    return readable(read)


def duration(text: str) -> int:
    """``30s``, ``5m``, ``1h``, ``1d`` in seconds."""
    found = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration: write 30s, 5m, 1h, 1d")
    return int(found[1]) * _UNITS[found[2]]


def bytes_a_second(text: str) -> float:
    """``500k``, ``2M``, ``1G``."""
    found = re.fullmatch(r"(\d{1,9})([kMG]?)", text)
    if not found or not int(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate: write 500k, 2M, 1G, bytes a second")
    return float(int(found[1]) * _SIZES[found[2]])


def whole(least: int = 0, most: int | None = None) -> Callable[[str], int]:
    """A whole number in a range."""

    def read(text: str) -> int:
        # No more digits than the range has: Python refuses thousands of them with words of its own.
        if not re.fullmatch(r"-?\d{1,18}", text) or int(text) < least or (most is not None and int(text) > most):
            upto = f"from {least}" if most is None else f"from {least} to {most}"
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number {upto}")
        return int(text)

    return read


def between(least: float, most: float) -> Callable[[str], float]:
    """A number in a range."""

    def read(text: str) -> float:
        value = _number(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not between {least:g} and {most:g}")
        return value

    return read


def above_zero(text: str) -> float:
    """A number above 0."""
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return value


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from error


share = between(0, 1)
"""A share as a number, such as 0.05."""
port = whole(1, 2**16 - 1)
"""A TCP port."""


def flags_of(parser: argparse.ArgumentParser) -> dict[tuple[str, ...], list[str]]:
    """The flags of a parser and its sub-commands, by the words of the sub-command: for completion."""
    found: dict[tuple[str, ...], list[str]] = {(): []}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, child in action.choices.items():
                found |= {(word, *words): flags for words, flags in flags_of(child).items()}
        elif action.help != argparse.SUPPRESS:
            found[()] += [flag for flag in action.option_strings if flag.startswith("--")]
    return found


def printing(text: Callable[[], str]) -> type[argparse.Action]:
    """An action that prints the text and ends the command, as ``--help`` does."""

    class Print(argparse.Action):
        def __call__(
            self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option_string: Any = None
        ) -> None:
            print(text())
            parser.exit()

    return Print
