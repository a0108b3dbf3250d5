"""``prestacop``: finds the sub-command, imports it alone, and runs it."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from prestacop import __version__
from prestacop.commands import GROUPS, SUBCOMMANDS

USAGE = 2
EPILOG = """\
`prestacop COMMAND --help` prints its flags and examples; `prestacop --version`
the version; `prestacop completion bash|zsh` a completion script for the shell.
Exit codes: 0 done, 1 the rows do not add up, 2 wrong usage;
docs/exit-codes.md has them all."""
HELP = ("-h", "--help")


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """The command."""
    name, *rest = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if name in (*HELP, "help"):
        print(usage())
        sys.exit()
    if name == "--version":
        print(f"prestacop {__version__}")
        sys.exit()
    if name not in SUBCOMMANDS and name not in ("completion", "complete-flags"):
        near = difflib.get_close_matches(name, SUBCOMMANDS, n=1)
        meant = f"; did you mean {near[0]}?" if near else ""
        print(f"error: prestacop has no command {name!r}{meant} (prestacop --help lists them)", file=sys.stderr)
        sys.exit(USAGE)
    # exit_with is imported here: --help and --version need nothing of the project.
    from terminal.exits import exit_with  # noqa: PLC0415

    exit_with(lambda: _run(name, rest))


def _run(name: str, rest: list[str]) -> int | None:
    if name in ("completion", "complete-flags"):
        completion = import_module("prestacop.completion")
        code: int | None = completion.main(rest) if name == "completion" else completion.complete(rest)
        return code
    if any(word in HELP for word in rest):
        parser_of(name).parse_args(rest)  # prints the help and exits: the command's own imports take a second
    code = import_module(SUBCOMMANDS[name].module).main(rest)
    return code


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of a sub-command."""
    module, _, function = SUBCOMMANDS[name].parser.partition(":")
    made: argparse.ArgumentParser = getattr(import_module(module), function)()
    return made


def usage() -> str:
    """What ``prestacop --help`` prints.

    >>> max(map(len, usage().splitlines())) <= 80
    True
    """
    width = max(map(len, SUBCOMMANDS))
    groups = [
        "\n".join([f"{title}:", *(f"  {name:{width}}  {command.summary}" for name, command in group.items())])
        for title, group in GROUPS.items()
    ]
    return "\n\n".join(["usage: prestacop COMMAND ...", *groups, EPILOG])
