"""A progress line in a pipe, on a terminal, and with --quiet."""

import sys
import time

import pytest

from terminal import bars
from terminal.bars import Bar


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test moves."""
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_pipe_gets_a_line_every_ten_seconds(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with Bar(desc="reading", unit="B", quiet=False, total=2_000_000) as bar:
        clock[0] = bars.PLAIN_S - 1
        bar.update(500_000)
        assert capsys.readouterr().err == ""
        clock[0] = bars.PLAIN_S
        bar.update(500_000)
        assert capsys.readouterr().err == "reading: 50% of 2.00 MB, 100 kB/s, 0:00:10 left\n"
        clock[0] = 2 * bars.PLAIN_S
        bar.note = "waiting for 3 s"
        bar.update()
        assert capsys.readouterr().err == "reading: 50% of 2.00 MB, 70.0 kB/s, waiting for 3 s\n"
    assert capsys.readouterr().err == ""


def test_without_a_total_the_amount_is_shown(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar(desc="simulator", unit=" messages", quiet=False, done=5)
    clock[0] = bars.PLAIN_S
    bar.update(1_000)
    assert capsys.readouterr().err == "simulator: 1.00 k messages, 100 messages/s\n"


def test_a_terminal_gets_one_line_that_changes(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    with Bar(desc="\x1b[2Jname", unit=" rows", quiet=False, seconds=1) as bar:
        clock[0] = 1
        bar.update(1)
    printed = capsys.readouterr().err
    assert printed == "\r\x1b[K" + "\\x1b[2Jname: 1 rows" + "\r\x1b[K" + "\\x1b[2Jname: 1 rows" + "\n"


@pytest.mark.parametrize("terminal", [False, True])
def test_quiet_prints_nothing(
    terminal: bool, clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    for _ in Bar([1, 2], desc="x", unit=" rows", quiet=True):
        clock[0] += bars.PLAIN_S
    assert capsys.readouterr().err == ""
