"""How a process of a command ends: at once. Imports nothing of the project, for ``prestacop --help``."""

import atexit
import os
import sys
from collections.abc import Callable
from typing import NoReturn


def run_as_process(main: Callable[[], object]) -> NoReturn:
    """Run the main function of this process, and end it with the code of its SystemExit, or 0.

    What ``atexit`` knows is done and the output is flushed, but no object is freed: after an import of Beam, Python
    needs up to a second for that (docs/decisions/268-processes-end-at-once.md). Threads that are left end too.
    """
    code: int | None = 0
    try:
        main()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            raise
        code = ended.code
    atexit._run_exitfuncs()
    flush()
    os._exit(code or 0)


def flush() -> None:
    """Flush the output, or discard it if that fails: Python would flush again at exit, and exit with 120."""
    for stream in filter(None, (sys.stdout, sys.stderr)):  # one that was closed before the start is None
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
