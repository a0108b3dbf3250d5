"""Metrics become lines that fit the terminal."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from runners.live.metrics import Snapshot, Window
from runners.live.terminal import Screen, lines, plain

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
COMPLETE = Window(
    NOON,
    10,
    True,
    Counter(positions=9_012, qualified=981, unqualified=11, dead_letters=4),
    Counter({n: 200 - n for n in range(1, 60)}),
)
FILLING = Window(NOON + timedelta(seconds=10), 10, False, Counter(positions=7), Counter())
NOW = Snapshot(
    seconds=3725.4,
    started=True,
    messages_per_second=1_012.4,
    bytes_per_second=312_345.0,
    behind=1_204,
    lag_seconds=1.31,
    uncommitted=3,
    read=84_210,
    units=214,
    files=1_040,
    rows=84_190,
    dead_letters=41,
    late=12,
    too_late=0,
    complete=COMPLETE,
    filling=FILLING,
)


def test_the_terminal_shows_all_metrics() -> None:
    shown = lines("1,000 drones → kafka", "Ctrl-C stops it", NOW, 160)
    assert shown[0] == "1,000 drones → kafka   1:02:05   Ctrl-C stops it"
    assert shown[2] == (
        "1,012 messages/s   0.31 MB/s   lag 1,204 messages, 1.3 s   3 uncommitted units   "
        "214 units committed   1,040 files   84,190 rows   12 late   41 dead letters"
    )
    assert shown[4].split() == [
        "10",
        "s",
        "windows",
        "(UTC)",
        "positions",
        "qualified",
        "unqualified",
        "dead",
        "top",
        "codes",
    ]
    assert shown[5].startswith("12:00:00 complete        9,012        981           11     4   1 ×199  2 ×198")
    assert shown[6].split() == ["12:00:10", "filling", "7", "0", "0", "0"]
    assert shown[8].startswith("1 · Bus permit not shown   2 · Operator's name not shown")


@pytest.mark.parametrize("columns", [40, 79, 109, 200])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    shown = lines("1,000 drones → kafka → s3://prestacop/lake", "Ctrl-C stops it", NOW, columns)
    assert max(map(len, shown)) <= columns


def test_a_screen_of_80_columns_has_all_sample() -> None:
    shown = "\n".join(lines("drones", "", NOW, 79))
    assert all(text in shown for text in ("1,012 messages/s", "1.3 s", "84,190 rows", "41 dead letters", "1 ×199"))


def test_unknown_metrics_are_not_shown() -> None:
    nothing = NOW._replace(started=False, complete=None, filling=None)
    shown = "\n".join(lines("drones", "", nothing, 100))
    assert "the graph is starting" in shown
    assert "messages/s" not in shown
    assert "windows" not in shown
    of_pubsub = "\n".join(lines("drones", "", NOW._replace(behind=None, complete=None), 100))
    assert "lag 1.3 s" in of_pubsub
    assert "filling" in of_pubsub
    assert "complete" not in of_pubsub


def test_rows_past_the_allowed_lateness_are_shown_separately() -> None:
    assert "12 late   5 too late   41 dead" in lines("drones", "", NOW._replace(too_late=5), 200)[2]


def test_without_a_terminal_the_metrics_are_one_line() -> None:
    line = plain("kafka does not run", NOW)
    assert "\n" not in line
    assert line.startswith("1:02:05, 1,012 messages/s, 0.31 MB/s, lag 1,204 messages, 1.3 s")
    assert line.endswith(
        "window 12:00:00: 9,012 positions 981 qualified 11 unqualified 4 dead letters, kafka does not run"
    )


def test_the_screen_overwrites_the_lines_before(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "4")
    screen = Screen()
    screen.show(["a" * 39, "b"])
    assert capsys.readouterr().out == "\x1b[J" + "a" * 39 + "\nb\n"
    screen.show(["1", "2", "3", "4", "5"])
    assert capsys.readouterr().out == "\x1b[2F\x1b[J1\n2\n3\n"
    screen.show(["a" * 39])
    monkeypatch.setenv("COLUMNS", "20")  # the line takes two now
    screen.show(["c"])
    assert capsys.readouterr().out.endswith("\x1b[2F\x1b[Jc\n")


def test_without_a_terminal_a_line_is_printed_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    assert not screen.is_terminal
    for line in ("one", "two"):
        screen.print(line)
    assert capsys.readouterr().out == "one\n"
