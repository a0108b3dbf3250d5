"""The parsers of the sub-commands, each imported when it is asked for."""

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from prestacop.commands import SUBCOMMANDS

if TYPE_CHECKING:
    from terminal.arguments import Parser


def parser_of(name: str) -> "Parser":
    """The parser of a sub-command."""
    module, _, function = SUBCOMMANDS[name].parser.partition(":")
    made: Parser = getattr(import_module(module), function)()
    return made


def parse(name: str, words: Sequence[str]) -> "Parser":
    """Parse the words of a sub-command; exits with code 2 where they are wrong. Gives the parser."""
    parser = parser_of(name)
    (parser.parse_known_args if SUBCOMMANDS[name].takes_beam_flags else parser.parse_args)(words)
    return parser
