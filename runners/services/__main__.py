"""``make services-up``, ``services-down``, ``services-status``."""

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from runners.services.programs import HOME
from runners.services.services import DATA, NAMES, PORTS, Services, State
from schemas.errors import PrestaCopError

INTERRUPTED = 130
_MODULE = "python -m runners.services"


def main(argv: Sequence[str] | None = None) -> int:
    """The command; gives its exit code."""
    arguments = _parser().parse_args(argv)
    services = Services(arguments.home, arguments.data, {name: getattr(arguments, f"{name}_port") for name in NAMES})
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        code: int = arguments.do(services, arguments)
        return code
    except PrestaCopError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"\nstopped. What runs is told by {_MODULE} status", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    shared.add_argument("names", nargs="*", type=_name, metavar="SERVICE", help="kafka, pubsub, s3 (all)")
    shared.add_argument("--home", type=Path, default=HOME, help="where programs are installed (.services)")
    shared.add_argument("--data", type=Path, default=DATA, help="where data, logs and pids are (.services/data)")
    for name, port in PORTS.items():
        where = f"where {name} listens ({port})"
        shared.add_argument(f"--{name}-port", type=_port, default=port, metavar="N", help=where)
    parser = argparse.ArgumentParser(
        prog=_MODULE,
        description="Kafka, Pub/Sub and S3 servers on this machine, from package registries, without Docker.",
        epilog=f"""examples:
  {_MODULE} up                      all three; Prism is built as well
  {_MODULE} up kafka --kafka-port 9192
  {_MODULE} down --clean            end them and remove what they have kept
  eval "$({_MODULE} status --env)"  so that commands of this shell find them

Exit codes: 0 done, 1 a service does not run (status), 2 wrong usage, 4 a service cannot be had.""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(required=True, metavar="up | down | status | install")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, parents=[shared], help=text, description=text, allow_abbrev=False)

    up = action("up", "install what is not installed, start what does not run, wait until it answers")
    up.set_defaults(do=_up)
    down = action("down", "end what runs")
    down.add_argument("--clean", action="store_true", help="remove what they have kept, too")
    down.set_defaults(do=_down)
    status = action("status", "tell what runs")
    status.add_argument("--env", action="store_true", help="print lines for a shell instead")
    status.set_defaults(do=_status)
    action("install", "only install; Prism is built where no service is named").set_defaults(do=_install)
    return parser


def _up(services: Services, arguments: argparse.Namespace) -> int:
    for name in arguments.names or NAMES:
        for state in services.up(name):
            print(_line(state, "" if state.fresh else "  already running"), flush=True)
    if not arguments.names:
        print(f"prism   {services.prism()}")
    print("\n" + _exports(services, arguments))
    return 0


def _down(services: Services, arguments: argparse.Namespace) -> int:
    for state in services.down(*arguments.names, clean=arguments.clean):
        print(f"{state.name:8}{f'ended pid {state.pid}' if state.pid else 'was not running'}")
    return 0


def _status(services: Services, arguments: argparse.Namespace) -> int:
    states = services.status(*arguments.names)
    if arguments.env:
        print(_exports(services, arguments))
    else:
        print("\n".join(_line(state) if state.pid else f"{state.name:8}not running" for state in states))
    return 0 if all(state.pid for state in states) else 1


def _install(services: Services, arguments: argparse.Namespace) -> int:
    print("\n".join(map(str, services.install(*arguments.names))))
    return 0


def _line(state: State, note: str = "") -> str:
    return f"{state.name:8}{state.address:17}pid {state.pid:<8}log {state.log}{note}"


def _exports(services: Services, arguments: argparse.Namespace) -> str:
    variables = services.environment(*arguments.names)
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in variables.items())


def _name(text: str) -> str:
    if text not in NAMES:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(NAMES)}")
    return text


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port: 1 to 65535")
    return int(text)


def _interrupt(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
