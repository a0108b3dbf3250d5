"""``prestacop simulate``: the command line."""

import argparse
import errno
from collections.abc import Sequence
from typing import Final

from apps.simulator.fleet.options import add_drones
from apps.simulator.tickets.options import add_history
from schemas.errors import DiskFull, NotPermitted, OutputUnusable, PrestaCopError
from terminal.arguments import group_parser
from terminal.exits import report_text
from terminal.signals import INTERRUPTED

_EPILOG: Final = """\
examples:
  prestacop simulate history --rows 2000000 --output tickets.csv
  prestacop simulate drones --drones 100 --seconds 60 --output file:drones.jsonl

exit codes: 0 written; 2 wrong arguments, or the output cannot be written there; 3 there is no such topic, or it rejects
messages; 4 the service does not answer; 5 the disk is full; 7 no permission to write there; 130 interrupted.
Whatever the code, an output file is complete or not there.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    options = parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except KeyboardInterrupt:
        return report_text("interrupted, no file was written", INTERRUPTED)
    except PrestaCopError as error:
        return report_text(str(error), error.exit_code)
    except PermissionError as error:
        return report_text(f"cannot write the output: {error}; give this user the permission", NotPermitted.exit_code)
    except (OSError, UnicodeError) as error:  # UnicodeError: a name that is not UTF-8
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return report_text(f"the disk is full: {error}", DiskFull.exit_code)
        return report_text(f"cannot write the output: {error}; choose another place or name", OutputUnusable.exit_code)
    return code


def parser() -> argparse.ArgumentParser:
    """Of the command and its two sub-commands."""
    text = "Generate input of any size, with the expected results (the truth)."
    made = group_parser("prestacop simulate", text, _EPILOG)
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    add_history(commands)
    add_drones(commands)
    return made
