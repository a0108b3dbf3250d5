"""Compaction interleaved with writers, readers and other compactions, step by step."""

import pkgutil
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lake import Lake, lake
from lake.ledger import read_rows
from lake.storage import LocalStorage
from lake.vacuum import vacuum
from pipelines.maintenance.compact import compact
from pipelines.maintenance.reconcile import reconcile
from schemas.errors import InputChanged
from tests.lakes import compacted
from tests.pipelines.maintenance.test_compact import MB, add, expected, seen
from tests.recovery.watching import look
from tests.support import LOCAL

pytestmark = pytest.mark.embedded  # slow: many runs over many lakes

STEPS = ("list", "put", "put_new")
"""What a compaction or a reader does to the storage, in calls; that files are read does not matter: none changes."""

HELD = """
import sys
from datetime import timedelta
from terminal import logs
logs.set_up()  # first, as the command does
from lake.vacuum import vacuum
import {module} as command
from pipelines.maintenance import compact
from prestacop.main import run
from tests.support import LOCAL

open_lake = command.{opens}

def held(root, *rest):
    command.{opens} = open_lake
    lk = open_lake(root, *rest)
    compact.compact(root, 1 << 20, LOCAL)
    vacuum(root, timedelta(0))
    return lk

command.{opens} = held
run()
"""
"""A command that has opened the lake and is held while others compact and vacuum it."""


class Lakes:
    """A lake that others write to between two steps of somebody."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = str(root)
        self.units = 0
        self._steps = 0
        self._lock = threading.Lock()
        self._at = 0
        self._between: Callable[[], None] | None = None
        for name in STEPS:
            monkeypatch.setattr(LocalStorage, name, self._counted(getattr(LocalStorage, name)))

    def write(self) -> None:
        """A unit more."""
        add(self.root, self.units)
        self.units += 1

    def compact(self) -> None:
        """A unit more, and a change that takes it in."""
        self.write()
        compacted(self.root)

    def run(self, step: int, between: Callable[[], None], what: Callable[[], object]) -> bool:
        """Do something, and before its step of this number something else; says whether there was such a step."""
        self._steps, self._at, self._between = 0, step, between
        what()
        happened, self._between = self._between is None, None
        return happened

    def _counted(self, of: Callable[..., Any]) -> Callable[..., Any]:
        def call(store: LocalStorage, *arguments: Any) -> Any:
            with self._lock:
                self._steps += 1
                between = self._between if self._steps == self._at else None
                if between:
                    self._between = None
            if between:
                between()
            return of(store, *arguments)

        return call


@pytest.fixture
def lakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lakes:
    """With some units in it."""
    found = Lakes(tmp_path / "lake", monkeypatch)
    for _ in range(3):
        found.write()
    return found


def test_between_two_steps_of_a_reader_anything_may_come(lakes: Lakes) -> None:
    opened: list[Lake] = []
    step = 1
    while lakes.run(step, lakes.compact, lambda: opened.append(lake(lakes.root))):
        step += 1
    assert step == 1 + len(("the changes", "the units"))
    for lk in opened:
        faults, shown = look(lk)
        assert faults == []
        assert sorted(shown["id"].to_pylist()) == expected(lk.ledger.num_rows)


def test_a_reader_that_pauses_while_it_opens_the_lake_sees_the_newest_state(
    lakes: Lakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    lakes.compact()

    def held(root: str, paths: list[str]) -> pa.Table:
        monkeypatch.undo()
        lakes.compact()
        vacuum(root, timedelta(0))
        return read_rows(root, paths)

    monkeypatch.setattr("lake.reader.read_rows", held)
    assert look(lake(lakes.root))[0] == []
    assert lake(lakes.root).ledger.num_rows == lakes.units


@pytest.mark.parametrize("every", [12, pytest.param(1, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("others_compact", [False, True])
def test_between_two_steps_of_a_compaction_anything_may_come(lakes: Lakes, others_compact: bool, every: int) -> None:
    def others() -> None:
        vacuum(lakes.root, timedelta(days=1))
        lakes.write()
        if others_compact:  # twice, so that the second builds on what the first has put
            lakes.compact()
            lakes.compact()

    step = 1
    while lakes.run(step, others, lambda: compact(lakes.root, MB, LOCAL)):
        faults, shown = look(lake(lakes.root))
        assert (step, faults) == (step, [])
        assert sorted(shown["id"].to_pylist()) == expected(lakes.units)
        step += every
        lakes.write()
    assert step > 3 + 5 + 1  # listings, files, the change
    assert reconcile(lakes.root) == []


def at_call(patch: pytest.MonkeyPatch, name: str, number: int, do: Callable[[], None]) -> None:
    """Do something before the call of this number of a function."""
    original, calls = pkgutil.resolve_name(name), count(1)

    def call(*arguments: Any) -> Any:
        if next(calls) == number:
            do()
        return original(*arguments)

    patch.setattr(name, call)


@pytest.mark.parametrize(("name", "number"), [("compact.compaction", 1), ("compaction_graph.merge", 2)])
def test_a_compaction_whose_files_a_vacuum_removed_says_so_and_the_next_one_does_all(
    lakes: Lakes, monkeypatch: pytest.MonkeyPatch, name: str, number: int
) -> None:
    def others() -> None:
        lakes.compact()
        vacuum(lakes.root, timedelta(0))

    with monkeypatch.context() as patch:
        at_call(patch, f"pipelines.maintenance.{name}", number, others)
        with pytest.raises(InputChanged, match="run the same command again"):
            compact(lakes.root, MB, LOCAL)
    faults, shown = look(lake(lakes.root))
    assert faults == []
    assert sorted(shown["id"].to_pylist()) == expected(lakes.units)
    lakes.write()
    assert compact(lakes.root, MB, LOCAL)
    vacuum(lakes.root, timedelta(0))
    assert seen(lake(lakes.root)) == expected(lakes.units)
    assert reconcile(lakes.root) == []


@pytest.mark.parametrize(
    ("name", "module", "opens", "arguments", "what"),
    [
        ("compact", "pipelines.maintenance.committing", "filled_lake", ("--quiet", "--lake"), "compaction"),
        ("analyze", "pipelines.analysis.command", "filled_lake", ("--quiet", "--lake"), "analysis"),
        ("fines", "pipelines.analysis.fines", "filled_lake", ("--codes", "CODES", "--lake"), "fines"),
        ("reconcile", "pipelines.maintenance.reconcile", "lake", ("--quiet", "--lake"), "reconciliation"),
        ("trace", "pipelines.maintenance.trace", "filled_lake", ("0-1", "--lake"), "trace"),
    ],
)
def test_a_command_reports_a_vacuum_in_one_line_with_exit_code_6(
    lakes: Lakes, tmp_path: Path, name: str, module: str, opens: str, arguments: tuple[str, ...], what: str
) -> None:
    codes = tmp_path / "codes.csv"
    codes.write_text("CODE,DEFINITION,Manhattan 96th St. & below,All Other Areas\n21,X,65,45\n")
    given = [str(codes) if argument == "CODES" else argument for argument in arguments]
    line = [sys.executable, "-c", HELD.format(module=module, opens=opens), name, *given, lakes.root]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (6, "")
    assert done.stderr.startswith(f"error: {lakes.root}: the {what} took longer than the vacuum retention")
    assert done.stderr.count("\n") == 1
