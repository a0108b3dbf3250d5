"""``prestacop config``: prints the settings in force for a command, and where each comes from."""

import argparse
import logging
import os
import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from prestacop.commands import SUBCOMMANDS
from prestacop.parsers import parse, parser_of
from terminal import settings
from terminal.arguments import CONFIG, Parser, command_parser, config_file, leaves, settable, values_given
from terminal.logs import without_secrets
from terminal.printing import printable

_EPILOG: Final = """\
examples:
  prestacop config                                        what the environment sets, for all commands
  prestacop config --config prestacop.toml run            all flags of prestacop run
  prestacop config console --port 8301                    with this command line

What is secret is printed as ***. The command line is then checked as the command itself would, so it is a test of a
file. Precedence, the form of the file and the names of the variables: docs/configuration.md.

exit codes: 0 done, 2 the command would not start with these settings
"""
_DEFAULT: Final = "default"
_COMMAND_LINE: Final = "command line"
_LOG: Final = logging.getLogger(__name__)


class _Row(NamedTuple):
    """A flag in force."""

    flag: str
    value: str
    origin: str


def parser() -> Parser:
    """Of ``prestacop config``."""
    about = "Print the value of each flag of a command, and where it comes from."
    made = command_parser("prestacop config", about, _EPILOG)
    text = "the command, and flags of it (default: all commands, without the flags that nothing sets)"
    made.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND", help=text)
    return made


def main(argv: Sequence[str]) -> int:
    """The command."""
    usage = parser()
    given = usage.parse_args(argv)
    name, *rest = given.words or [""]
    if name not in ("", *SUBCOMMANDS):
        usage.error(f"prestacop has no command {name!r}{settings.did_you_mean(name, SUBCOMMANDS)}")
    words = [*rest, *([f"{CONFIG}={given.config}"] if "config" in given else [])]
    shown = False
    for leaf in _leaves([name] if name else SUBCOMMANDS).values():
        action = leaf.command[1:]
        if action == tuple(rest[: len(action)]) or not rest:
            rows = list(_rows(leaf, words[len(action) :] if rest else words))
            shown |= _print(leaf.prog, rows if name else [row for row in rows if row.origin != _DEFAULT])
    if not shown:
        print("no flag is set by the environment (PRESTACOP_...) or a file (--config): all have their defaults")
    check_settings(usage, [name] if name else SUBCOMMANDS, words)
    if name and ((name,) in _leaves([name]) or rest):
        parse(name, words)
    return 0


def check_settings(parser: Parser, names: Collection[str], words: Sequence[str]) -> None:
    """Exit with code 2 where the file sets what none of these commands knows, and warn of such variables.

    What is for other commands only, those check themselves.
    """
    path = config_file(words)
    for tables, report in (
        (settings.of_environment(os.environ), lambda text: _LOG.warning("%s", text)),
        (settings.of_file(path) if path else {}, parser.error),
    ):
        others = {scope for scope in tables if scope and scope[0] in SUBCOMMANDS and scope[0] not in names}
        here = {scope: table for scope, table in tables.items() if scope not in others}
        if any(settings.unknown(here, _flags(names))):  # the other commands' parsers take a moment
            for problem in settings.unknown(here, _flags(SUBCOMMANDS)):
                report(problem)


def _flags(names: Collection[str]) -> dict[settings.Scope, Collection[str]]:
    return {command: settable(leaf) for command, leaf in _leaves(names).items()}


def _leaves(names: Collection[str]) -> dict[settings.Scope, Parser]:
    """The parsers of these commands and their actions; not of a command that is nothing without an action."""
    found = [leaf for name in names for leaf in leaves(parser_of(name)).values()]
    return {leaf.command: leaf for leaf in found if settable(leaf)}


def _rows(leaf: Parser, words: Sequence[str]) -> Iterator[_Row]:
    flags, given = settable(leaf), values_given(leaf, words)
    leaf.words_of_settings(words)
    for key, action in flags.items():
        taken = leaf.taken.get(f"--{key}")
        if action.dest in given:
            yield _Row(f"--{key}", _shown(given[action.dest]), _COMMAND_LINE)
        elif taken:
            yield _Row(f"--{key}", _shown(taken.value), taken.origin)
        else:
            yield _Row(f"--{key}", _shown(_default(leaf, action)), _DEFAULT)
    of_leaf = {action.dest for action in leaf._actions}
    beam = {key: _Row(f"--{key}", _shown(values), _COMMAND_LINE) for key, values in given.items() if key not in of_leaf}
    for flag, setting in leaf.taken.items():
        if flag.removeprefix("--") not in flags:
            beam[flag] = _Row(flag, _shown(setting.value), setting.origin)
    yield from beam.values()


def _default(leaf: Parser, action: argparse.Action) -> str:
    """As the help page writes it, if that is the value."""
    if action.nargs == 0:
        return "false"
    value = None if action.default in (argparse.SUPPRESS, []) else action.default
    written = re.search(r"\(default: ([^()]*)\)|(\w+) \(default\)", leaf._get_formatter()._expand_help(action))
    text = (written[1] or written[2]) if written else ""
    with suppress(argparse.ArgumentError):
        if text and (value is None or leaf._get_value(action, text) == value):
            return text
    if value is None:
        return "(required)" if action.required else "(not set)"
    return str(value)


def _shown(value: object) -> str:
    text = " ".join(map(_shown, value)) if isinstance(value, list) else str(value)
    text = text.lower() if isinstance(value, bool) else text
    # The path of a web hook is often its secret.
    return printable(without_secrets(re.sub(r"(https?://)(?:[^\s/]*@)?([^\s/?]+)\S*", r"\1\2/***", text)))


def _print(prog: str, rows: Sequence[_Row]) -> bool:
    """Print a table, and whether it has rows."""
    if rows:
        flags, values = (max(len(row[column]) for row in rows) for column in (0, 1))
        print(prog)
        for row in rows:
            print(f"  {row.flag:{flags}}  {row.value:{min(values, 60)}}  {row.origin}")
    return bool(rows)
