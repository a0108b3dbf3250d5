"""A flood of valid alerts and pictures: what the console keeps has a bound, and none that waits is lost."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from apps.console import desk, events, kafka_topics, pictures, streams, topics
from apps.console.access import Role
from apps.console.console import Console
from apps.console.kafka_topics import KafkaReader
from apps.console.readers import Read
from apps.console.streams import Streams
from apps.console.topics import Follower
from messaging.urls import KafkaUrl
from schemas.alerts import encode
from tests.apps.console.support import JPEG, PASSWORD, Browser, Clock, alert, make_console, officer, picture
from tests.apps.console.support import raise_alerts as come
from tests.apps.topics import MockKafka
from tests.support import wait_until


class _Topic:
    """One partition of a topic, read ten messages at a time from where the console has read to."""

    def __init__(self, payloads: list[bytes], says_how_many: bool = True) -> None:
        self.payloads = payloads
        self.at = 0
        self._says_how_many = says_how_many

    def read(self, seconds: float) -> Read:
        found = self.payloads[self.at : self.at + 10]
        if not found:
            time.sleep(0.01)
        return Read(found, {0: self.at + len(found)})

    def waiting(self) -> int | None:
        return len(self.payloads) - self.at if self._says_how_many else None

    def done(self, read: Read) -> None:
        self.at += len(read.payloads)

    def close(self) -> None: ...


@contextmanager
def _followed(console: Console, topic: _Topic, *, images: bool = False) -> Iterator[Follower]:
    """The console reads a topic."""
    part = console.pictures if images else console.desk
    follower = Follower("images" if images else "alerts", lambda: topic, part.take, part.has_room)
    console._followers.append(follower)
    follower.start()
    try:
        yield follower
    finally:
        follower.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "FULL_NAP_S", 0.01)


def _answer(console: Console, n: int) -> list[str]:
    """Answer the oldest; their message_ids."""
    found = []
    for _ in range(n):
        held = console.desk.pick("officer")
        assert held is not None
        found.append(held.alert["message_id"])
        console.desk.answer("officer", held.lease, 40)
    return found


@pytest.mark.parametrize(("bound", "most"), [("MOST_OPEN", 30), ("OPEN_BYTES", 12_000)])
def test_a_flood_of_alerts_waits_in_its_topic_and_each_is_answered_in_the_end(
    console: Console, clock: Clock, monkeypatch: pytest.MonkeyPatch, bound: str, most: int
) -> None:
    monkeypatch.setattr(desk, bound, most)
    topic = _Topic([encode(alert(f"m{at:03}", clock.now - 600 + at)) for at in range(130)])
    with _followed(console, topic) as follower:
        wait_until(lambda: follower.backlog is not None)
        here = topic.at
        assert 30 <= here < 60
        browser = Browser(console)
        wait_until(lambda: browser.get("/readyz").json().get("full") == {"alerts": 130 - here})
        assert browser.get("/readyz").status_code == 200
        viewer = officer(console, "viewer")
        for page in ("/queue", "/queue/list", "/live"):
            assert f"{130 - here} more wait in the topic of alerts: the queue is full" in viewer.get(page).text
        answered: list[str] = []
        while len(answered) < 130:
            wait_until(lambda: console.desk._size(answered=False)[0])
            assert console.desk._size(answered=False)[0] < 60
            answered += _answer(console, 1)
        assert sorted(answered) == [f"m{at:03}" for at in range(130)]
        assert answered[:here] == [f"m{at:03}" for at in range(here)]
        wait_until(lambda: follower.backlog is None)
        assert browser.get("/readyz").json() == {"ok": True, "parts": []}


def test_a_service_without_a_backlog_count_is_accepted(
    console: Console, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "MOST_OPEN", 5)
    topic = _Topic([encode(alert(f"m{at}", clock.now)) for at in range(30)], says_how_many=False)
    with _followed(console, topic) as follower:
        wait_until(lambda: follower.backlog is not None)
        assert Browser(console).get("/readyz").json() == {"ok": True, "parts": [], "full": {"alerts": None}}
        assert "More wait in the topic of alerts" in officer(console).get("/queue").text


@pytest.mark.parametrize(("bound", "most"), [("MOST_ANSWERED", 10), ("ANSWERED_BYTES", 10 * 380)])
def test_of_answered_alerts_the_newest_are_kept_and_none_that_is_open_or_unpublished_goes(
    console: Console, clock: Clock, monkeypatch: pytest.MonkeyPatch, bound: str, most: int
) -> None:
    monkeypatch.setattr(desk, bound, most)
    come(console, *(alert(f"m{at:02}", clock.now - 600 + at) for at in range(40)))
    _answer(console, 30)
    console.desk.tidy()
    assert console.desk._size(answered=True)[0] == 30  # nothing is published yet
    with console.database.transaction() as connection:
        connection.execute("UPDATE outbox SET published_at = 1 WHERE number > 3")
    console.desk.tidy()
    left = [row["message_id"] for row in console.database.rows("SELECT message_id FROM alerts ORDER BY id")]
    assert left[:3] == ["m00", "m01", "m02"]
    assert left[-10:] == [f"m{at}" for at in range(30, 40)]
    assert 10 <= len(left) - 10 <= 13
    answers = console.database.number("SELECT count(*) FROM answers")
    assert answers == console.database.number("SELECT count(*) FROM outbox") == len(left) - 10
    assert console.database.number("SELECT count(*) FROM leases") == answers
    assert officer(console).get("/queue").status_code == 200


def test_an_alert_with_a_known_id_and_other_content_is_refused_and_one_that_is_raised_again_is_not(
    console: Console, clock: Clock
) -> None:
    first = alert("a", clock.now)
    again = alert("a", clock.now, alert_time="2026-01-15T12:00:00.000000Z")
    come(console, first, again)
    assert console.database.number("SELECT count(*) FROM refused") == 0
    come(console, alert("a", clock.now, plate_id="ANOTHER"))
    (row,) = console.database.rows("SELECT reason FROM refused")
    assert row["reason"] == "conflict: another alert is known by message_id a"
    (kept,) = console.database.rows("SELECT payload FROM alerts")
    assert kept["payload"] == encode(first)


def _jpeg(at: int, size: int = 1_000) -> bytes:
    return JPEG + b"%d" % at + b"x" * (size - len(JPEG))


def _files(console: Console) -> list[Path]:
    return list(console.pictures._folder.iterdir())


@pytest.mark.parametrize(("bound", "most"), [("MOST_PICTURES", 20), ("KEPT_BYTES", 20_000)])
def test_pictures_of_open_alerts_stay_and_more_wait_in_their_topic(
    console: Console, clock: Clock, monkeypatch: pytest.MonkeyPatch, bound: str, most: int
) -> None:
    monkeypatch.setattr(pictures, bound, most)
    if bound == "KEPT_BYTES":
        monkeypatch.setattr(pictures.Pictures.tidy, "__defaults__", (most,))
    come(console, *(alert(f"m{at:02}", clock.now - 600 + at) for at in range(60)))
    topic = _Topic([picture(f"image of m{at:02}", _jpeg(at)) for at in range(60)])
    with _followed(console, topic, images=True) as follower:
        wait_until(lambda: follower.backlog is not None)
        here = topic.at
        assert 20 <= here < 40
        assert len(_files(console)) == here
        assert f"{60 - here} more wait in the topic of images" in officer(console).get("/queue").text
        seen = []
        for at in range(60):
            wait_until(lambda at=at: console.pictures.of(at + 1))  # type: ignore[misc]
            found = console.pictures.of(at + 1)
            assert found is not None
            seen.append(found.read_bytes())
            _answer(console, 1)
        assert seen == [_jpeg(at) for at in range(60)]
        wait_until(lambda: follower.backlog is None)
    assert len(_files(console)) < 40


@pytest.mark.parametrize("alerts_wait", [False, True])
def test_a_picture_that_no_alert_names_goes_last_and_stays_while_alerts_wait(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, alerts_wait: bool
) -> None:
    monkeypatch.setattr(pictures, "MOST_PICTURES", 20)
    monkeypatch.setattr(Console, "_alerts_wait", lambda console: alerts_wait)
    made = make_console(tmp_path / "state", clock)
    come(made, alert("a", clock.now))
    made.pictures.take([picture(f"later {at}", _jpeg(at)) for at in range(10)], {})
    clock.now += 1
    made.pictures.take([picture("image of a", _jpeg(99))], {})
    _answer(made, 1)
    clock.now += 1
    made.pictures.take([picture(f"more {at}", _jpeg(200 + at)) for at in range(9)], {})
    names = [row["image_id"] for row in made.database.rows("SELECT image_id FROM pictures ORDER BY came_at, image_id")]
    assert "image of a" not in names
    assert names[:10] == [f"later {at}" for at in range(10)]
    made.pictures.take([picture(f"still more {at}", _jpeg(300 + at)) for at in range(9)], {})
    left = made.database.number("SELECT count(*) FROM pictures")
    assert (left, made.pictures.has_room()) == ((28, False) if alerts_wait else (19, True))
    made.stop()


def test_files_that_no_picture_has_do_not_stay(console: Console, clock: Clock, tmp_path: Path) -> None:
    console.pictures.take([picture("a", _jpeg(at)) for at in range(50)], {})
    console.pictures.take([picture("a", _jpeg(at)) for at in range(50)], {})
    (kept,) = _files(console)
    assert kept.read_bytes() == _jpeg(0)
    folder = console.pictures._folder
    for name in ("0.jpg.part", "1.jpg"):
        (folder / name).write_bytes(b"left by a console that was killed")
    again = pictures.Pictures(console.database, folder, clock, lambda: None)
    assert _files(console) == [kept]
    console.database.number(f"PRAGMA max_page_count = {console.database.number('PRAGMA page_count')}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        again.take([picture(f"n{at}", _jpeg(at)) for at in range(400)], {})
    known = {row["file"] for row in console.database.rows("SELECT file FROM pictures")}
    assert {path.name for path in _files(console)} == known


def test_kafka_reports_its_backlog_and_a_read_is_limited_in_bytes(
    mock_kafka: MockKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_topics, "_BYTES_AT_ONCE", 50_000)
    producer = Producer({"bootstrap.servers": mock_kafka.address})
    for at in range(40):
        producer.produce("flood", b"%d" % at + b"x" * 10_000, partition=at % 4)
    producer.flush(30)
    with closing(KafkaReader(KafkaUrl(mock_kafka.address, "flood", {}), {0: 5})) as reader:
        assert reader.waiting() == 35
        got = 0
        deadline = time.monotonic() + 60
        while got < 35 and time.monotonic() < deadline:
            read = reader.read(1)
            assert sum(map(len, read.payloads)) < 61_000
            got += len(read.payloads)
            assert reader.waiting() == 35 - got
    assert got == 35


_ENDINGS: dict[str, Callable[[Console, Browser], object]] = {
    "logout": lambda console, browser: browser.post("/password", "/logout"),
    "reset": lambda console, browser: console.accounts.reset("officer"),
    "lock": lambda console, browser: console.accounts.change("officer", Role.OFFICER, active=False),
    "role": lambda console, browser: console.accounts.change("officer", Role.VIEWER, active=True),
    "password": lambda console, browser: officer(console).post(
        *("/password", "/password"), old=PASSWORD, new="another good one", again="another good one"
    ),
}


@pytest.mark.parametrize("path", ["/queue/events", "/live/events", "/desk/events?lease="])
@pytest.mark.parametrize("how", _ENDINGS)
def test_a_stream_ends_with_its_session(
    console: Console, clock: Clock, monkeypatch: pytest.MonkeyPatch, path: str, how: str
) -> None:
    monkeypatch.setattr(events, "_POLL_S", 0.01)
    monkeypatch.setattr(events, "_CHECK_S", 0.02)
    come(console, alert("a", clock.now))
    held = console.desk.pick("officer")
    assert held is not None
    browser = officer(console)
    ended: list[bool] = []

    def after_a_while(session: object) -> bool:
        if not ended and asked:
            ended.append(bool(_ENDINGS[how](console, browser)) or True)
        asked.append(True)
        return is_open(session)  # type: ignore[arg-type]

    asked: list[bool] = []
    is_open = console.accounts.is_open
    monkeypatch.setattr(console.accounts, "is_open", after_a_while)
    response = browser.get(path + (held.lease if path.endswith("=") else ""))  # it would have no end
    assert "event: changed\ndata: " in response.text
    assert len(asked) < 10
    assert ended
    part = browser.client.get("/queue/list", headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["hx-redirect"]) == (204, "/login")


def test_a_stream_ends_with_the_shift(console: Console, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_CHECK_S", 0.02)
    browser = officer(console)
    is_open = console.accounts.is_open

    def later(session: object) -> bool:
        clock.now += 13 * 3600
        return is_open(session)  # type: ignore[arg-type]

    monkeypatch.setattr(console.accounts, "is_open", later)
    assert browser.get("/live/events").text.endswith("data: logged out\n\n")


def test_an_account_has_a_bounded_number_of_streams_and_the_newest_stay() -> None:
    opened = Streams()
    first = [opened.open("officer") for _ in range(streams.MOST_STREAMS + 5)]
    made = [each.__enter__() for each in first]
    with opened.open("viewer") as other:
        assert [each.has_ended for each in made] == [True] * 5 + [False] * streams.MOST_STREAMS
        assert not other.has_ended
    for each in first:
        each.__exit__(None, None, None)
    assert not opened._open


def test_a_stream_that_has_to_make_room_ends(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MOST_STREAMS", 1)
    monkeypatch.setattr(console.accounts, "is_open", lambda session: console.streams.open("officer").__enter__())
    monkeypatch.setattr(events, "_CHECK_S", 0.02)
    assert officer(console).get("/queue/events").text.startswith("retry: 2000")


def test_the_head_of_a_stream_is_no_stream(console: Console) -> None:
    answer = officer(console).client.head("/queue/events")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
