"""Whatever is wrong with a file of a lake, each command that reads it ends with one line and the documented code."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.analysis.command import main as analysis
from pipelines.analysis.fines import main as fines
from pipelines.maintenance.compact import main as compact
from pipelines.maintenance.reconcile import main as reconcile
from pipelines.maintenance.replay import main as replay
from pipelines.maintenance.trace import main as trace
from tests.endings import Main, ending
from tests.pipelines.maintenance.test_damage import CHANGE, LEDGER_D, MERGED, QUALIFIED_D, newest, sound

__all__ = ["sound"]
pytestmark = pytest.mark.embedded  # slow: many runs over many lakes

CODES = "CODE,DEFINITION,Manhattan 96th St. & below,All Other Areas\n21,STREET CLEANING,65,45\n"
COMMANDS: dict[str, tuple[Main, Callable[[str, Path], list[str]]]] = {
    "analysis": (analysis, lambda lake, folder: ["--lake", lake, "--report", str(folder / "report.html"), "--quiet"]),
    "fines": (fines, lambda lake, folder: ["--lake", lake, "--codes", str(folder / "codes.csv")]),
    "trace": (trace, lambda lake, _: ["drones-d-1", "--lake", lake]),
    "replay": (replay, lambda lake, _: ["--lake", lake, "--reason", "not_json", "--quiet"]),
    "compact": (compact, lambda lake, _: ["--lake", lake, "--quiet"]),
    "reconcile": (reconcile, lambda lake, _: ["--lake", lake, "--quiet"]),
}


def into_a_directory(path: Path) -> None:
    """A directory stands in its place."""
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "no Parquet": lambda path: path.write_bytes(b"no Parquet" * 100),
    "between the right marks no Parquet": lambda path: path.write_bytes(b"PAR1" + b"\xff" * 100 + b"PAR1"),
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "page": lambda path: path.write_bytes(path.read_bytes()[:4] + bytes(200) + path.read_bytes()[204:]),
    "missing": lambda path: path.unlink(),
    "a directory": into_a_directory,
}
FILES = {
    "data file": QUALIFIED_D,
    "dead letters": "dead_letters/source=drones/drones-e.parquet",
    "statistics": "stats/source=drones/drones-d.parquet",
    "row": LEDGER_D,
    "change": CHANGE,
    "merged ledger": MERGED,
}
UNREAD = {
    "analysis": ("statistics",),
    "fines": ("dead letters", "statistics"),
    "trace": ("statistics",),
    "replay": ("data file", "statistics"),
}
"""Files of datasets that a command does not open."""


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    ("command", "kinds"),
    [
        *(pytest.param(command, tuple(DAMAGES), id=command) for command in COMMANDS if command != "analysis"),
        pytest.param("analysis", ("truncated",), id="analysis"),  # it takes a second for each
        pytest.param("analysis", tuple(DAMAGES), marks=pytest.mark.nightly, id="analysis of each damage"),
    ],
)
def test_a_damaged_file_is_one_line_and_its_code(
    sound: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, kinds: tuple[str, ...], file: str
) -> None:
    (tmp_path / "codes.csv").write_text(CODES)
    main, arguments = COMMANDS[command]
    for kind in kinds:
        root = Path(shutil.copytree(sound, tmp_path / kind / "lake"))
        DAMAGES[kind](newest(root, FILES[file]))
        code, said = ending(capsys, main, *arguments(str(root), tmp_path))
        is_gone = kind in ("missing", "a directory")
        if command == "reconcile" and is_gone and file == "change":
            assert code == 0  # no table has the last change yet: its units are those of the next publication
        elif command == "reconcile":
            assert (kind, code, said) == (kind, 1, "")
        elif file in UNREAD.get(command, ()):
            assert (kind, code) == (kind, 0)
        elif code == 0:
            # It needs nothing of that page or of folded rows; nobody but reconcile can know of a row that is gone.
            is_needed = kind != "page" and file != "merged ledger"
            assert not is_needed or (is_gone and file in ("row", "change")), kind
        elif (command, file, kind[:1]) in (("trace", "row", "m"), ("trace", "row", "a")):
            assert code == 3  # the message is not in the lake, says stdout
        else:
            assert (kind, code, said[:7], said.count("\n")) == (kind, 3, "error: ", 1)
            assert "reconcile" in said
