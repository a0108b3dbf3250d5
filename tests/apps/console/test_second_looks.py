"""Second looks: who gets which, what is stored of them, and that nothing of them is published."""

import random
import re
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer

from apps.console import desk
from apps.console.access import Role
from apps.console.accounts import RequestRefused
from apps.console.codes import Codes
from apps.console.console import Console, Wiring
from apps.console.desk import LEASE_SECONDS
from apps.console.sampling import is_in_sample
from apps.console.second_looks import second_looks
from runners.services import free_port
from schemas.alerts import encode
from schemas.answers import answer_id
from tests.apps.console.process import log_in_first, started
from tests.apps.console.support import (
    CODES,
    JPEG,
    PASSWORD,
    Browser,
    Clock,
    add_account,
    alert,
    officer,
    outbox,
    picture,
    quick,
    raise_alerts,
)
from tests.apps.topics import MockKafka, consumed
from tests.recovery.officer import Officer
from tests.support import wait_until


@pytest.fixture
def console(tmp_path: Path, clock: Clock) -> Iterator[Console]:
    """Every answered alert is to be looked at again; two officers and a supervisor."""
    made = Console(tmp_path / "state", Codes(CODES), Wiring(), clock, quick, second_look=1.0)
    for name, role in (("byrne", Role.OFFICER), ("ortiz", Role.OFFICER), ("chief", Role.SUPERVISOR)):
        add_account(made, name, role)
    yield made
    made.stop()


def answer(console: Console, name: str, code: int) -> str:
    """Take the next alert and answer it; gives the lease."""
    held = console.desk.pick(name)
    assert held is not None
    assert console.desk.answer(name, held.lease, code) is not None
    return held.lease


def looks(console: Console) -> list[tuple[str, str, int]]:
    """Alert, officer and code of the second looks that are done."""
    rows = console.database.rows(
        "SELECT message_id, officer, violation_code FROM second_looks JOIN alerts ON id = alert WHERE lease IS NOT NULL"
    )
    return [(row["message_id"], row["officer"], row["violation_code"]) for row in rows]


def test_a_second_answer_is_stored_apart_and_never_published(console: Console, clock: Clock) -> None:
    raise_alerts(console, alert("a", clock.now))
    answer(console, "byrne", 40)
    assert console.desk.pick("byrne") is None  # not the one who answered first
    lease = answer(console, "ortiz", 14)
    assert looks(console) == [("a", "ortiz", 14)]
    assert [(sent["answers"], sent["violation_code"]) for sent in outbox(console)] == [("a", 40)]
    assert console.database.number("SELECT count(*) FROM answers") == 1
    again = console.desk.answer("ortiz", lease, 21)  # the browser sends it again
    assert again is not None
    assert (again.violation_code, again.is_second, again.counts) == (14, True, False)
    assert console.desk.pick("chief") is None  # one second look an alert
    assert console.desk.results == {"violation": 1, "no_violation": 0, "not_first": 0, "second_look": 1}


def test_an_open_alert_comes_before_a_second_look(console: Console, clock: Clock) -> None:
    raise_alerts(console, alert("a", clock.now - 60))
    answer(console, "byrne", 40)
    raise_alerts(console, alert("b", clock.now))
    held = console.desk.pick("ortiz")
    assert held is not None
    assert (held.alert["message_id"], held.is_second) == ("b", False)
    other = console.desk.pick("chief")
    assert other is not None
    assert (other.alert["message_id"], other.is_second) == ("a", True)


def test_the_sample_is_the_same_after_a_restart_and_about_as_large_as_its_share(tmp_path: Path, clock: Clock) -> None:
    chosen = []
    for name in ("one", "two"):
        console = Console(tmp_path / name, Codes(CODES), Wiring(), clock, quick, second_look=0.1)
        raise_alerts(console, *(alert(f"m{number}", clock.now) for number in range(200)))
        for _ in range(200):
            answer(console, "byrne", 40)
        rows = console.database.rows("SELECT message_id FROM second_looks JOIN alerts ON id = alert")
        chosen.append([row["message_id"] for row in rows])
        console.stop()
    assert chosen[0] == chosen[1]
    assert 8 <= len(chosen[0]) <= 32  # four standard deviations
    assert set(chosen[0]) <= {f"m{number}" for number in range(200) if is_in_sample("second look", f"m{number}", 0.2)}


