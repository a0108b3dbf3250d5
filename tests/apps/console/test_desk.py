"""Alerts, leases and answers, without a browser."""

import base64
import json
import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.console import live
from apps.console.codes import Codes, read_codes
from apps.console.console import KEY, Console
from apps.console.desk import LEASE_SECONDS
from apps.console.drones import CONFIRMATIONS
from apps.console.figures import USUAL, likely_codes
from apps.console.live import Panes
from apps.console.outbox import ANSWERS, Outbox, Posted
from apps.console.presence import GRACE_SECONDS, Presence
from apps.console.readers import Read
from apps.console.reading import positions
from apps.console.rendering import duration
from apps.console.topics import Follower
from schemas.alerts import encode
from schemas.answers import load_public_keys, verify
from schemas.console_state import PUBLIC_KEY
from schemas.errors import InputUnusable, OutputUnusable, ServiceUnavailable
from schemas.messages import DroneMessage, Reason
from tests.apps.console.support import JPEG, Clock, alert, make_console, officer, outbox, picture, raise_alerts
from tests.support import wait_until


@pytest.fixture
def console(console: Console, clock: Clock) -> Console:
    """With two alerts."""
    raise_alerts(console, alert("old", clock.now - 60), alert("new", clock.now - 10))
    return console


def test_a_redelivered_alert_is_the_same_alert(console: Console, clock: Clock) -> None:
    raise_alerts(console, alert("old", clock.now))
    held = console.desk.pick("officer")
    assert held is not None
    console.desk.answer("officer", held.lease, 40)
    raise_alerts(console, alert("old", clock.now + 5))
    assert console.database.number("SELECT count(*) FROM alerts") == 2
    assert console.database.number("SELECT count(*) FROM alerts WHERE answered = 0") == 1


@pytest.mark.parametrize(
    ("how", "command"), [("answered", False), ("handed back", False), ("deadline", True), ("gone", True)]
)
def test_only_an_alert_that_an_officer_did_not_end_is_lost(
    console: Console, clock: Clock, how: str, command: bool
) -> None:
    held = console.desk.pick("officer")
    assert held is not None
    assert not console.desk.lost("officer", held.lease)
    assert console.desk.lost("somebody else", held.lease)
    if how == "answered":
        console.desk.answer("officer", held.lease, 40)
    elif how == "deadline":
        clock.now = held.deadline
    else:
        console.desk.end(held.lease, how)  # type: ignore[arg-type]
    assert console.desk.lost("officer", held.lease) is command


def test_an_invalid_alert_is_stored_with_its_reason_and_the_position_advances(console: Console) -> None:
    console.desk.take([b"\xff no alert", b'{"schema_version":1}'], {0: 17, 3: 5})
    refused = console.database.rows("SELECT payload, reason FROM refused")
    assert [row["payload"] for row in refused] == [b"\xff no alert", b'{"schema_version":1}']
    assert "message_id" in refused[1]["reason"]
    assert positions(console.database, "alerts") == {0: 17, 3: 5}


def test_a_leased_alert_is_given_to_no_other_officer_and_the_order_is_as_requested(console: Console) -> None:
    first, second = console.desk.pick("officer", "newest"), console.desk.pick("supervisor", "newest")
    assert first is not None
    assert second is not None
    assert [held.alert["message_id"] for held in (first, second)] == ["new", "old"]
    assert console.desk.pick("viewer") is None
    assert console.desk.pick("viewer", alert=first.alert["id"]) is None
    assert console.desk.pick("officer", alert=second.alert["id"]) == first


def test_the_database_itself_refuses_a_second_holder(console: Console) -> None:
    held = console.desk.pick("officer")
    assert held is not None
    with pytest.raises(sqlite3.IntegrityError), console.database.transaction() as connection:
        connection.execute("INSERT INTO leases VALUES ('x', ?, 'supervisor', 0, 9e9, NULL, NULL)", [held.alert["id"]])


def test_a_lease_comes_back_at_its_deadline_or_by_hand(console: Console, clock: Clock) -> None:
    held = console.desk.pick("officer")
    assert held is not None
    clock.now += LEASE_SECONDS - 1
    assert console.desk.held("officer") == held
    clock.now += 1
    assert console.desk.held("officer") is None
    again = console.desk.pick("supervisor")
    assert again is not None
    assert again.alert["message_id"] == "old"
    assert not console.desk.end(again.lease, "handed back", "officer")
    assert console.desk.end(again.lease, "handed back", "supervisor")
    assert console.desk.pick("officer", alert=again.alert["id"]) is not None


