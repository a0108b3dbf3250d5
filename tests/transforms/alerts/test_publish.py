"""Each unqualified violation of a drone becomes one alert; a bundle ends when all its alerts are acknowledged."""

import copy
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.test_pipeline import TestPipeline

from messaging.urls import KafkaUrl
from schemas.alerts import Alert, decode, encode
from schemas.errors import ServiceUnavailable
from schemas.lake import UTC as UTC_US
from schemas.lake import Dataset, Source
from sources.units import Unit, UnitBatch
from tests.transforms.messages.test_decode import message, payloads
from transforms.alerts import publish as alerts
from transforms.alerts.publish import PublishAlerts, alerts_of
from transforms.messages.decode import DecodeMessages, decode_payloads
from transforms.messages.dedupe import _DropDuplicates
from transforms.outputs import ROWS
from transforms.qualify import Qualify, split

UNIT = Unit(Source.DRONES, "fleet.jsonl", 0, 1, "drones-00000-hash")
TARGET = KafkaUrl("localhost:9092", "alerts", {})
AT = datetime(2026, 1, 15, 7, 0, 2, tzinfo=timezone(timedelta(hours=-5)))

taken: list[str] = []
opened: list["_Channel"] = []


class _Channel:
    """Remembers what has arrived, and whether it is open."""

    fails = False

    def __init__(self) -> None:
        self.open = True
        opened.append(self)

    def send(self, some: Sequence[Alert]) -> None:
        if self.fails:
            raise ServiceUnavailable("the topic is away")
        taken.extend(alert.message_id for alert in some)

    def close(self) -> None:
        self.open = False


@pytest.fixture(autouse=True)
def channel(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_Channel]]:
    """Takes the place of every target, within this process."""
    monkeypatch.setattr(alerts, "open_channel", lambda _: _Channel())
    monkeypatch.setattr(alerts, "_published_ids", defaultdict(alerts._Published))
    taken.clear()
    opened.clear()
    yield _Channel
    _Channel.fails = False


def unqualified(*lines: bytes) -> Any:
    return split(decode_payloads(UNIT, payloads(*lines)).rows)[Dataset.UNQUALIFIED]


def run(*batches: UnitBatch) -> None:
    with TestPipeline() as pipeline:
        decoded = pipeline | beam.Create(batches, reshuffle=False) | DecodeMessages()
        _ = (decoded[ROWS] | Qualify())[Dataset.UNQUALIFIED] | PublishAlerts([TARGET])


def test_an_alert_is_the_drones_message_and_when_it_was_raised() -> None:
    (alert,) = alerts_of(unqualified(message(violation_code=0)), AT)
    fields = json.loads(message(violation_code=0, event_time="2026-01-15T12:00:00.500000Z"))
    assert json.loads(encode(alert)) == {**fields, "alert_time": "2026-01-15T12:00:02.000000Z"}
    assert decode(encode(alert)) == alert


def test_what_an_old_drone_does_not_say_is_not_made_up() -> None:
    (alert,) = alerts_of(unqualified(b"40.7;-74.0;30;1768478400;d1;flying;0;i1"), AT)
    assert (alert.sequence, alert.battery_pct, alert.plate_id) == (None, None, None)
    assert (alert.drone_id, alert.image_id, alert.event_time) == ("d1", "i1", "2026-01-15T12:00:00.000000Z")
    assert decode(encode(alert)) == alert


def test_each_unqualified_violation_is_published_once() -> None:
    lines = [message(message_id="a", violation_code=0), message(message_id="b"), message(message_id="c", kind="x")]
    more = [message(message_id="d", violation_code=0, status="officer"), message(message_id="e", violation_code=0)]
    run(UnitBatch(UNIT, payloads(*lines), False), UnitBatch(UNIT, payloads(*more), True))
    assert sorted(taken) == ["a", "e"]
    assert opened
    assert not any(channel.open for channel in opened)


def test_no_connection_is_made_without_an_alert() -> None:
    run(UnitBatch(UNIT, payloads(message()), True))
    assert not opened