def test_without_the_flag_there_is_none(console: Console, clock: Clock) -> None:
    raise_alerts(console, alert("a", clock.now), alert("b", clock.now))
    answer(console, "byrne", 40)
    console.desk.second_look = 0.0
    answer(console, "byrne", 40)
    assert second_looks(console.database).waiting == 1
    assert console.desk.pick("ortiz") is None
    assert not console.desk.may_look("ortiz")


def test_a_lease_of_a_second_look_ends_as_any_other_and_a_late_answer_is_refused_once_there_is_one(
    console: Console, clock: Clock
) -> None:
    raise_alerts(console, alert("a", clock.now))
    answer(console, "byrne", 40)
    held = console.desk.pick("ortiz")
    assert held is not None
    assert console.desk.pick("chief") is None
    clock.now += LEASE_SECONDS
    answer(console, "chief", 21)
    with pytest.raises(RequestRefused, match="meanwhile"):
        console.desk.answer("ortiz", held.lease, 14)
    assert looks(console) == [("a", "chief", 21)]
    assert len(outbox(console)) == 1
    assert console.desk.answer("byrne", held.lease, 14) is None  # a lease of somebody else


def test_a_late_first_answer_is_published_as_before(console: Console, clock: Clock) -> None:
    raise_alerts(console, alert("a", clock.now))
    late = console.desk.pick("ortiz")
    assert late is not None
    clock.now += LEASE_SECONDS
    answer(console, "byrne", 40)
    second = console.desk.answer("ortiz", late.lease, 14)
    assert second is not None
    assert (second.counts, second.is_second) == (False, False)
    assert len(outbox(console)) == 2
    # Who has answered the alert in any way is not blind.
    assert console.desk.pick("ortiz") is None
    assert console.desk.pick("chief") is not None


