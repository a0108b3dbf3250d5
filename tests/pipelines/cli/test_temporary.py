"""However a command ends, it leaves nothing among the temporary files; after a kill -9 the next one clears up."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from pipelines.analysis.command import main as analysis
from pipelines.cli.temporary import outside, own_temporary_folder
from pipelines.maintenance.compact import main as compact
from pipelines.maintenance.reconcile import main as reconcile
from pipelines.violations.run import main as violations
from schemas.errors import OutputUnusable
from tests.endings import Main, code_of
from tests.support import make_history

HELD = """
import signal, sys, tempfile, time
from pipelines.cli.app import run
def hold():
    tempfile.mkdtemp(prefix="beam-temp")
    print("held", flush=True)
    time.sleep(300)
run(hold, "")
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for temporary files."""
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return place


def hold() -> "subprocess.Popen[str]":
    """A command that has temporary files and goes on."""
    child = subprocess.Popen([sys.executable, "-c", HELD], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


@pytest.mark.embedded
def test_commands_leave_nothing(place: Path, tmp_path: Path) -> None:
    history, root = make_history(tmp_path / "h.csv", 300), str(tmp_path / "lake")
    commands: list[tuple[Main, list[str]]] = [
        (violations, ["--history", str(history), "--lake", root, "--quiet"]),
        (analysis, ["--lake", root, "--report", str(tmp_path / "report.html"), "--quiet"]),
        (compact, ["--lake", root, "--quiet"]),
        (reconcile, ["--lake", root, "--quiet"]),
        (reconcile, ["--lake", str(tmp_path / "none"), "--quiet"]),
    ]
    assert [code_of(main, *argv) for main, argv in commands] == [0, 0, 0, 0, 3]
    assert list(place.iterdir()) == []
    assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(place)


@pytest.mark.embedded
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_stopped_leaves_nothing(place: Path, number: signal.Signals) -> None:
    with hold() as child:
        assert len(list(place.iterdir())) == 1
        child.send_signal(number)
        assert child.wait(300) == 130
    assert list(place.iterdir()) == []


@pytest.mark.embedded
def test_the_next_command_removes_the_folder_of_a_killed_one_and_no_folder_in_use(place: Path) -> None:
    others = [place / "prestacop-of-somebody", place / "run"]
    for other in others:
        other.mkdir()
    with hold() as killed, hold() as goes_on:
        mine = set(place.iterdir()) - set(others)
        assert len(mine) == 2
        killed.kill()
        killed.wait()
        with own_temporary_folder():
            inside = Path(tempfile.gettempdir())
            assert inside.parent == place
            assert outside(str(inside)) == str(place)
            assert len(list(place.iterdir())) == 4
        goes_on.kill()
    with own_temporary_folder():
        pass
    assert set(place.iterdir()) == set(others)


def test_no_place_for_temporary_files_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/none']")

    monkeypatch.setattr(tempfile, "gettempdir", nowhere)
    with pytest.raises(OutputUnusable, match="set TMPDIR"), own_temporary_folder():
        pass
