"""No message ends what reads it: it is kept or refused, with a reason, and what fails is seen in /readyz."""

import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.console import live, reading
from apps.console.console import Console
from apps.console.live import Panes
from apps.console.log import LINES_A_MINUTE, Bounded
from apps.console.readers import Read
from apps.console.topics import Follower
from apps.console.workers import Worker
from schemas.alerts import encode
from schemas.commands import Confirmation
from schemas.errors import ServiceUnavailable
from tests.apps.console.support import JPEG, Browser, Clock, alert, make_console, officer, picture
from tests.support import wait_until

WHEN = "2026-01-15T12:00:00.000000Z"
TOPICS = ("alerts", "images", "confirmations")
DEEP = b"[" * 5_000
GOOD = {
    "alerts": encode(alert("a", 1_768_478_400)),
    "images": picture("p", JPEG),
    "confirmations": msgspec.json.encode(Confirmation(command_id="c", drone_id="d", command="hold", time=WHEN)),
}
PANE = {
    **{"window_start": WHEN, "window_seconds": 10, "dataset": "qualified", "violation_code": 21, "n": 1},
    **{"timing": "early", "areas": {"40.75,-73.99": 1}},
}
POISON = (
    *(
        DEEP,
        b'{"x":' + DEEP,
        b'"\xff"',
        b'{"command_id":"\xff"}',
        b"",
        b"\x00",
        b"null",
        b"1e999",
        b'{"schema_version":1}',
    ),
    *(b"1768478400;\xff;/9j/", b";;", b'{"a":"\\ud800"}', b"9" * 5_000, b"{" * 70_000),
)


ODD: st.SearchStrategy[object] = st.one_of(
    st.sampled_from((1e308, -1e308, 10**30, -1, "", "9" * 900, "2026-01-15T12:00:00", None, True, [], {})),
    st.sampled_from(("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00")),
    st.text(max_size=20),
    st.floats(),
    st.integers(),
)


@pytest.fixture
def supervisor(console: Console) -> Iterator[Browser]:
    browser = officer(console, "supervisor")
    with browser.client:  # one event loop for all requests
        yield browser


def take(console: Console, topic: str, payloads: list[bytes], at: int = 1) -> None:
    """As the follower of a topic does."""
    takers = {"alerts": console.desk.take, "images": console.pictures.take, "confirmations": console.drones.take}
    takers[topic](payloads, {0: at})


@pytest.mark.parametrize("topic", TOPICS)
def test_an_invalid_message_is_refused_with_a_reason_and_the_others_of_its_batch_are_kept(
    console: Console, topic: str
) -> None:
    take(console, topic, [*POISON, GOOD[topic]], 7)
    rows = console.database.rows("SELECT reason FROM refused WHERE topic = ?", topic)
    assert len(rows) == len(POISON)
    assert all(row["reason"] for row in rows)
    assert reading.positions(console.database, topic) == {0: 7}


def _spoilt(good: bytes) -> st.SearchStrategy[bytes]:
    """A message with some of its bytes replaced, cut out or repeated."""

    def spoil(at: int, length: int, filler: bytes, times: int) -> bytes:
        at %= len(good)
        return good[:at] + filler * times + good[at + length :]

    odd = st.sampled_from(
        (b"[", b'"', b"\xff", b"\\ud800", b"1e308", b"-", b"9" * 40, b"null", b"\x00", b"0001-01-01T00:00:00+14:00")
    )
    return st.builds(
        spoil, st.integers(0, 10_000), st.integers(0, 30), odd | st.binary(max_size=4), st.integers(0, 2_000)
    )


@pytest.mark.parametrize("topic", TOPICS)
@given(data=st.data())
def test_whatever_comes_nothing_raises(console: Console, topic: str, data: st.DataObject) -> None:
    payload = data.draw(_spoilt(GOOD[topic]) | st.binary(max_size=100))
    take(console, topic, [payload])


@given(data=st.data())
def test_a_field_of_an_alert_may_be_anything_and_every_page_is_there(
    console: Console, supervisor: Browser, data: st.DataObject
) -> None:
    fields = msgspec.json.decode(GOOD["alerts"])
    name = data.draw(st.sampled_from(sorted(fields)))
    fields[name] = data.draw(ODD)
    take(console, "alerts", [msgspec.json.encode(fields)])
    held = console.desk.pick("officer")
    for path in ("/queue", "/queue/list", "/live", "/audit", "/drones"):
        assert supervisor.get(path).status_code == 200
    if held is not None:
        assert console.desk.answer("officer", held.lease, 40) is not None


@given(data=st.data())
def test_no_line_of_the_panes_raises_and_the_page_is_there(tmp_path: Path, data: st.DataObject) -> None:
    good = msgspec.json.encode(PANE)
    line = data.draw(_spoilt(good) | st.binary(max_size=100))
    (tmp_path / "panes").write_bytes(line.replace(b"\n", b" ") + b"\n" + good + b"\n")
    panes = Panes(tmp_path / "panes")
    assert panes.poll(1_768_478_460)
    assert panes.figures.panes >= 1
    assert panes.figures.violations_by_minute(60, 1_768_478_460)


