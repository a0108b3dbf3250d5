"""The console as a process over real services: killed at the worst moments, and the loop from drone to lake."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from apps.console import kafka_topics
from apps.console.accounts import ADMIN
from apps.console.database import Database
from lake import lake
from messaging.urls import KafkaUrl, topic_url
from schemas.alerts import encode
from schemas.answers import load_public_keys, verify
from schemas.console_state import PUBLIC_KEY
from schemas.messages import DroneMessage
from tests.apps.console import browser as console_browser
from tests.apps.console.browser import chromium, collect_errors, new_page, take
from tests.apps.console.process import NOWHERE, answer_next, console, log_in_first
from tests.apps.console.support import JPEG, Browser, alert, picture
from tests.recovery.console import GROUPED_COMMITS, SLOW_MARKS, campaign
from tests.services.support import Subscription, make_topic, publish
from tests.services.test_unbounded import follow as follow  # noqa: PLC0414  # a fixture
from tests.support import wait_until

pytestmark = pytest.mark.services


def published(broker: str, topic: str, n: int, seconds: float = 60) -> list[bytes]:
    """What is in a topic of one partition, once there are so many."""
    consumer = Consumer({"bootstrap.servers": broker, "group.id": "test", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    found: list[bytes] = []
    end = time.monotonic() + seconds
    while len(found) < n and time.monotonic() < end:
        found += [message.value() or b"" for message in consumer.consume(n + 100, 1)]
    found += [message.value() or b"" for message in consumer.consume(100, 1)]
    consumer.close()
    return found


def test_partitions_that_come_while_the_console_reads_are_read_from_their_beginning(
    kafka: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = topic_url(make_topic(kafka, "more-alerts", 1))
    assert isinstance(url, KafkaUrl)
    publish(kafka, "more-alerts", [b"old", b"new"])
    monkeypatch.setattr(kafka_topics, "LOOK_S", 0)
    with closing(kafka_topics.KafkaReader(url, {0: 1})) as reader:
        read = reader.read(10)
        assert read.payloads == [b"new"]
        admin = AdminClient({"bootstrap.servers": kafka})
        admin.create_partitions([NewPartitions("more-alerts", 2)])["more-alerts"].result(timeout=30)
        wait_until(lambda: len(admin.list_topics("more-alerts", timeout=30).topics["more-alerts"].partitions) == 2)
        publish(kafka, "more-alerts", [b"there"], partition=1)
        deadline = time.monotonic() + 60
        while not (read := reader.read(1)).payloads and time.monotonic() < deadline:
            pass
    assert (read.payloads, read.positions) == ([b"there"], {1: 1})


def test_an_answer_that_an_officer_saw_done_survives_kill_9_and_is_published_with_one_id(
    kafka: str, tmp_path: Path
) -> None:
    alerts, drones = make_topic(kafka, "killed-alerts", 1), make_topic(kafka, "killed-drones", 1)
    now = time.time()
    publish(kafka, "killed-alerts", [encode(alert(name, now)) for name in ("a", "b", "c")])
    state = tmp_path / "state"
    with console(state, alerts, NOWHERE) as running, closing(log_in_first(running)) as browser:
        printed = [answer_next(browser, code) for code in ("40", "0", "21")]
        assert all(note.startswith("Done: ") for note in printed)
        assert running.end(signal.SIGKILL) == -signal.SIGKILL

    with console(state, alerts, drones) as running:
        first = published(kafka, "killed-drones", 3)
        messages = [msgspec.json.decode(payload, type=DroneMessage) for payload in first]
        assert [(m.answers, m.violation_code, m.officer_id) for m in messages] == [
            ("a", 40, ADMIN), ("b", 0, ADMIN), ("c", 21, ADMIN),
        ]  # fmt: skip
        assert all(verify(message, load_public_keys(state / PUBLIC_KEY)) for message in messages)
        # Alerts that come again, or are read again, are answered already.
        publish(kafka, "killed-alerts", [encode(alert("a", now + 9))])
        with closing(Browser(running.address)) as browser:
            browser.log_in(ADMIN)
            time.sleep(2)
            assert "No alert is open" in browser.get("/queue").text
        assert running.end(signal.SIGKILL) == -signal.SIGKILL

    # Killed after the broker had the last one, before that was noted.
    database = Database(state)
    with database.transaction() as connection:
        connection.execute("UPDATE outbox SET published_at = NULL WHERE number = 3")
    database.close()
    with console(state, alerts, drones) as running:
        again = published(kafka, "killed-drones", 4)
        assert running.end(signal.SIGTERM) == 130
    assert again == [*first, first[2]]


def test_a_broker_outage_is_reported_and_ctrl_c_ends_without_a_traceback(kafka: str, tmp_path: Path) -> None:
    with console(tmp_path / "state", NOWHERE, NOWHERE) as running, closing(log_in_first(running)) as browser:
        wait_until(lambda: "does not answer" in browser.get("/queue").text)
        assert {"alerts"} <= set(browser.get("/readyz").json()["parts"])
        assert running.end(signal.SIGINT) == 130
        assert "Traceback" not in running.printed()


def test_alerts_come_from_pubsub_and_answers_go_there(pubsub: str, tmp_path: Path) -> None:
    with Subscription("console-alerts") as alerts, Subscription("console-drones") as drones:
        alerts.publish([encode(alert("a", time.time())), b"no alert"])
        with console(tmp_path / "state", alerts.url, drones.url) as running, closing(log_in_first(running)) as browser:
            assert answer_next(browser, "40").startswith("Done: ")
            wait_until(drones.waiting)
            (payload,) = drones.waiting()
            message = msgspec.json.decode(payload, type=DroneMessage)
            assert (message.answers, message.violation_code) == ("a", 40)
            assert verify(message, load_public_keys(tmp_path / "state" / PUBLIC_KEY))
            assert alerts.waiting() == []
            assert "no alert" in browser.get("/audit").text


def test_pictures_commands_and_confirmations_go_over_pubsub(pubsub: str, tmp_path: Path) -> None:
    jpeg = JPEG + b" of a"
    with ExitStack() as stack:
        names = ("alerts", "drones", "images", "commands", "confirmations")
        topics = {name: stack.enter_context(Subscription(f"fleet-{name}")) for name in names}
        radio = [text for name in names[3:] for text in (f"--{name}", topics[name].url)]
        flags = ["--images", topics["images"].url, *radio]
        running = stack.enter_context(console(tmp_path / "state", topics["alerts"].url, topics["drones"].url, *flags))
        browser = stack.enter_context(closing(log_in_first(running)))
        topics["alerts"].publish([encode(alert("a", time.time()))])
        wait_until(lambda: "Take alert 1" in browser.get("/queue").text)
        assert "Picture of alert 1" not in browser.get("/queue").text
        topics["images"].publish([b"no picture", picture("image of a", jpeg)])
        wait_until(lambda: "Picture of alert 1" in browser.get("/queue").text)
        assert browser.get("/pictures/1").content == jpeg
        assert "no picture" in browser.get("/audit").text

        fleet = ["--live", "--drones", "3", "--rate", "5", "--seconds", "600", "--quiet", *radio]
        fleet += ["--output", topics["drones"].url]
        with subprocess.Popen([sys.executable, "-m", "prestacop", "simulate", "drones", *fleet]) as flying:
            try:
                wait_until(topics["drones"].waiting)
                browser.post("/drones", "/drones", drone="drone-0001", order="hold")
                wait_until(lambda: "confirmed after" in browser.get("/drones").text)
                assert flying.poll() is None
            finally:
                flying.kill()
        assert running.end(signal.SIGTERM) == 130


def test_the_loop_from_a_drone_to_an_officer_and_into_the_lake(
    kafka: str, tmp_path: Path, follow: Callable[..., Any]
) -> None:
    drones, images = make_topic(kafka, "whole-drones"), make_topic(kafka, "whole-images")
    alerts, commands = make_topic(kafka, "whole-alerts", 1), make_topic(kafka, "whole-commands", 1)
    confirmations = make_topic(kafka, "whole-confirmations", 1)
    root, state = tmp_path / "lake", tmp_path / "state"
    more = ("--images", images, "--commands", commands, "--confirmations", confirmations)
    with console(state, alerts, drones, *more, "--panes", str(tmp_path / "live")) as running, chromium() as browser:
        page = new_page(browser)
        errors = collect_errors(page)
        console_browser.log_in_first(page, running.address, running.password())
        flags = ["--alerts", alerts, "--officer-keys", str(state / PUBLIC_KEY)]
        fleet = [
            *(sys.executable, "-m", "prestacop", "simulate", "drones", "--live", "--drones", "20", "--rate", "5"),
            *("--seconds", "600", "--violation-share", "0.2", "--unqualified-share", "0.1", "--output", drones),
            *("--images", images, "--commands", commands, "--confirmations", confirmations, "--quiet"),
        ]
        with follow(root, drones, *flags) as following, subprocess.Popen(fleet) as flying:
            try:
                page.get_by_role("button", name="Take alert").first.wait_for()
                take(page)
                drone = page.locator(".facts dd").first.text_content()
                answered = page.locator(".facts").get_attribute("data-message")
                page.wait_for_selector("img[alt='Picture that the drone took']")
                page.keyboard.type("40")
                page.keyboard.press("Enter")
                page.get_by_text("Done: Fire hydrant").wait_for()

                def officers() -> list[dict[str, Any]]:
                    query = "SELECT answers, officer_id, violation_code FROM qualified WHERE status = 'officer'"
                    rows: list[dict[str, Any]] = lake(str(root)).sql(query).to_pylist()
                    return rows

                following.wait_until(officers)
                assert officers() == [{"answers": answered, "officer_id": ADMIN, "violation_code": 40}]
                page.goto(f"{running.address}/live")
                page.locator(".chart rect").first.wait_for()
                page.goto(f"{running.address}/drones?drone={drone}")
                page.get_by_role("button", name="Hold position").click()

                def confirmed() -> bool:
                    page.goto(f"{running.address}/drones")
                    return page.get_by_text("confirmed after").count() == 1

                wait_until(confirmed)
            finally:
                flying.kill()
        assert errors == []


@pytest.mark.parametrize("sabotage", [pytest.param("", marks=pytest.mark.nightly), SLOW_MARKS])
def test_killed_at_random_each_answer_that_is_done_is_published_as_one_message(
    kafka: str, tmp_path: Path, sabotage: str
) -> None:
    outcome = campaign(tmp_path, kafka, 5, sabotage=sabotage)
    assert outcome.is_exact, outcome
    assert outcome.done > 5
    assert outcome.repeats > 0 or not sabotage


@pytest.mark.nightly
def test_without_a_commit_before_done_the_same_campaign_finds_answers_twice(kafka: str, tmp_path: Path) -> None:
    outcome = campaign(tmp_path, kafka, 8, sabotage=GROUPED_COMMITS)
    assert outcome.lost + outcome.twice > 0, outcome
