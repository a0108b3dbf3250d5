"""The console's metrics and its pages of health."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from apps.console.console import Console
from apps.console.metrics import METRICS, ConsoleMetrics
from apps.console.topics import Follower
from metrics.server import Pages
from tests.apps.console.support import Browser, Clock, alert, raise_alerts
from tests.metrics.support import check_page, get, samples
from tests.support import wait_until


def value(console: Console, name: str) -> float:
    """Of a metric without labels."""
    return samples(ConsoleMetrics(console), f"prestacop_console_{name}")[()]


def test_unanswered_alerts_and_the_age_of_the_oldest(console: Console, clock: Clock) -> None:
    assert value(console, "alerts_unanswered") == 0
    assert value(console, "oldest_unanswered_alert_age_seconds") == 0
    raise_alerts(console, alert("a", clock.now - 90), alert("b", clock.now - 30))
    assert value(console, "alerts_unanswered") == 2
    clock.now += 10
    assert value(console, "oldest_unanswered_alert_age_seconds") == pytest.approx(100, abs=0.01)
    held = console.desk.pick("officer")
    assert held is not None
    console.desk.answer("officer", held.lease, 46)
    assert value(console, "alerts_unanswered") == 1
    assert value(console, "oldest_unanswered_alert_age_seconds") == pytest.approx(40, abs=0.01)


def test_answers_and_commands_in_the_outbox_and_the_age_of_the_oldest(console: Console, clock: Clock) -> None:
    raise_alerts(console, alert("a", clock.now), alert("b", clock.now))
    assert value(console, "outbox_messages") == 0
    assert value(console, "oldest_outbox_message_age_seconds") == 0
    console.drones.command("supervisor", "drone-0001", "hold")
    for code in (46, 0):
        clock.now += 20
        held = console.desk.pick("officer")
        assert held is not None
        for _ in range(2):  # the second request of an answer changes nothing
            console.desk.answer("officer", held.lease, code)
    assert value(console, "outbox_messages") == 3
    assert value(console, "oldest_outbox_message_age_seconds") == pytest.approx(40, abs=0.01)
    with console.database.transaction() as connection:
        connection.execute("UPDATE outbox SET published_at = ? WHERE topic = 'commands'", (clock.now,))
    assert value(console, "oldest_outbox_message_age_seconds") == pytest.approx(20, abs=0.01)
    answers = {("violation",): 1, ("no_violation",): 1, ("not_first",): 0, ("second_look",): 0}
    assert samples(ConsoleMetrics(console), "prestacop_console_answers_total") == answers


def test_the_page_has_each_metric_and_a_topic_that_fails_is_not_up(console: Console) -> None:
    def fail() -> None:
        raise sqlite3.OperationalError("away")

    works, fails = (Follower(name, fail, lambda *_: None) for name in ("alerts", "images"))  # type: ignore[arg-type]
    console._followers += [works, fails]
    fails.start()
    wait_until(lambda: fails.trouble)
    check_page(ConsoleMetrics(console), METRICS)
    assert samples(ConsoleMetrics(console), "prestacop_console_topic_up") == {("alerts",): 1, ("images",): 0}
    size, free = value(console, "disk_size_bytes"), value(console, "disk_free_bytes")
    assert size == shutil.disk_usage(Path(__file__).parent).total or size > free >= 0
    fails.stop()


def test_without_a_database_the_page_is_served_and_says_so(console: Console) -> None:
    assert value(console, "database_up") == 1
    console.database.close()
    assert value(console, "database_up") == 0
    assert samples(ConsoleMetrics(console), "prestacop_console_alerts_unanswered") == {}
    assert value(console, "disk_free_bytes") > 0


def test_a_thread_that_ended_is_a_fault_and_a_topic_that_fails_is_none(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages, browser = Pages(ConsoleMetrics(console), console.faults, console.missing), Browser(console)
    assert get(pages, "/healthz") == get(pages, "/readyz") == ("200 OK", "ok\n")
    assert browser.get("/healthz").text == "ok\n"
    follower = Follower("alerts", lambda: None, lambda *_: None)  # type: ignore[arg-type, return-value]
    monkeypatch.setattr(follower._worker, "_run", lambda: None)
    monkeypatch.setattr(follower._worker._thread, "_target", lambda: None)
    console._followers.append(follower)
    follower.start()
    follower._worker._thread.join()
    ended = "the thread for alerts has ended: start the console again\n"
    assert get(pages, "/healthz") == ("503 Service Unavailable", ended)
    assert browser.get("/healthz").status_code == 503
    assert browser.get("/healthz").text == ended
    assert get(pages, "/readyz")[0] == "200 OK"
