"""Metrics become lines that fit the terminal."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from runners.live.metrics import Level, Snapshot, State, Window, state_of
from runners.live.terminal import Screen, lines, plain, state_lines

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
    silent_seconds=0.4,
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
    assert state_of(nothing, []).text == "the graph is starting"
    assert "messages/s" not in shown
    assert "windows" not in shown
    of_pubsub = "\n".join(lines("drones", "", NOW._replace(behind=None, complete=None), 100))
    assert "lag 1.3 s" in of_pubsub
    assert "filling" in of_pubsub
    assert "complete" not in of_pubsub


def test_rows_past_the_allowed_lateness_are_shown_separately() -> None:
    assert "12 late   5 too late   41 dead" in lines("drones", "", NOW._replace(too_late=5), 200)[2]


def test_without_a_terminal_the_metrics_are_one_line() -> None:
    line = plain(state_of(NOW, ["kafka does not run"]), "Ctrl-C stops it", NOW)
    assert "\n" not in line
    assert line.startswith("RED: kafka does not run, 1:02:05, 1,012 messages/s, 0.31 MB/s, lag 1,204 messages, 1.3 s")
    assert line.endswith(
        "window 12:00:00: 9,012 positions 981 qualified 11 unqualified 4 dead letters, Ctrl-C stops it"
    )


def test_the_screen_overwrites_the_lines_before(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("LINES", "4")
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen()
    screen.show(["a" * 39, "b"], Level.GREEN)
    assert capsys.readouterr().out == "\x1b[J" + "a" * 39 + "\nb\n"
    screen.show(["1", "2", "3", "4", "5"], Level.GREEN)
    assert capsys.readouterr().out == "\x1b[2F\x1b[J1\n2\n3\n"
    screen.show(["a" * 39], Level.GREEN)
    monkeypatch.setenv("COLUMNS", "20")  # the line takes two now
    screen.show(["c"], Level.GREEN)
    assert capsys.readouterr().out.endswith("\x1b[2F\x1b[Jc\n")


def test_a_pipe_gets_a_line_every_few_seconds_and_by_ctrl_c(
    capsys: pytest.CaptureFixture[str],
) -> None:
    screen = Screen()
    assert not screen.is_terminal
    for line, note in (("one", ""), ("two", ""), ("stopping", "Ctrl-C"), ("still", "Ctrl-C")):
        screen.print(line, note)
    assert capsys.readouterr().out == "one\nstopping\n"


def test_the_number_of_messages_behind_is_not_shown_while_nothing_is_reported() -> None:
    silent = NOW._replace(silent_seconds=45.2, lag_seconds=61.4, behind=0)
    shown = lines("drones", "", silent, 200)
    assert state_lines(state_of(silent, []), 79) == ["RED: no data for 45 s; lag 61 s"]
    assert "lag 61.4 s" in shown[2]
    assert "0 messages," not in shown[2]


@pytest.mark.parametrize(
    ("silent", "lag", "level"),
    [(1, 2, Level.GREEN), (11, 2, Level.AMBER), (1, 31, Level.AMBER), (31, 2, Level.RED), (1, 61, Level.RED)],
)
def test_the_state_is_green_amber_or_red(silent: float, lag: float, level: Level) -> None:
    now = NOW._replace(silent_seconds=silent, lag_seconds=lag)
    assert state_of(now, []).level is level
    assert state_of(now, ["kafka does not run"]).level is Level.RED
    assert state_of(now._replace(started=False), []) == State(Level.AMBER, "the graph is starting")


def test_the_line_of_the_state_has_its_colour(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    Screen().show(["RED: no data for 45 s"], Level.RED, ["drones"])
    assert "\x1b[1;31mRED: no data for 45 s\x1b[0m\ndrones\n" in capsys.readouterr().out


def test_a_line_of_news_stays_above_what_is_overwritten(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen()
    screen.is_terminal = True
    screen.show(["GREEN"], Level.GREEN, ["drones"])
    screen.announce(State(Level.RED, "kafka does not run"))
    screen.show(["RED"], Level.RED)
    assert capsys.readouterr().out == "\x1b[JGREEN\ndrones\n\x1b[2F\x1b[JRED: kafka does not run\n\x1b[JRED\n"


def test_a_warning_is_amber_and_a_part_that_does_not_run_is_red_in_as_many_lines_as_it_needs() -> None:
    assert state_of(NOW, [], ["the last compaction failed"]) == State(Level.AMBER, "the last compaction failed")
    problem = "kafka does not run: no message is published or read. It is started again in 1 s; see kafka/server.log"
    shown = state_lines(state_of(NOW, [problem]), 40)
    assert max(map(len, shown)) <= 40
    assert " ".join(shown) == f"RED: {problem}"
