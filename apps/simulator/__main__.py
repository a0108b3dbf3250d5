"""``python -m apps.simulator``: the command line."""

import argparse
import errno
import sys
from collections.abc import Sequence
from typing import Final

from schemas.errors import PrestaCopError
from schemas.exits import exit_with

from .drones_options import add_drones
from .history_options import add_history
from .interrupt import EXIT_INTERRUPTED

EXIT_FILES: Final = 3
"""The output cannot be written there: no such folder, no permission."""
EXIT_DISK_FULL: Final = 5

_EPILOG: Final = """\
exit codes: 0 written; 2 wrong arguments; 3 the output cannot be written there, or there is no such topic; 4 the service
does not answer; 5 the disk is full; 130 interrupted.
Whatever the code, no half file stands under the name of an output.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except KeyboardInterrupt:
        return _fail("interrupted, no file was written", EXIT_INTERRUPTED)
    except PrestaCopError as error:
        return _fail(str(error), error.exit_code)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _fail(f"the disk is full: {error}", EXIT_DISK_FULL)
        return _fail(f"cannot write the output: {error}", EXIT_FILES)
    return code


def _fail(message: str, code: int) -> int:
    print(f"simulator: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m apps.simulator",
        description="Make input of any size together with the known truth.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_history(commands)
    add_drones(commands)
    return parser


if __name__ == "__main__":
    exit_with(main)
