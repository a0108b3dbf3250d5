"""``prestacop``: finds the sub-command, imports it alone, and runs it."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from prestacop import __version__
from prestacop.commands import GROUPS, SUBCOMMANDS
from prestacop.parsers import parse
from terminal.process import run_as_process

USAGE_LINE = "usage: prestacop COMMAND [FLAGS] | COMMAND --help | --version | completion bash"
HELP = ("-h", "--help")


def run() -> NoReturn:
    """The process of the command."""
    run_as_process(main)


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
        _report_unknown(name, rest)
    # exit_with is imported here: --help and --version need nothing of the project.
    from terminal.exits import exit_with  # noqa: PLC0415

    exit_with(lambda: _run(name, rest))


def _report_unknown(name: str, rest: list[str]) -> NoReturn:
    # Imported here for the same reason.
    from terminal.arguments import USAGE, command_parser  # noqa: PLC0415
    from terminal.logs import COMMAND, set_up  # noqa: PLC0415
    from terminal.settings import did_you_mean  # noqa: PLC0415

    command_parser("prestacop", "", "").parse_known_args([w for w in rest if w not in HELP])  # the log's flags
    set_up()
    text = f"prestacop has no command {name!r}{did_you_mean(name, SUBCOMMANDS)} (prestacop --help lists them)"
    COMMAND.error("%s", text, extra={"exit_code": USAGE})
    sys.exit(USAGE)


def _run(name: str, rest: list[str]) -> int | None:
    if name in ("completion", "complete-flags"):
        completion = import_module("prestacop.completion")
        code: int | None = completion.main(rest) if name == "completion" else completion.complete(rest)
        return code
    # --help and usage errors end the command here: its own imports take a second.
    parser = parse(name, rest)
    if name != "config":  # which checks those of the command that it is about
        import_module("prestacop.config").check_settings(parser, [name], rest)
    from pipelines.cli.beam_imports import quick_imports  # noqa: PLC0415

    with quick_imports():
        command = import_module(SUBCOMMANDS[name].module)
    code = command.main(rest)
    return code


def usage() -> str:
    """What ``prestacop --help`` prints: it fits a terminal of 30 lines with 80 columns, and the next prompt."""
    width = max(map(len, SUBCOMMANDS))
    lines = [
        f"{title if name == next(iter(group)) else '':8}  {name:{width}}  {command.summary}"
        for title, group in GROUPS.items()
        for name, command in group.items()
    ]
    return "\n".join([USAGE_LINE, *lines])
