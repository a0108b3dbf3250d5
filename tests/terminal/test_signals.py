"""Ctrl-C, SIGTERM and SIGHUP at any moment of a command: 130 and no traceback."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from prestacop.commands import SUBCOMMANDS

pytestmark = pytest.mark.embedded

SENDS = """
import os, signal, sys

class Sends:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.{signal})

sys.meta_path.insert(0, Sends())
"""


def interrupted(folder: Path, module: str, command: list[str], number: signal.Signals) -> tuple[int, str]:
    """The exit code and stderr of a command that gets a signal when it loads a module."""
    (folder / "sitecustomize.py").write_text(SENDS.format(module=module, signal=number.name))
    found = os.pathsep.join((str(folder), *sys.path))
    result = subprocess.run(
        [sys.executable, "-m", "prestacop", *command],
        env={**os.environ, "PYTHONPATH": found},
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode, result.stderr


@pytest.mark.parametrize("command", SUBCOMMANDS)
def test_ctrl_c_while_a_command_loads_its_modules(tmp_path: Path, command: str) -> None:
    assert interrupted(tmp_path, "schemas.errors", [command, "--help"], signal.SIGINT) == (130, "\nstopped\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_signal_ends_a_command(tmp_path: Path, number: signal.Signals) -> None:
    assert interrupted(tmp_path, "schemas.errors", ["clean", "--help"], number) == (130, "\nstopped\n")


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        assert interrupted(tmp_path, "schemas.errors", ["clean", "--help"], signal.SIGHUP) == (0, "")
    finally:
        signal.signal(signal.SIGHUP, before)