def test_an_answer_is_the_alert_again_signed_by_the_consoles_key(
    console: Console, clock: Clock, tmp_path: Path
) -> None:
    held = console.desk.pick("officer")
    assert held is not None
    clock.now += 3
    answered = console.desk.answer("officer", held.lease, 40)
    assert answered is not None
    assert (answered.counts, round(answered.seconds), round(answered.waited)) == (True, 3, 63)
    (sent,) = outbox(console)
    message = msgspec.convert(sent, DroneMessage)
    assert (message.answers, message.officer_id, message.status) == ("old", "officer", "officer")
    assert (message.violation_code, message.plate_id, message.latitude) == (40, "ABC1234", 40.758)
    keys = load_public_keys(tmp_path / "state" / PUBLIC_KEY)
    assert verify(message, keys)
    assert not verify(msgspec.structs.replace(message, violation_code=14), keys)
    private = [tmp_path / "state" / KEY, *(tmp_path / "state").glob("console.sqlite*")]
    assert len(private) == 4
    assert all(path.stat().st_mode & 0o077 == 0 for path in private)


def test_a_repeated_answer_under_one_lease_is_idempotent(console: Console) -> None:
    held = console.desk.pick("officer")
    assert held is not None
    first = console.desk.answer("officer", held.lease, 40)
    assert console.desk.answer("officer", held.lease, 14) == first
    assert len(outbox(console)) == 1
    assert console.desk.answer("supervisor", held.lease, 14) is None
    assert console.desk.answer("officer", "no lease", 14) is None


def test_the_first_of_two_answers_counts_and_the_second_is_kept_and_marked(console: Console, clock: Clock) -> None:
    slow = console.desk.pick("officer")
    assert slow is not None
    clock.now += LEASE_SECONDS
    quick = console.desk.pick("supervisor")
    assert quick is not None
    assert quick.alert["id"] == slow.alert["id"]
    first, second = console.desk.answer("officer", slow.lease, 40), console.desk.answer("supervisor", quick.lease, 0)
    assert first is not None
    assert second is not None
    assert (first.counts, second.counts) == (True, False)
    assert [(sent["answers"], sent["violation_code"]) for sent in outbox(console)] == [("old", 40), ("old", 0)]
    assert len({sent["message_id"] for sent in outbox(console)}) == 2


class Broker:
    """Takes what is published, unless it is away."""

    def __init__(self) -> None:
        self.away = False
        self.got: list[Posted] = []

    def publish(self, messages: Sequence[Posted]) -> None:
        if self.away:
            raise ServiceUnavailable("away")
        self.got += messages

    def close(self) -> None: ...


def test_what_the_broker_does_not_take_waits_and_is_published_with_the_same_id(console: Console) -> None:
    broker = Broker()
    box = Outbox(console.database, ANSWERS, broker)
    held = console.desk.pick("officer")
    assert held is not None
    console.desk.answer("officer", held.lease, 40)
    broker.away = True
    with pytest.raises(ServiceUnavailable):
        box.publish_waiting()
    broker.away = False
    assert (box.publish_waiting(), box.publish_waiting()) == (1, 0)
    assert [each.message_id for each in broker.got] == [sent["message_id"] for sent in outbox(console)]
    assert broker.got[0].key == "drone-0001"


def test_a_browser_that_does_not_reconnect_in_time_is_absent(clock: Clock) -> None:
    presence = Presence(clock)
    with presence.listening("a"), presence.listening("b"):
        pass
    clock.now += GRACE_SECONDS - 1
    assert presence.gone() == []
    with presence.listening("a"):
        clock.now += 60
        assert presence.gone() == ["b"]
        assert presence.gone() == []


def test_a_second_console_over_the_same_state_is_refused(console: Console, tmp_path: Path) -> None:
    with pytest.raises(OutputUnusable, match="another console uses this folder"):
        make_console(tmp_path / "state")


