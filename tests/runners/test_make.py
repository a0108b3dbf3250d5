"""What make makes of the exit code of a command: it is in make's last line, and the help says so."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.embedded, pytest.mark.skipif(shutil.which("make") is None, reason="make is not on the PATH")]


def make(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Call make with that program in place of Python; what is installed stays as it is."""
    line = ["make", "--old-file=.venv/.installed", f"PY={python}", *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize("target", ["run-local", "reconcile", "submit-flink", "flink-stop", "submit-spark", "doctor"])
def test_the_exit_code_of_a_command_is_in_the_last_line(target: str, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 37\n")
    python.chmod(0o755)
    done = make(python, target)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith(f": {target}] Error 37")


def test_the_help_names_the_page_of_exit_codes(tmp_path: Path) -> None:
    assert "the exit code of the command is in make's last line" in make(tmp_path / "none", "help").stdout
