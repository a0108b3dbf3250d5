"""Commands whose stdin, stdout and stderr were closed before they began, as some supervisors start them."""

import shlex
import subprocess
import sys

import pytest

from prestacop.commands import SUBCOMMANDS


@pytest.mark.embedded
@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_a_command_without_streams_has_the_same_code(command: str) -> None:
    line = shlex.join([sys.executable, "-m", "prestacop", command, "--no-such-flag"])
    assert subprocess.run(["sh", "-c", f"exec {line} <&- >&- 2>&-"], check=False).returncode == 2