def test_pictures_are_kept_by_name_and_old_ones_go_but_never_those_of_open_alerts(
    console: Console, clock: Clock, tmp_path: Path
) -> None:
    def message(name: str, data: str) -> bytes:
        return (
            f'{{"schema_version":1,"image_id":"{name}","event_time":"2026-01-15T12:00:00Z","data":"{data}"}}'.encode()
        )

    console.pictures.take(
        [
            picture("image of old", JPEG),
            b"1768478400;gone;" + base64.b64encode(JPEG + b"another"),
            message("bad", "!!"),
            message("png", "iVBO"),
            picture("huge", JPEG.replace(b"\x00\x10\x00\x20", b"\xff\xff\xff\xff")),
        ],
        {0: 4},
    )
    found = console.pictures.of(1)
    assert found is not None
    assert found.read_bytes() == JPEG
    reasons = [row["reason"].partition(":")[0] for row in console.database.rows("SELECT reason FROM refused")]
    assert reasons == [Reason.IMAGE_NOT_BASE64, Reason.IMAGE_NOT_JPEG, Reason.IMAGE_TOO_MANY_PIXELS]
    console.pictures.tidy(kept_bytes=0)
    assert [row["image_id"] for row in console.database.rows("SELECT image_id FROM pictures")] == ["image of old"]
    assert [path.name for path in (tmp_path / "state" / "pictures").iterdir()] == [found.name]


def test_the_picture_of_the_desk_is_requested_by_its_lease(console: Console) -> None:
    browser = officer(console)
    held = console.desk.pick("officer")
    assert held is not None
    path = f"/desk/picture?lease={held.lease}"
    assert "No picture has come" in browser.get(path).text
    console.pictures.take([picture("image of old", JPEG)], {})
    part = browser.get(path).text
    assert f'src="/pictures/{held.alert["id"]}?p"' in part
    assert "sse:" not in part
    assert "form" not in part
    for other in ("/desk/picture?lease=another", "/desk/picture"):
        answer = browser.get(other)
        assert (answer.status_code, answer.text) == (204, "")


def test_a_command_is_confirmed_once(console: Console, clock: Clock) -> None:
    console.drones.command("supervisor", "drone-0007", "return")
    (command,) = outbox(console, "commands")
    assert (command["drone_id"], command["command"]) == ("drone-0007", "return")
    clock.now += 4
    console.drones.take([msgspec.json.encode(command), b"{}"], {0: 2})
    clock.now += 4
    console.drones.take([msgspec.json.encode(command)], {0: 3})
    (row,) = console.drones.newest_commands()
    assert round(row["confirmed_at"] - row["given_at"]) == 4
    assert console.database.number("SELECT count(*) FROM refused WHERE topic = ?", CONFIRMATIONS) == 1


def test_codes_are_found_by_number_and_by_words(tmp_path: Path) -> None:
    table = tmp_path / "codes.csv"
    table.write_text("CODE,DEFINITION,FINE\n4,BUS  LANE,1\n40,FIRE HYDRANT,115\n41,FIRE LANE,0\n")
    codes = read_codes(table)
    assert codes.find("40") == codes.find("hyd") == codes.find(" fire HYDRANT ") == [40]
    assert codes.find("lane") == [4, 41]
    assert codes.find("0") == codes.find("no violation") == [0]
    assert codes.find("99") == codes.find("") == codes.find("zzz") == []
    assert codes.name(4) == "BUS LANE"
    assert read_codes(None).find("hydrant") == [40]
    assert read_codes(None).find("95") == [95]
    table.write_text("code,name\n1,x\n")
    with pytest.raises(InputUnusable, match="no column CODE"):
        read_codes(table)
    table.write_text("CODE,DEFINITION\n100,x\n")
    with pytest.raises(InputUnusable, match="from 1 to 99"):
        read_codes(table)


def test_the_codes_of_the_latest_answers_come_first_and_then_the_usual_ones(console: Console, clock: Clock) -> None:
    assert likely_codes(console.database) == list(USUAL)
    raise_alerts(console, *(alert(f"a{n}", clock.now) for n in range(4)))
    for code in (45, 99, 45, 0, 0, 0):
        held = console.desk.pick("officer")
        assert held is not None
        console.desk.answer("officer", held.lease, code)
    assert likely_codes(console.database) == [45, 99, *USUAL[:-2]]
    assert list(console.codes.beginning_with([45, 99])) == [45, 0, 14, 21, 40]