def test_many_alerts_do_not_wait_for_the_end_of_the_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "AT_ONCE", 2)
    step = alerts._Publish([TARGET])
    step.start_bundle()
    rows = unqualified(*(message(message_id=name, violation_code=0) for name in "ab"))
    step.process(UnitBatch(UNIT, rows, False))
    assert taken == ["a", "b"]
    step.finish_bundle()
    assert taken == ["a", "b"]


def test_a_bundle_whose_alerts_do_not_arrive_fails(channel: type[_Channel]) -> None:
    channel.fails = True
    with pytest.raises(Exception, match="the topic is away"):
        run(UnitBatch(UNIT, payloads(message(violation_code=0)), True))


def test_alerts_of_a_failed_bundle_are_not_published_by_the_next(channel: type[_Channel]) -> None:
    step = alerts._Publish([TARGET])
    step.start_bundle()
    step.process(UnitBatch(UNIT, unqualified(message(message_id="a", violation_code=0)), True))
    channel.fails = True
    with pytest.raises(ServiceUnavailable):
        step.finish_bundle()
    channel.fails = False
    step.start_bundle()
    step.process(UnitBatch(UNIT, unqualified(message(message_id="b", violation_code=0)), True))
    step.finish_bundle()
    assert taken == ["b"]


def test_the_time_of_an_alert_is_utc() -> None:
    (alert,) = alerts_of(unqualified(message(violation_code=0)), datetime(2026, 7, 1, tzinfo=UTC))
    assert alert.alert_time == "2026-07-01T00:00:00.000000Z"


def published_alerts(*units: Sequence[bytes], published: Sequence[int | None] = ()) -> list[str]:
    """Which alerts are raised for these units, each in a bundle of its own; ``published`` is by unit, in seconds."""
    step = alerts._Publish([TARGET])
    for number, lines in enumerate(units):
        drop, publish = _DropDuplicates(), copy.deepcopy(step)  # another worker thread's
        drop.start_bundle()
        publish.start_bundle()
        rows = decode_payloads(UNIT, payloads(*lines)).rows
        when = pa.array([published[number] if published else None] * rows.num_rows, pa.timestamp("s", "UTC")).cast(
            UTC_US
        )
        rows = rows.set_column(rows.schema.get_field_index("published_at"), "published_at", when)
        kept = next(iter(drop.process(UnitBatch(UNIT, rows, True)))).rows
        publish.process(UnitBatch(UNIT, split(kept)[Dataset.UNQUALIFIED], True))
        publish.finish_bundle()
    return taken


FIRST, FORGED = message(violation_code=0), message(violation_code=0, plate_id="FORGED")


def test_a_forged_id_in_the_same_unit_raises_no_second_alert() -> None:
    assert published_alerts([FIRST, FORGED, FIRST, message(message_id="n", violation_code=0)]) == ["m", "n"]


def test_a_forged_id_of_a_qualified_violation_of_the_unit_raises_no_alert() -> None:
    assert published_alerts([message(), FORGED]) == []


def test_a_forged_id_in_another_unit_raises_no_second_alert() -> None:
    assert published_alerts([FIRST], [FORGED], [FIRST], [FORGED], published=[5, 5, 6, None]) == ["m"]


def test_a_forged_id_in_another_recording_raises_no_second_alert() -> None:
    assert published_alerts([FIRST], [FORGED], [FIRST], [FORGED]) == ["m"]


def test_a_claim_that_is_read_first_does_not_hide_what_was_published_first() -> None:
    assert published_alerts([FORGED], [FIRST], [FIRST], [FORGED], published=[6, 5, 5, 7]) == ["m", "m"]


def test_unacknowledged_alerts_are_published_again(channel: type[_Channel]) -> None:
    channel.fails = True
    with pytest.raises(ServiceUnavailable):
        published_alerts([FIRST])
    channel.fails = False
    assert published_alerts([FIRST], [FIRST]) == ["m"]


def test_another_run_publishes_all_its_alerts() -> None:
    published_alerts([FIRST])
    assert published_alerts([FIRST]) == ["m", "m"]


def test_so_many_ids_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alerts, "REMEMBERED", 2)
    some = [[message(message_id=name, violation_code=0)] for name in "abcab"]
    assert published_alerts(*some) == ["a", "b", "c", "a", "b"]
