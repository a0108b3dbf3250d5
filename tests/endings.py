"""How commands end, called in the test's own process with the fixture ``leaving``."""

from collections.abc import Callable, Sequence

import pytest

Main = Callable[[Sequence[str]], object]


def code_of(main: Main, *argv: str) -> int:
    """The exit code of a command."""
    try:
        code = main(argv)
    except SystemExit as end:
        code = end.code
    return int(str(code or 0))


def ending(capsys: pytest.CaptureFixture[str], main: Main, *argv: str) -> tuple[int, str]:
    """The exit code of a command, and what it said on stderr."""
    capsys.readouterr()
    return code_of(main, *argv), capsys.readouterr().err
