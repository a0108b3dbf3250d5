"""The systemd units: valid, hardened, and their commands exist."""

import configparser
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from schemas.errors import InputUnusable, NotPermitted, NotReconciled
from terminal.arguments import USAGE
from terminal.signals import INTERRUPTED
from tests.deploy.support import DEPLOY, parse

FOLDER = DEPLOY / "systemd"
SERVICES = sorted(FOLDER.glob("*.service"))
COMMON = FOLDER / "prestacop-.service.d/common.conf"
EXAMPLE = (FOLDER / "prestacop.env.example").read_text(encoding="utf-8")
VARIABLES = dict(re.findall(r"^([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))


def read(unit: Path) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None, delimiters="=", strict=True)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(unit.read_text(encoding="utf-8").replace("\\\n", " "))
    return found


def command(unit: Path) -> list[str]:
    """Its command line, with the example's variables."""
    line = read(unit)["Service"]["ExecStart"]
    return [re.sub(r"\$\{(\w+)\}", lambda found: VARIABLES[found[1]], word) for word in shlex.split(line)]


@pytest.mark.parametrize("unit", SERVICES, ids=lambda unit: unit.stem)
def test_each_command_exists_with_its_flags(unit: Path) -> None:
    parse(command(unit))


def test_there_is_a_unit_for_each_part_of_an_installation() -> None:
    assert {command(unit)[1] for unit in SERVICES} == {"run", "console", "exporter", "compact"}
    for unit in SERVICES:
        service = read(unit)["Service"]
        if unit.stem == "prestacop-compact":
            assert service["Type"] == "oneshot"
            assert unit.with_suffix(".timer").exists()
        else:
            assert service["Restart"] == "on-failure"


def test_the_console_reads_the_places_that_the_console_of_the_compose_file_reads() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]["console"]["command"]
    unit = command(FOLDER / "prestacop-console.service")
    here, there = ({word.partition("=")[0] for word in words if word.startswith("--")} for words in (unit, compose))
    assert here == there - {"--host", "--metrics-host"}  # in a container they are not those of this machine


def test_what_no_restart_repairs_is_not_restarted() -> None:
    service = read(COMMON)["Service"]
    codes = {NotReconciled.exit_code, USAGE, InputUnusable.exit_code, NotPermitted.exit_code}
    assert {int(code) for code in service["RestartPreventExitStatus"].split()} == codes
    assert service["SuccessExitStatus"] == str(INTERRUPTED)


@pytest.mark.embedded
@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    program = shutil.which("true")
    for file in FOLDER.rglob("*.*"):
        if file.suffix in (".service", ".timer", ".conf"):
            copy = tmp_path / file.relative_to(FOLDER)
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(
                re.sub(r"^ExecStart=prestacop", f"ExecStart={program}", file.read_text(), flags=re.MULTILINE)
            )
    # Without the generators and targets of a running system: an empty path after it would add those.
    units = [str(tmp_path / file.name) for file in (*SERVICES, *FOLDER.glob("*.timer"))]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units],
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    newer = r"Unknown key( name)? 'Restart(Steps|MaxDelaySec)'"
    faults = [line for line in done.stderr.splitlines() if str(tmp_path) in line and not re.search(newer, line)]
    assert (done.returncode, faults) == (0, [])