@given(st.text(max_size=50))
def test_whatever_is_typed_finds_codes_of_the_table_alone(text: str) -> None:
    codes = Codes({14: "NO STANDING", 40: "FIRE HYDRANT"})
    assert set(codes.find(text)) <= {0, 14, 40}


def test_of_a_long_file_of_panes_the_end_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pane = {"window_start": datetime.now(UTC).isoformat(), "window_seconds": 10, "dataset": "qualified"}
    lines = [json.dumps(pane | {"violation_code": code, "n": 1, "timing": "early"}) + "\n" for code in range(10, 99)]
    (tmp_path / "panes").write_text("".join(lines))
    monkeypatch.setattr(live, "MOST_BYTES", 2 * len(lines[0]) + 5)
    panes = Panes(tmp_path / "panes")
    assert panes.poll(time.time())
    assert set(panes.figures.codes) == {97, 98}
    assert not panes.unreadable


def test_panes_are_summed_and_a_truncated_file_is_counted_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "panes"
    now = time.time()
    panes = Panes(path)
    assert not panes.poll(now)

    def line(dataset: str | None, n: int, timing: str = "early", code: int | None = None, at: float = now) -> str:
        start = datetime.fromtimestamp(at, UTC).isoformat()
        pane = {"window_start": start, "window_seconds": 10, "dataset": dataset, "violation_code": code}
        return json.dumps(pane | {"n": n, "timing": timing}) + "\n"

    whole = line("qualified", 3, code=21) + line("unqualified", 1, code=0) + line("qualified", 2, "late", 21)
    half = line("qualified", 9, "too_late", 21)
    path.write_text(whole + half[:20])
    assert panes.poll(now)
    assert (panes.figures.codes[21], panes.figures.late, panes.figures.too_late) == (5, 2, 0)
    with path.open("a") as file:
        file.write(half[20:] + line(None, 0, "on_time") + line("qualified", 1, code=5, at=now + 90_000) + "no pane\n")
    assert panes.poll(now)
    assert (panes.figures.too_late, panes.figures.totals["qualified"]) == (9, 5)
    assert panes.figures.violations_by_minute(2, now)[-1][1:] == (5, 1)
    lag = panes.figures.lag_seconds(now + 15)
    assert lag is not None
    assert round(lag) == 5
    assert panes.unreadable == 1
    path.write_text(line("qualified", 1, code=7))
    assert panes.poll(now)
    assert panes.figures.totals["qualified"] == 1
    assert sum(panes.figures.parts.values()) == 1


def test_durations_are_read_by_people() -> None:
    assert [duration(seconds) for seconds in (0, 59.9, 60, 86_400)] == ["0.0 s", "59 s", "1 min 0 s", "1 d 0 h"]


class _Topic:
    """A topic with one message, which comes until it is kept."""

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self.kept = False

    def read(self, seconds: float) -> Read:
        time.sleep(0.01)
        return Read([] if self.kept else [self.payload], {})

    def waiting(self) -> None: ...

    def done(self, read: Read) -> None:
        self.kept = True

    def close(self) -> None:
        pass


def test_a_full_disk_is_reported_and_messages_that_arrived_meanwhile_are_stored_later(
    console: Console, clock: Clock
) -> None:
    pages = console.database.number("PRAGMA page_count")
    console.database.number(f"PRAGMA max_page_count = {pages}")
    # More than SQLite has free space for in its file.
    large = encode(alert("large", clock.now)).replace(b"{", b'{"of a later version":"' + b"P" * 20_000 + b'",', 1)
    follower = Follower("alerts", lambda: _Topic(large), console.desk.take)
    follower.start()
    try:
        wait_until(lambda: "disk is full" in follower.trouble)
        console.database.number("PRAGMA max_page_count = 1000000")
        wait_until(lambda: console.database.number("SELECT count(*) FROM alerts") == 3)
        wait_until(lambda: follower.trouble == "")
    finally:
        follower.stop()


def test_a_desk_names_its_address_for_a_reload(console: Console) -> None:
    """htmx knows none where the queue has replaced the button that was pressed."""
    browser = officer(console)
    page = browser.post("/queue", "/desk/pick", order="newest")
    assert page.headers["HX-Push-Url"] == "/desk?order=newest"
