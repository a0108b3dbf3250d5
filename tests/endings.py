"""How commands end, called in the test's own process."""

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from unittest.mock import patch

import pytest

Main = Callable[[Sequence[str]], object]


@contextmanager
def leaving() -> Iterator[None]:
    """Commands end here by an exception, and the process lives."""
    before = signal.getsignal(signal.SIGTERM)
    with patch.object(os, "_exit", sys.exit), patch.object(atexit, "_run_exitfuncs"):
        yield
    signal.signal(signal.SIGTERM, before)


def code_of(main: Main, *argv: str) -> int:
    """The exit code of a command."""
    with leaving():
        try:
            code = main(argv)
        except SystemExit as end:
            code = end.code
    return int(str(code or 0))


def ending(capsys: pytest.CaptureFixture[str], main: Main, *argv: str) -> tuple[int, str]:
    """The exit code of a command, and what it said on stderr."""
    capsys.readouterr()
    return code_of(main, *argv), capsys.readouterr().err
