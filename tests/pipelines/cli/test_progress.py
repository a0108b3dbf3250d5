"""The progress of every command: one line on a terminal, lines now and then in a pipe, none with --quiet."""

import os
import pty
import re
import shutil
import threading
from collections.abc import Callable
from contextlib import redirect_stderr
from pathlib import Path

import pytest

from apps.loader.command import main as load
from apps.simulator.command import main as simulate
from pipelines.analysis.command import main as analysis
from pipelines.maintenance.compact import main as compact
from pipelines.maintenance.reconcile import main as reconcile
from pipelines.maintenance.replay import main as replay
from pipelines.violations.run import main as violations
from terminal import bars
from tests.endings import Main, code_of
from tests.support import make_history, make_messages, run_graph

COMMANDS: dict[str, tuple[Main, Callable[[Path], list[str]]]] = {
    "violations": (violations, lambda f: ["--history", f"{f}/h.csv", "--lake", f"{f}/new"]),
    "analysis": (analysis, lambda f: ["--lake", f"{f}/lake", "--report", f"{f}/report.html"]),
    "reconcile": (reconcile, lambda f: ["--lake", f"{f}/lake"]),
    "compact": (compact, lambda f: ["--lake", f"{f}/lake"]),
    "replay": (replay, lambda f: ["--lake", f"{f}/lake", "--reason", "code_missing"]),
    "history": (simulate, lambda f: ["history", "--rows", "300", "--output", f"{f}/s.csv"]),
    "drones": (simulate, lambda f: ["drones", "--drones", "9", "--seconds", "9", "--output", f"file:{f}/s.jsonl"]),
    "loader": (load, lambda f: [f"{f}/h.csv", "--to", f"file:{f}/to", "--journal", f"{f}/journal"]),
}


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ticket file, and a lake of it and of messages."""
    folder = tmp_path_factory.mktemp("progress")
    make_history(folder / "h.csv", 2_000, "--dirt", "20")
    run_graph(folder / "lake", folder / "h.csv", make_messages(folder / "m.jsonl", 3, 9))
    return folder


@pytest.fixture(autouse=True)
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its charts take a second, and show no progress."""
    monkeypatch.setattr("pipelines.analysis.command.write_report", lambda *_: None)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each update is shown."""
    monkeypatch.setattr(bars, "PLAIN_S", 0.0)


def on_a_pipe(main: Main, argv: list[str]) -> str:
    """What a command writes to a stderr that is a pipe."""
    return _written(os.pipe(), main, argv)


def on_a_terminal(main: Main, argv: list[str]) -> str:
    """The same for a terminal."""
    return _written(pty.openpty(), main, argv)


def _written(ends: tuple[int, int], main: Main, argv: list[str]) -> str:
    read: list[bytes] = []

    def reader() -> None:
        try:
            while data := os.read(ends[0], 1 << 16):
                read.append(data)
        except OSError:  # the end of a terminal on Linux
            pass

    thread = threading.Thread(target=reader)
    thread.start()
    with os.fdopen(ends[1], "w") as stderr, redirect_stderr(stderr):
        assert code_of(main, *argv) == 0
    thread.join()
    os.close(ends[0])
    return b"".join(read).decode()


@pytest.mark.embedded
@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_pipe_gets_plain_lines_and_with_quiet_a_terminal_gets_nothing(
    filled: Path, tmp_path: Path, name: str
) -> None:
    main, argv = COMMANDS[name]
    printed = on_a_pipe(main, argv(_copied(filled, tmp_path / "first")))
    assert "\r" not in printed
    assert "\x1b" not in printed
    assert re.search(r"^[\w.]+: (\d+% of )?[\d.]+ .*, [\d.]+ .*/s", printed, re.MULTILINE), printed
    assert on_a_terminal(main, [*argv(_copied(filled, tmp_path / "again")), "--quiet"]) in ("", "\r\n")


# What is printed where is tested for each kind of stream in tests/terminal/test_bars.py.
@pytest.mark.parametrize("name", ["violations", "drones", "loader"])
def test_a_short_run_prints_no_progress_to_a_pipe(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(bars, "PLAIN_S", 86_400.0)  # however slow the machine is, the run is short
    main, argv = COMMANDS[name]
    printed = on_a_pipe(main, argv(_copied(filled, tmp_path)))
    assert [line for line in printed.splitlines() if not line.startswith("simulator: ")] == []


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("name", ["violations", "drones", "loader"])
def test_a_terminal_gets_a_bar(filled: Path, tmp_path: Path, name: str) -> None:
    main, argv = COMMANDS[name]
    assert "\r" in on_a_terminal(main, argv(_copied(filled, tmp_path))).replace("\r\n", "\n")


def _copied(filled: Path, to: Path) -> Path:
    shutil.copytree(filled, to, dirs_exist_ok=True)
    return to
