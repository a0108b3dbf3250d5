"""How a command ends: with the exit code of its error, and never with 1 where rows add up."""

import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from schemas.errors import BUG, PrestaCopError
from schemas.printing import guarded_output


def bug() -> int:
    """Print the traceback of the error at hand, a fault of the program, and what to do; gives the exit code."""
    traceback.print_exc()
    print(
        f"error: this is a fault of the program (exit code {BUG}). What was committed stays as it is. Please report "
        "the lines above together with the command and its version",
        file=sys.stderr,
    )
    return BUG


def exit_with(main: Callable[[], int | None]) -> NoReturn:
    """Run a command, and leave with the code that it gives or that its error has."""
    with guarded_output():
        try:
            code = main()
        except PrestaCopError as error:
            print(f"error: {error}", file=sys.stderr)
            code = error.exit_code
        except Exception:  # noqa: BLE001  # it is told in full, and the process ends
            code = bug()
    sys.exit(code)