def test_what_is_removed_with_its_alert(console: Console, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    raise_alerts(console, *(alert(f"m{number}", clock.now) for number in range(4)))
    for _ in range(4):
        answer(console, "byrne", 40)
    for _ in range(2):
        answer(console, "ortiz", 40)
    with console.database.transaction() as connection:
        connection.execute("UPDATE outbox SET published_at = 1")
    monkeypatch.setattr(desk, "MOST_ANSWERED", 1)
    console.desk.tidy()
    assert second_looks(console.database)[:2] == (1, 0)
    assert console.database.number("SELECT count(*) FROM second_leases") == 0


def test_the_picture_of_a_waiting_second_look_goes_after_those_of_others(console: Console, clock: Clock) -> None:
    for name in ("waits", "done"):
        raise_alerts(console, alert(name, clock.now))
        console.pictures.take([picture(f"image of {name}", JPEG + name.encode())], {})
        answer(console, "byrne", 40)
    with console.database.transaction() as connection:
        connection.execute("DELETE FROM second_looks WHERE alert = (SELECT id FROM alerts WHERE message_id = 'done')")
    console.pictures.tidy(kept_bytes=len(JPEG) + 8)
    rows = console.database.rows("SELECT image_id FROM pictures")
    assert [row["image_id"] for row in rows] == ["image of waits"]


def test_the_desk_shows_a_second_look_without_the_first_answer(console: Console, clock: Clock) -> None:
    raise_alerts(console, alert("a", clock.now))
    first, second = officer(console, "byrne"), officer(console, "ortiz")
    lease = _lease(first.post("/queue", "/desk/pick", order="oldest").text)
    assert "Done: FIRE HYDRANT" in first.post("/desk", "/desk/answer", lease=lease, code="40", order="oldest").text
    assert 'data-key="o" disabled' in first.get("/queue").text
    assert "second look" not in first.get("/queue").text
    queue = second.get("/queue").text
    assert "wait for your second look" in queue
    assert 'data-key="o" disabled' not in queue
    page = second.post("/queue", "/desk/pick", order="oldest").text
    assert "Second look: another officer has answered" in page
    assert "byrne" not in page
    told = second.post("/desk", "/desk/answer", lease=_lease(page), code="14", order="oldest").text
    assert "Kept as a second look: NO STANDING-DAY/TIME LIMITS" in told
    assert next(line["action"] for line in console.audit.lines(None)) == "second look"


def test_the_accounts_page_says_that_one_officer_is_not_enough(console: Console, clock: Clock) -> None:
    page = officer(console, "chief").get("/accounts").text
    assert "100 % of answered alerts are shown to a second officer" in page
    assert "Only one account" not in page
    for name in ("byrne", "ortiz"):
        console.accounts.change(name, Role.VIEWER, active=True)
    assert "Only one account may answer" in officer(console, "chief").get("/accounts").text


def _lease(page: str) -> str:
    return page.partition('name="lease" value="')[2].partition('"')[0]


@pytest.mark.embedded
def test_second_looks_of_two_officers_survive_kill_9_and_are_not_published(
    mock_kafka: MockKafka, tmp_path: Path
) -> None:
    n, chance, state = 40, random.Random(2), tmp_path / "state"
    producer = Producer({"bootstrap.servers": mock_kafka.address})
    for number in range(n):
        producer.produce("alerts", encode(alert(f"m{number}", time.time() - 3600 + number)))
    assert producer.flush(30) == 0
    topics = (mock_kafka.url("alerts"), mock_kafka.url("drones"))
    flags = ("--port", str(free_port()), "--second-look", "100%")
    with started(state, *topics, *flags) as running:
        wait_until(running.is_there)
        admin = log_in_first(running)
        officers = [Officer(admin, chance), Officer(_new_officer(admin, running.address), chance)]
        running.end(signal.SIGTERM)
    for each in officers:
        each.start()
    for _ in range(6):
        with started(state, *topics, *flags) as running:
            wait_until(running.is_there)
            time.sleep(chance.uniform(0, 0.7))  # at any moment of an answer
            running.end(signal.SIGKILL)
    with started(state, *topics, *flags) as running:
        wait_until(lambda: _count(state, "SELECT count(lease) FROM second_looks") == n)
        for each in officers:
            each.stop()
        running.end(signal.SIGTERM)
    with closing(sqlite3.connect(state / "console.sqlite")) as database:
        stored = database.execute(
            "SELECT message_id, lease, violation_code FROM second_looks JOIN alerts ON id = alert"
        ).fetchall()
        same = database.execute(
            "SELECT count(*) FROM second_looks JOIN answers USING (alert) WHERE second_looks.officer = answers.officer"
        ).fetchone()
    looked = {tuple(look) for each in officers for look in each.looked}
    assert len({name for name, _, _ in stored}) == n
    assert looked <= set(stored)
    assert same == (0,)
    published = {
        msgspec.json.decode(message.value() or b"")["message_id"] for message in consumed(mock_kafka.address, "drones")
    }
    assert len(published) == n
    assert not published & {answer_id(name, lease) for name, lease, _ in stored}


def _new_officer(admin: Browser, address: str) -> Browser:
    made = admin.post("/accounts", "/accounts", name="byrne", role="officer").text
    once = re.search(r"</strong>: <code>([^<]+)<", made)
    assert once is not None
    browser = Browser(address)
    browser.log_in("byrne", once[1])
    assert browser.post("/password", "/password", old=once[1], new=PASSWORD, again=PASSWORD).url.path == "/queue"
    return browser


def _count(state: Path, query: str) -> int:
    with closing(sqlite3.connect(state / "console.sqlite")) as database:
        return int(database.execute(query).fetchone()[0])
