"""What every command line has: the form of its help, the log's flags, and the types of arguments.

Imports nothing heavy: a command's ``--help`` is printed before Beam or pyarrow are imported. A type takes the text and
gives the value, or raises ArgumentTypeError, whose message says what to write.
"""

import argparse
import os
import re
import sys
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, time
from fractions import Fraction
from importlib import import_module
from typing import Any, Final, NoReturn, TypeAlias, TypeVar

from schemas.files.urls import PLACE
from terminal import logs, settings
from terminal.printing import printable

T = TypeVar("T")
AnyParser = TypeVar("AnyParser", bound=argparse.ArgumentParser)

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SIZES: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
MOST_SECONDS: Final = 86_399_999_999_999.0
"""What a timedelta holds."""
LAKE: Final = "DIR_OR_URL"
"""The metavar of ``--lake``."""
BEAM_AND_BUCKETS: Final = """\
Beam's own flags may follow (--help-beam of prestacop run lists them). S3 keys and the endpoint come from the AWS
credential chain and AWS_ENDPOINT_URL, those of gs:// from Application Default Credentials."""
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


CONFIG: Final = "--config"
_HELP: Final = frozenset({"-h", "--help"})


class Parser(argparse.ArgumentParser):
    """A parser that takes from the environment and a file what the command line does not give (docs/configuration.md).

    With ``--log-format json`` a usage error is a record of the log, wherever that flag is given.
    """

    check: Callable[[argparse.Namespace], str | None] | None = None
    """Gives what is wrong with the arguments together; it is called after each has been parsed."""
    taken: Mapping[str, settings.Setting] = {}
    """The settings that the last command line was completed with, by flag."""

    @property
    def command(self) -> settings.Scope:
        """The words of the command, such as flink submit."""
        return tuple(self.prog.split()[1:])

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does it; a usage error exits with code 2."""
        words = sys.argv[1:] if args is None else list(args)
        config_file(words)
        if CONFIG in self._option_string_actions and not _HELP.intersection(words):
            words = [*self.words_of_settings(words), *words]
        arguments, rest = super().parse_known_args(words, namespace)
        if self.check and (problem := self.check(arguments)):
            self.error(problem)
        return arguments, rest

    def words_of_settings(self, words: Sequence[str]) -> list[str]:
        """The words of the flags that the environment and the file set and this command line does not."""
        self.taken = {}
        given = set(values_given(self, words))
        given |= self._excluded_by(given)
        added = self._words_of(settings.of_environment(os.environ), given)
        path = config_file([*added, *words])
        return [*added, *self._words_of(self._tables_of_file(path), given)] if path else added

    def _tables_of_file(self, path: str) -> settings.Tables:
        try:
            tables = settings.of_file(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            self.error(f"{CONFIG} {path}: {reason}; docs/configuration.md shows such a file")
        own = {scope: table for scope, table in tables.items() if scope[: len(self.command)] == self.command}
        for problem in settings.unknown(own, {self.command: settable(self)}) if self.command else ():
            self.error(problem)
        return tables

    def _words_of(self, tables: settings.Tables, given: set[str]) -> list[str]:
        """What these tables set; the names of what lower ones cannot set any more are added to ``given``."""
        flags, words = settable(self), list[str]()
        for table in settings.layers(tables, self.command):
            found = {key: action for key, action in flags.items() if key in table and action.dest not in given}
            for key, action in found.items():
                takes_many = isinstance(action, argparse._AppendAction)
                added = self._take(f"--{key}", table[key], action.nargs is None, takes_many)
                given |= {action.dest, *(self._excluded_by([action.dest]) if added else ())}
                words += added
        for table in settings.layers(tables, self.command, settings.BEAM):
            for key, setting in table.items():
                if f"--{key}" in self._option_string_actions:
                    self.error(f"{setting.origin}: --{key} is a flag of {self.prog}, not one of Beam")
                if key not in given:
                    words += self._take(f"--{key}", setting, *settings.kind_for_beam(setting.value))
                    given.add(key)
        return words

    def _take(self, flag: str, setting: settings.Setting, takes_value: bool, takes_many: bool) -> list[str]:
        self.taken = {**self.taken, flag: setting}
        try:
            return settings.words(flag, setting.value, takes_value, takes_many)
        except ValueError as error:
            config_file([f"{flag}={setting.value}" for flag, setting in self.taken.items()])  # the log's format
            self.error(str(error))

    def _excluded_by(self, names: Collection[str]) -> set[str]:
        """What may not be given together with one of these, by its name in the namespace."""
        groups = [{action.dest for action in group._group_actions} for group in self._mutually_exclusive_groups]
        return set().union(*(group for group in groups if group.intersection(names)))

    def error(self, message: str) -> NoReturn:
        """Report a usage error in one line, as every error is, and exit with code 2.

        Of each flag that the message names it says where it is set, if that is not the command line.
        """
        logs.set_up()
        origins = [
            f"{flag} is set by {setting.origin}"
            for flag, setting in self.taken.items()
            if re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", message)
        ]
        text = printable("; ".join([message, *origins]))
        logs.COMMAND.error("%s (%s --help lists the flags)", text, self.prog, extra={"exit_code": USAGE})
        self.exit(USAGE)


def command_parser(prog: str, description: str, epilog: str) -> Parser:
    """The parser of a command without sub-commands, which has the flags of all."""
    return add_log_flags(Parser(prog=prog, **_form(description, epilog)))


def group_parser(prog: str, description: str, epilog: str) -> Parser:
    """The parser of a command with sub-commands, each of which gets the flags of all."""
    epilog = f"{epilog.rstrip()}\n\nEach of these also has --log-level, --log-format and --config."
    return Parser(prog=prog, **_form(description, epilog))


def add_command(commands: Commands, name: str, summary: str, about: str, epilog: str) -> Parser:
    """Add a sub-command, which has the flags of all; gives its parser."""
    return add_log_flags(commands.add_parser(name, help=summary, **_form(about, epilog)))


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
    """Add ``--log-level``, ``--log-format`` and ``--config``, which every command has; gives the parser."""
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
    _add_first(parser)
    return parser


def _add_first(group: argparse._ActionsContainer) -> None:
    group.add_argument(
        "--log-format",
        dest="form",
        action=_LogFlag,
        choices=logs.FORMATS,
        default=argparse.SUPPRESS,
        metavar="FORMAT",
        help="text (default) or json: one object per line, no progress bar",
    )
    group.add_argument(
        CONFIG,
        default=argparse.SUPPRESS,
        metavar="FILE",
        help="a TOML file with values of flags; the environment sets them too, as PRESTACOP_LAKE sets --lake: "
        "docs/configuration.md",
    )


_FIRST: Final = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
_add_first(_FIRST)


def config_file(words: Sequence[str]) -> str | None:
    """The file that a command line or else the environment names. Chooses the log's format, too, for what is wrong with
    the rest of the line."""
    with suppress(argparse.ArgumentError):  # the command's own parser reports it
        return getattr(_FIRST.parse_known_args(words)[0], "config", os.environ.get(settings.FILE)) or None
    return None


def add_lake(parser: argparse._ActionsContainer) -> None:
    """Add ``--lake``, which has to be given."""
    parser.add_argument("--lake", required=True, metavar=LAKE, help=f"the lake: {PLACE}")


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


def day(text: str) -> datetime:
    """``2026-01-31``: when this day begins in UTC."""
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError:
        raise argparse.ArgumentTypeError("write a day as YYYY-MM-DD") from None


def bytes_a_second(text: str) -> float:
    """``500k``, ``2M``, ``1G``."""
    found = re.fullmatch(r"(\d{1,9})([kMG]?)", text)
    if not found or not int(found[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a rate: write 500k, 2M, 1G, bytes a second")
    return float(int(found[1]) * _SIZES[found[2]])


def percentage(text: str) -> Fraction:
    """``2%``, ``0.5%`` as a share, 1 at most."""
    found = re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?)%", text, re.ASCII)
    if not found or Fraction(found[1]) > 100:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share: write 10%, 0.5%")
    return Fraction(found[1]) / 100


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


def leaves(parser: Parser) -> dict[settings.Scope, Parser]:
    """A parser and those of its sub-commands, by the words of the sub-command."""
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    children = {word: child for action in nested for word, child in action.choices.items()}
    found = {(word, *words): leaf for word, child in children.items() for words, leaf in leaves(child).items()}
    return {(): parser, **found}


def flags_of(parser: Parser) -> dict[settings.Scope, list[str]]:
    """The flags of a parser and its sub-commands, by the words of the sub-command: for completion."""
    return {
        words: [
            flag
            for action in leaf._actions
            if action.help != argparse.SUPPRESS
            for flag in action.option_strings
            if flag.startswith("--")
        ]
        for words, leaf in leaves(parser).items()
    }


def settable(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The flags that the environment and a file may set, by their names: not those that print and stop."""
    return {
        flag.removeprefix("--"): action
        for action in parser._actions
        if action.nargs is None or isinstance(action, argparse._StoreConstAction)
        if action.help != argparse.SUPPRESS
        for flag in action.option_strings
        if flag.startswith("--") and flag != CONFIG
    }


def values_given(parser: argparse.ArgumentParser, words: Sequence[str]) -> dict[str, list[str]]:
    """What a command line gives, by the name in the namespace; flags that are passed on to Beam by their own name."""
    found: dict[str, list[str]] = {}
    until = words.index("--") if "--" in words else len(words)
    for at, word in enumerate(words[:until]):
        flag, is_joined, value = word.partition("=")
        action = parser._option_string_actions.get(flag)
        if not is_joined:
            following = "".join(words[at + 1 : at + 2])
            is_switch = action.nargs == 0 if action else following.startswith("--") or not following
            value = "true" if is_switch else following
        if action or flag.startswith("--"):
            found.setdefault(action.dest if action else flag.removeprefix("--"), []).append(value)
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
