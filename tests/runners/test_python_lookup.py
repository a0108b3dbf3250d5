"""make finds a supported Python by itself, and says what to install where there is none."""

import shutil
import subprocess
from pathlib import Path

import pytest

MAKE = shutil.which("make")
pytestmark = [pytest.mark.embedded, pytest.mark.skipif(MAKE is None, reason="make is not on the PATH")]

ROOT = Path(__file__).parents[2]


def install(tmp_path: Path, *arguments: str, **pythons: int) -> subprocess.CompletedProcess[str]:
    """Let make print how it would install, where the PATH has those Pythons, which end the check with those codes."""
    for name in ("Makefile", "setup.py", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    path = tmp_path / "bin"
    path.mkdir()
    for name, code in pythons.items():
        python = path / name.replace("_", ".")
        python.write_text(f"#!/bin/sh\nexit {code}\n")
        python.chmod(0o755)
    command = [str(MAKE), "--dry-run", "install", *arguments]
    return subprocess.run(command, cwd=tmp_path, env={"PATH": str(path)}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("pythons", "expected"),
    [
        ({"python3_11": 0, "python3_12": 0, "python3_13": 0, "python3_14": 0, "python3": 0}, "python3.13"),
        ({"python3_11": 0, "python3_12": 0}, "python3.12"),
        ({"python3_13": 1, "python3_11": 0}, "python3.11"),  # without ensurepip, or a pyenv that does not select it
        ({"python3_14": 0, "python3": 1}, "python3.14"),
        ({"python3": 0}, "python3"),
    ],
)
def test_make_takes_the_first_python_that_is_supported(tmp_path: Path, pythons: dict[str, int], expected: str) -> None:
    done = install(tmp_path, **pythons)
    assert done.stdout.splitlines()[0] == f"{expected} -m venv --clear .venv", done.stderr


def test_make_takes_the_python_that_the_user_names(tmp_path: Path) -> None:
    done = install(tmp_path, f"PYTHON={tmp_path}/bin/mine", mine=0, python3_13=0)
    assert done.stdout.splitlines()[0] == f"{tmp_path}/bin/mine -m venv --clear .venv", done.stderr


@pytest.mark.parametrize("arguments", [(), ("PYTHON=python3.9",)])
def test_make_says_in_one_line_what_to_install_where_no_python_is_supported(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = install(tmp_path, *arguments, python3=1, python3_9=1)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert "is not a Python 3.11 to 3.14 with venv and ensurepip: apt-get install python3-venv" in line
    assert not done.stdout
