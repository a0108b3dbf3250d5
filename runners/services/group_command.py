"""The actions ``up``, ``down``, ``status``, ``install`` for a group of services: the servers, a Flink, a Spark."""

import argparse
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.violations.options import add_arguments, check
from runners.services.programs import HOME
from runners.services.services import Group, Services, State
from schemas.errors import PrestaCopError, ServiceUnavailable
from terminal.arguments import Commands, Parser, add_log_flags, group_parser, leaves, port
from terminal.exits import report, report_interrupt


def _nothing(*_: object) -> None:
    """Do nothing."""


class GroupCommand(NamedTuple):
    """The command of one group of services."""

    prog: str
    group: Group
    description: str
    examples: str
    before_up: Callable[[], None] = _nothing
    """Called before anything is started."""
    print_details: Callable[[Services], None] = _nothing
    """Prints more after ``up`` and ``status``."""
    add_actions: Callable[[Commands, Parser], object] = _nothing
    """Adds actions to the first, with the flags of the second; each sets ``do``, as below."""


Submit = Callable[[list[str], Parser], None]


def run_command(command: GroupCommand, argv: Sequence[str], submit: Submit | None = None) -> int:
    """Run it; gives its exit code.

    Args:
        submit: is called with the flags after the word ``submit``, and the parser of these.
    """
    try:
        parser = parser_of(command)
        if submit and argv[:1] == ["submit"]:
            submit(list(argv[1:]), leaves(parser)["submit",])
        arguments = parser.parse_args(argv)
        ports = {kind.name: getattr(arguments, f"{kind.name}_port".replace("-", "_")) for kind in command.group.kinds}
        services = Services(arguments.home, arguments.data, ports, command.group)
        code: int = arguments.do(services, arguments)
        return code
    except PrestaCopError as error:
        return report(error)
    except KeyboardInterrupt:
        return report_interrupt(f"{command.prog} status shows what still runs")


def parser_of(command: GroupCommand) -> Parser:
    """Of the command and its actions."""
    group = command.group
    names = [kind.name for kind in group.kinds]

    def name(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(names)}")
        return text

    shared = add_log_flags(Parser(add_help=False, allow_abbrev=False))
    shared.add_argument("names", nargs="*", type=name, metavar="SERVICE", help=f"{', '.join(names)} (default: all)")
    shared.add_argument(
        "--home",
        type=Path,
        default=HOME,
        metavar="DIR",
        help="directory of the installed programs (default: .services)",
    )
    usual = f".services/{group.data.name}"
    shared.add_argument(
        "--data",
        type=Path,
        default=group.data,
        metavar="DIR",
        help=f"directory of data, logs and process ids (default: {usual})",
    )
    for kind in group.kinds:
        where = f"port of {kind.name} (default: {kind.usual_port})"
        shared.add_argument(f"--{kind.name}-port", type=port, default=kind.usual_port, metavar="N", help=where)
    parser = group_parser(
        command.prog,
        command.description,
        f"""examples:
{command.examples}
exit codes: 0 done, 2 wrong usage, 4 a service is not available, or does not run (status)""",
    )
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    def action(name: str, text: str) -> Parser:
        return actions.add_parser(name, parents=[shared], help=text, description=sentence(text), allow_abbrev=False)

    up = action("up", "install and start the services that do not run, and wait until they answer")
    up.set_defaults(do=lambda services, given: _up(command, services, given))
    down = action("down", "stop the services")
    down.add_argument("--clean", action="store_true", help="also delete their data")
    down.set_defaults(do=_down)
    status = action("status", "show which services run")
    status.add_argument(
        "--env", action="store_true", help="print the variables of their clients instead, as lines for a shell"
    )
    status.set_defaults(do=lambda services, given: _status(command, services, given))
    action("install", "only install the programs").set_defaults(do=_install)
    command.add_actions(actions, shared)
    return parser


def add_submit(actions: Commands, prog: str) -> Parser:
    """Add the action ``submit``: the flags of ``prestacop run``, and the cluster's folder."""
    text = "run the graph on this cluster, with the flags of prestacop run"
    submit = add_log_flags(actions.add_parser("submit", help=text, description=sentence(text), allow_abbrev=False))
    submit.check = check
    submit.add_argument("--data", type=Path, metavar="DIR", help=f"the --data that was given to {prog} up")
    add_arguments(submit)
    return submit


def sentence(summary: str) -> str:
    """The summary of an action, for the top of its own help."""
    return f"{summary[0].upper()}{summary[1:]}."


def _up(command: GroupCommand, services: Services, arguments: argparse.Namespace) -> int:
    command.before_up()
    for name in arguments.names or [kind.name for kind in command.group.kinds]:
        for state in services.up(name):
            print(_line(state, "" if state.is_new else "  already running"), flush=True)
    if not arguments.names:
        services.install()
    print("\n" + _exports(services, arguments))
    command.print_details(services)
    return 0


def _down(services: Services, arguments: argparse.Namespace) -> int:
    for state in services.down(*arguments.names, clean=arguments.clean):
        print(f"{state.name:15}{f'stopped pid {state.pid}' if state.pid else 'was not running'}")
    return 0


def _status(command: GroupCommand, services: Services, arguments: argparse.Namespace) -> int:
    states = services.status(*arguments.names)
    if arguments.env:
        print(_exports(services, arguments))
    else:
        print("\n".join(_line(state) if state.pid else f"{state.name:15}not running" for state in states))
        command.print_details(services)
    return 0 if all(state.pid for state in states) else ServiceUnavailable.exit_code


def _install(services: Services, arguments: argparse.Namespace) -> int:
    print("\n".join(map(str, services.install(*arguments.names))))
    return 0


def _line(state: State, note: str = "") -> str:
    return f"{state.name:15}{state.address:17}pid {state.pid:<8}log {state.log}{note}"


def _exports(services: Services, arguments: argparse.Namespace) -> str:
    variables = services.environment(*arguments.names)
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())
