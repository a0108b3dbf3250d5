"""Bring events of drones where they belong: to the topic of alerts, and to the lake.

An event is a unit of its own, named by its identity: committing it a second time does nothing. So the dataset has each
event once, however often the watch finds it. The memory is saved after the events: who starts with it finds no event
again that is missing, and none is missing that it does not find.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

import apache_beam as beam
import pyarrow as pa

from lake import format as lake_format
from lake.files import in_ledger, write_unit
from lake.ledger import commit, is_committed
from lake.storage import storage
from messaging.urls import KafkaUrl, PubSubUrl
from schemas.drone_health import DroneEvent, EventKind
from schemas.lake import ROWS_IN, ROWS_OUT, Dataset, Source, constant
from schemas.messages import SCHEMA_VERSION
from schemas.times import rfc3339
from transforms.alerts.channels import Target
from transforms.alerts.topics import KafkaAlerts, PubSubAlerts, open_topic
from transforms.health.recall import memory_path
from transforms.health.watch import Found
from transforms.live.windows import append_line

_WRITES: Final = 8
"""Files written in parallel."""


def unit_of_event(event_id: str) -> str:
    """The name of the unit of an event."""
    return f"{Source.HEALTH}-{event_id}"


def commit_events(root: str, name: str, events: pa.RecordBatch) -> None:
    """Commit the events that the lake does not have yet.

    Args:
        name: of the input, in the ledger as the path of their units.
        events: of :data:`schemas.lake.DRONE_EVENT`, without ``unit``.
    """
    with ThreadPoolExecutor(_WRITES) as pool:
        rows = pool.map(partial(_written, root, name), [events.slice(n, 1) for n in range(events.num_rows)])
        if new := [row for row in rows if row is not None]:
            lake_format.mark(root)  # an earlier version does not know the source of these units
            commit(root, new)


def _written(root: str, name: str, event: pa.RecordBatch) -> dict[str, Any] | None:
    """The ledger's row of an event, once its file is written; None where the event is in the lake."""
    unit = unit_of_event(event["event_id"][0].as_py())
    if is_committed(root, Source.HEALTH, unit):
        return None
    files = write_unit(
        root, Dataset.DRONE_EVENTS, Source.HEALTH, unit, [event.append_column("unit", constant(unit, 1))]
    )
    nothing = dict.fromkeys((ROWS_IN, *ROWS_OUT, "counted", "range_start"), 0)
    row = {"unit": unit, "source": str(Source.HEALTH), "path": name, "range_end": 1, **nothing, **in_ledger(files)}
    return {**row, "columns": [], "separator": None}


def messages_of(events: pa.RecordBatch, alert_time: datetime) -> list[DroneEvent]:
    """The events as the topic of alerts has them."""
    shown = events.select([n for n in events.schema.names if n not in ("event_id", "record")])
    return [
        DroneEvent(
            schema_version=SCHEMA_VERSION,
            message_id=identity,
            alert_time=rfc3339(alert_time),
            **{**row, "kind": EventKind(row["kind"]), "event_time": rfc3339(row["event_time"])},
        )
        for identity, row in zip(events["event_id"].to_pylist(), shown.to_pylist(), strict=True)
    ]


class _Land(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    def __init__(self, root: str, name: str, targets: Sequence[Target], live: str | None) -> None:
        self._root, self._name, self._live = root, name, live
        self._targets = [target for target in targets if isinstance(target, KafkaUrl | PubSubUrl)]
        self._topics: list[KafkaAlerts | PubSubAlerts] = []

    def process(self, found: Found) -> None:
        if found.fleet and self._live:
            append_line(self._live, found.fleet + "\n")
        if found.events.num_rows:
            self._topics = self._topics or [open_topic(target) for target in self._targets]
            for topic in self._topics:
                topic.send(messages_of(found.events, datetime.now(UTC)))
            commit_events(self._root, self._name, found.events)
        if found.memory is not None:
            storage(self._root).put(memory_path(self._name), found.memory)

    def teardown(self) -> None:
        for topic in self._topics:
            topic.close()
        self._topics = []


class LandEvents(beam.PTransform):  # type: ignore[misc]
    """Publish events, commit each as a unit of the dataset ``drone_events``, then save the memory; gives nothing out.
    The last message of each drone goes to the file of the live statistics, if there is one.

    The alert comes before the commit, and again if the bundle fails in between: with the same ``message_id``.
    """

    def __init__(self, root: str, name: str, targets: Sequence[Target], live: str | None) -> None:
        super().__init__()
        self._land = _Land(root, name, tuple(targets), live)

    def expand(self, found: beam.PCollection) -> beam.PCollection:
        return found | "Land" >> beam.ParDo(self._land)
