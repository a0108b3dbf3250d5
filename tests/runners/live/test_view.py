"""make live: figures become lines that fit, panes become windows, children end."""

import os
import re
import signal
import stat
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import psutil
import pytest

from lake.ledger import commit
from pipelines.cli.commit_progress import Committed
from runners.live import children as children_module
from runners.live.children import Child
from runners.live.closing import next_steps, published
from runners.live.endings import alone, ended
from runners.live.figures import OVER_SECONDS, Figures, Rates, tell, told
from runners.live.panes import Pane, Tail, Window, Windows
from runners.live.screen import Screen
from runners.live.seen import Measured, Seen
from runners.live.view import lines, plain
from schemas.errors import OutputUnusable, ServiceUnavailable
from sources.progress import Lag, progress
from sources.units import ROWS_IN
from terminal.signals import SIGNALS
from transforms.write import DOORS

NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
COMPLETE = Window(
    NOON,
    10,
    True,
    Counter(positions=9_012, qualified=981, unqualified=11, dead_letters=4),
    Counter({n: 200 - n for n in range(1, 60)}),
)
FILLING = Window(NOON + timedelta(seconds=10), 10, False, Counter(positions=7), Counter())
SEEN = Seen(
    seconds=3725.4,
    started=True,
    messages_per_second=1_012.4,
    bytes_per_second=312_345.0,
    behind=1_204,
    lag_seconds=1.31,
    under_way=3,
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


def test_all_figures_are_on_the_screen() -> None:
    shown = lines("1,000 drones → kafka", "Ctrl-C ends it", SEEN, 160)
    assert shown[0] == "1,000 drones → kafka   1:02:05   Ctrl-C ends it"
    assert shown[2] == (
        "1,012 messages/s   0.31 MB/s   lag 1,204 messages, 1.3 s   3 units under way   "
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
def test_lines_are_no_wider_than_the_screen(columns: int) -> None:
    shown = lines("1,000 drones → kafka → s3://prestacop/lake", "Ctrl-C ends it", SEEN, columns)
    assert max(map(len, shown)) <= columns


def test_a_screen_of_80_columns_has_all_figures() -> None:
    shown = "\n".join(lines("drones", "", SEEN, 79))
    assert all(text in shown for text in ("1,012 messages/s", "1.3 s", "84,190 rows", "41 dead letters", "1 ×199"))


def test_what_is_not_known_yet_is_not_shown() -> None:
    nothing = SEEN._replace(started=False, complete=None, filling=None)
    shown = "\n".join(lines("drones", "", nothing, 100))
    assert "the graph starts" in shown
    assert "messages/s" not in shown
    assert "windows" not in shown
    of_pubsub = "\n".join(lines("drones", "", SEEN._replace(behind=None, complete=None), 100))
    assert "lag 1.3 s" in of_pubsub
    assert "filling" in of_pubsub
    assert "complete" not in of_pubsub


def test_rows_that_are_too_late_are_shown_apart() -> None:
    assert "12 late   5 too late   41 dead" in lines("drones", "", SEEN._replace(too_late=5), 200)[2]


def test_the_plain_line_is_one_line() -> None:
    line = plain("kafka does not run", SEEN)
    assert "\n" not in line
    assert line.startswith("1:02:05, 1,012 messages/s, 0.31 MB/s, lag 1,204 messages, 1.3 s")
    assert line.endswith(
        "window 12:00:00: 9,012 positions 981 qualified 11 unqualified 4 dead letters, kafka does not run"
    )


def pane(at: datetime = NOON, dataset: str | None = "qualified", n: int = 1, timing: str = "early") -> Pane:
    return Pane(at, 10, dataset, 21 if dataset == "qualified" else None, n, timing)


def test_panes_are_deltas_of_their_window() -> None:
    windows = Windows()
    for one in (pane(n=2), pane(n=3), pane(dataset="positions", n=7)):
        windows.add(one)
    assert windows.filling == Window(NOON, 10, False, Counter(qualified=5, positions=7), Counter({21: 5}))
    assert windows.complete is None


def test_a_window_is_complete_when_its_end_was_told_and_late_rows_still_count() -> None:
    windows = Windows()
    for one in (pane(n=2), pane(dataset=None, n=0, timing="on_time"), pane(n=3, timing="late")):
        windows.add(one)
    assert windows.complete == Window(NOON, 10, True, Counter(qualified=5), Counter({21: 5}))
    assert windows.filling is None
    assert windows.late == 3


def test_the_newest_windows_are_shown_and_older_ones_forgotten() -> None:
    windows = Windows()
    starts = [NOON + timedelta(seconds=10 * n) for n in range(4)]
    for start in starts:
        windows.add(pane(start))
    windows.add(pane(starts[1], dataset=None, n=0, timing="on_time"))
    windows.add(pane(starts[0], n=9, timing="late"))
    assert windows.complete is not None
    assert windows.complete.start == starts[1]
    assert windows.filling is not None
    assert windows.filling.start == starts[3]
    assert windows.late == 9
    assert len(windows._windows) == 3


def test_what_is_too_late_is_in_no_window() -> None:
    windows = Windows()
    windows.add(pane(n=4, timing="too_late"))
    assert (windows.too_late, windows.late, windows.filling) == (4, 0, None)


def test_what_is_counted_by_area_is_not_counted_twice() -> None:
    windows = Windows()
    for timing in ("on_time", "late"):
        windows.add(Pane(NOON, 10, "qualified", None, 4, timing, {"40.71,-74.01": 4}))
    assert (windows.complete, windows.filling, windows.late) == (None, None, 0)


def test_a_drone_whose_clock_is_ahead_is_not_the_newest_window() -> None:
    windows = Windows()
    now = datetime.now(UTC)
    for at in (now, now + timedelta(days=700)):
        windows.add(pane(at))
    assert windows.filling is not None
    assert windows.filling.start == now


def test_the_tail_gives_each_pane_once_and_when_its_line_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "panes.jsonl"
    tail = Tail(path)
    assert tail.new() == []
    first, second = (msgspec.json.encode(pane(n=n)) + b"\n" for n in (1, 2))
    path.write_bytes(first + second[:20])
    assert tail.new() == [pane(n=1)]
    assert tail.new() == []
    with path.open("ab") as file:
        file.write(second[20:] + first)
    assert tail.new() == [pane(n=2), pane(n=1)]


@pytest.mark.parametrize(
    "bad",
    [b"{", b"\xff", b'"\xff"', b"[" * 9_000, b"", b'{"window_start": 1}', b'{"window_start": "2026-01-15T12:00:00"}'],
)
def test_a_line_that_is_no_pane_is_counted_and_those_around_it_are_read(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "panes.jsonl"
    tail = Tail(path)
    path.write_bytes(msgspec.json.encode(pane(n=1)) + b"\n" + bad + b"\n" + msgspec.json.encode(pane(n=2)) + b"\n")
    assert tail.new() == [pane(n=1), pane(n=2)]
    assert tail.unreadable == 1


def figures(at: float, read: int = 0, **lag: Lag) -> Figures:
    return Figures(at, {"drones": read}, read * 100, lag)


def test_rates_are_of_the_last_seconds() -> None:
    rates = Rates()
    assert (rates.messages, rates.bytes) == (0, 0)
    for at in range(20):
        rates.add(figures(at, 1_000 * at if at < 10 else 10_000 + 50 * (at - 10)))
    assert (rates.messages, rates.bytes) == (50, 5_000)
    rates.add(figures(19, 0))  # nothing new was told
    assert rates.messages == 50
    rates.add(figures(19 + 3 * OVER_SECONDS, 10_450))  # nor was for long: the average since is 0
    assert rates.messages == 0


def test_the_lake_has_all_when_each_stream_is_planned_and_committed_up_to_then() -> None:
    done, late, open_ = Lag(0, 100.5, 0), Lag(0, 99.5, 0), Lag(0, 100.5, 1)
    assert figures(101, drones=done, images=done).is_drained(100)
    assert not figures(101, drones=done, images=late).is_drained(100)
    assert not figures(101, drones=open_, images=done).is_drained(100)
    assert not figures(101).is_drained(100)


def test_figures_go_from_process_to_process(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    assert told(path) is None
    progress.came("drones", 3, 300)
    progress.lags("drones", Lag(5, time.time() - 2, 1))
    tell(path)
    found = told(path)
    assert found is not None
    assert found.read["drones"] == progress.read["drones"]
    assert found.lag["drones"] == progress.lag["drones"]
    assert 2 <= found.lag["drones"].seconds < 60
    seen = Measured(path, tmp_path / "panes.jsonl", Committed(str(tmp_path / "lake")), "kafka").look()
    assert (seen.started, seen.behind, seen.under_way) == (True, 5, 1)


def unit(name: str, source: str = "drones", rows: int = 10) -> dict[str, object]:
    file = {"dataset": "positions", "path": name, "rows": rows, "bytes": 1}
    counts = dict.fromkeys(map(str, DOORS), 0) | {"positions": rows - 1, "dead_letters": 1, "duplicates": 0}
    return {
        "unit": name, "source": source, "path": "kafka:drones/0", "range_start": 0, "range_end": rows,
        "rows_in": rows, **counts, "counted": rows - 1, "files": [file, file],
    }  # fmt: skip


def test_what_was_committed_before_is_not_counted_and_the_rest_once(tmp_path: Path) -> None:
    root = str(tmp_path)
    commit(root, [unit("before")])
    committed = Committed(root)
    committed.look()
    assert committed.units == 0
    commit(root, [unit("a"), unit("b"), unit("c", "images", 5)])
    committed.look()
    commit(root, [unit("d")])
    committed.look()
    committed.look()
    assert (committed.units, committed.files) == (4, 8)
    assert (committed.of(ROWS_IN), committed.of("dead_letters")) == (35, 4)
    assert committed.rows["images"]["positions"] == 4


@pytest.mark.parametrize(
    ("said", "count"),
    [
        ("", 0),
        ("simulator: 9,022 published, 902 a second, 14 not acknowledged yet", 9_022),
        (
            "simulator: 9 published\nsimulator: 1,250 messages in 2.0 s\nsimulator: it did not keep up: 2 messages",
            1_250,
        ),
    ],
)
def test_the_simulator_says_what_it_has_published(said: str, count: int) -> None:
    assert published(said) == count


def test_the_next_steps_lead_to_the_lake() -> None:
    said = "\n".join(next_steps("s3://prestacop/lake", " --data /tmp/x", "kafka", ["s3"], True))
    assert "prestacop services up s3 --data /tmp/x" in said
    assert 'eval "$(prestacop services status s3 --env --data /tmp/x)"' in said
    assert "make analyze LAKE=s3://prestacop/lake" in said
    assert "not all" not in said
    here = "\n".join(next_steps("my/lake", "", "kafka", [], False))
    assert "prestacop services" not in here
    assert "not all that was published is in the lake: make live goes on from there" in here
    assert "Pub/Sub has ended" in "\n".join(next_steps("my/lake", "", "pubsub", ["pubsub"], False))


def test_the_screen_puts_lines_in_the_place_of_those_before(
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


def test_where_there_is_no_terminal_a_line_comes_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    assert not screen.is_terminal
    for line in ("one", "two"):
        screen.print(line)
    assert capsys.readouterr().out == "one\n"


@pytest.fixture
def make_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Child]:
    """Children of some lines of code."""
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    def make(code: str) -> Child:
        (tmp_path / "some_child.py").write_text(code)
        return Child("parrot", "some_child", ["hello"], tmp_path / "parrot.log")

    return make


def wait_until(so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not so():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.embedded
def test_a_child_that_ends_by_itself_is_named_with_what_it_said_last(make_child: Callable[[str], Child]) -> None:
    child = make_child("import sys; print('\\n'.join(map(str, range(50)))); sys.exit(f'{sys.argv} no more')")
    child.start()
    wait_until(lambda: not child.runs())
    with pytest.raises(ServiceUnavailable, match=r"(?s)the parrot ended with exit code 1; .*log ends so:\n.*no more$"):
        child.check()
    assert "some_child.py', 'hello'] no more" in child.said()
    with pytest.raises(ServiceUnavailable, match="exit code 1"):
        child.check_end()


LONG = "import time; print('ready', flush=True); time.sleep(300)"


@pytest.mark.embedded
def test_a_child_is_ended_and_one_that_was_killed_is_told(make_child: Callable[[str], Child]) -> None:
    child = make_child(LONG)
    child.start()
    wait_until(lambda: "ready" in child.said())
    child.check()
    child.kill()
    with pytest.raises(ServiceUnavailable, match="was killed by signal 9"):
        child.check()
    polite = make_child(f"import signal, sys; signal.signal(15, lambda *_: sys.exit(130)); {LONG}")
    polite.start()
    wait_until(lambda: "ready" in polite.said())
    polite.end()
    polite.check_end()
    assert not polite.runs()


@pytest.mark.embedded
def test_a_child_that_does_not_listen_is_killed_with_its_own(
    make_child: Callable[[str], Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children_module, "END_SECONDS", 0.5)
    child = make_child(
        "import signal, subprocess; signal.signal(15, signal.SIG_IGN)\n"
        f"process = subprocess.Popen(['sleep', '300']); print('pid', process.pid, flush=True); {LONG}"
    )
    child.start()
    wait_until(lambda: "ready" in child.said())
    own = psutil.Process(int(child.said().split()[1]))
    child.end()
    assert not child.runs()
    wait_until(lambda: not own.is_running() or own.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.embedded
def test_a_child_ends_when_its_parent_was_killed(make_child: Callable[[str], Child], tmp_path: Path) -> None:
    log = make_child(LONG).log
    code = f"""
import time
from pathlib import Path
from runners.live.children import Child
child = Child("parrot", "some_child", [], Path({str(log)!r}))
child.start()
print(child._process.pid, flush=True)
time.sleep(300)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        wait_until(lambda: log.exists() and "ready" in log.read_text())
        parent.kill()
    wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


@pytest.mark.embedded
def test_a_log_is_gone_on_with_has_times_is_the_owners_and_has_an_end(
    make_child: Callable[[str], Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children_module, "LOG_BYTES", 2_000)
    for word in ("first", "second"):
        child = make_child(f"print('{word}')")
        child.log.touch(0o644)
        child.start()
        wait_until(lambda child=child: not child.runs())  # type: ignore[misc]
        assert child.said() == f"{word}\n"
    lines = child.log.read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["first", "second"]
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ", line) for line in lines)
    child = make_child("print('x' * 100 + '\\n' * 5_000)")
    child.start()
    wait_until(lambda: not child.runs())
    child.said()
    logs = sorted(child.log.parent.glob("parrot.log*"))
    assert [log.name for log in logs] == ["parrot.log", *(f"parrot.log.{n}" for n in range(1, children_module.LOGS))]
    assert all(log.stat().st_size <= 2_000 for log in logs)
    assert {stat.S_IMODE(log.stat().st_mode) for log in logs} == {0o600}


@pytest.fixture
def handlers() -> Iterator[None]:
    """Signals are handled after the test as they were before."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize(
    ("error", "expected"),
    [(None, ["end"]), (ServiceUnavailable("gone"), ["end"]), (KeyboardInterrupt(), ["kill"])],
)
def test_what_was_started_is_ended_however_it_ends(error: BaseException | None, expected: list[str]) -> None:
    done: list[str] = []
    with (
        pytest.raises(type(error)) if error else nullcontext(),
        ended(lambda: done.append("end"), lambda: done.append("kill")),
    ):
        if error:
            raise error
    assert done == expected


@pytest.mark.usefixtures("handlers")
def test_a_second_interrupt_kills_what_was_asked_to_end() -> None:
    done: list[str] = []

    def end() -> None:
        done.append("end")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), ended(end, lambda: done.append("kill")):
        pass
    assert done == ["end", "kill"]


def test_a_folder_is_for_one_run_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path / "live"), pytest.raises(OutputUnusable, match="another live run"), alone(tmp_path / "live"):
        pass
    with alone(tmp_path / "live"):
        pass