@pytest.mark.parametrize(
    "fields",
    [
        {"window_start": "0001-01-01T00:00:00+14:00"},
        {"window_start": "2026-01-15T12:00:00"},
        {"n": 10**400},
        {"n": -1},
        {"window_seconds": 10**30},
        {"violation_code": 10**10},
        {"areas": {"nan,nan": 1}},
        {"areas": {"1e308,0": 1}},
        {"areas": {"north": 1}},
        {"dataset": "x" * 100},
    ],
)
def test_a_line_that_is_no_pane_is_counted_and_shown(tmp_path: Path, fields: dict[str, object]) -> None:
    path = tmp_path / "panes"
    spoilt = msgspec.json.encode({**PANE, **fields, "n": 1} if "n" not in fields else PANE)
    if "n" in fields:
        spoilt = spoilt.replace(b'"n":1', f'"n":{fields["n"]}'.encode())
    path.write_bytes(spoilt + b"\n" + DEEP + b"\n" + msgspec.json.encode(PANE) + b"\n")
    console = make_console(tmp_path / "state", panes=path)
    assert console.panes is not None
    console.panes.poll(time.time())
    assert console.panes.unreadable == 2
    assert "2 lines of the file of panes could not be used" in officer(console).get("/live").text
    console.stop()


def test_a_line_without_an_end_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MOST_BYTES", 1_000)
    path = tmp_path / "panes"
    panes = Panes(path)
    now = time.time()
    good = msgspec.json.encode({**PANE, "window_start": datetime.now(UTC)}) + b"\n"
    path.write_bytes(good)
    panes.poll(now)
    with path.open("ab") as file:
        file.write(b"x" * 2_500 + b"\n" + good)
    while panes.poll(now) or panes.figures.panes < 2:
        pass
    assert panes.unreadable == 3


def test_of_many_refused_messages_the_newest_are_kept_and_the_others_are_counted(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST_REFUSED", 10)
    for at in range(5):
        take(console, "alerts", [b"%d" % (at * 8 + n) + b"x" * 5_000 for n in range(8)])
    take(console, "images", [b"junk"])
    rows = console.database.rows("SELECT * FROM refused WHERE topic = 'alerts' ORDER BY number")
    assert [row["payload"].split(b"x")[0] for row in rows] == [b"%d" % n for n in range(30, 40)]
    assert max(len(row["payload"]) for row in rows) == reading.KEPT_BYTES
    assert reading.refused(console.database) == 41
    assert "41 messages could not be used" in officer(console).get("/queue").text


class _Poison:
    """A topic whose reader raises at first, whatever it likes."""

    def __init__(self, errors: list[BaseException]) -> None:
        self.errors = errors

    def read(self, seconds: float) -> Read:
        time.sleep(0.01)
        if self.errors:
            raise self.errors.pop()
        return Read([], {})

    def waiting(self) -> None: ...

    def done(self, read: Read) -> None: ...

    def close(self) -> None: ...


@pytest.mark.parametrize("error", [RecursionError("deep"), MemoryError(), SystemExit(1), ServiceUnavailable("away")])
def test_any_error_of_a_thread_is_shown_and_the_thread_continues(
    console: Console, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr("apps.console.workers.FIRST_NAP_S", 0.2)
    topic = _Poison([error, error])
    follower = Follower("alerts", lambda: topic, console.desk.take)
    console._followers.append(follower)
    follower.start()
    browser = Browser(console)
    wait_until(lambda: browser.get("/readyz").json()["parts"] == ["alerts"])
    assert console.topics() == {"alerts": follower.trouble}
    assert browser.get("/readyz").status_code == 200  # pages are served, and say that the topic fails
    wait_until(lambda: follower.trouble == "")
    assert browser.get("/readyz").json() == {"ok": True, "parts": []}
    assert not topic.errors


def test_a_thread_that_is_dead_is_a_trouble() -> None:
    worker = Worker("alerts", lambda stopping: None)
    worker._run = lambda: None  # type: ignore[method-assign]
    worker._thread = threading.Thread(target=worker._run)
    worker.start()
    worker._thread.join()
    assert worker.trouble == "the thread for alerts has ended: start the console again"


def test_the_log_has_a_bound_and_says_how_much_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    bounded, passed = Bounded(clock), []

    def junk() -> None:
        record = logging.LogRecord("x", logging.WARNING, __file__, 1, "junk %s", ("\x1b[2J",), None)
        if bounded.filter(record):
            passed.append(record.getMessage())

    clock.now = 600.0
    for _ in range(100_000):
        junk()
    assert len(passed) == LINES_A_MINUTE
    clock.now += 60
    junk()
    assert passed[-1].endswith("(99995 more of these were not logged)")
