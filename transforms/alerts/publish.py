"""Alerts: each unqualified violation of a drone is published to officers' channels when its bundle ends.

Delivery is at-least-once: a bundle whose alerts cannot be published fails, and its units are not committed; a retried
bundle may publish them again, with the same message_id.

Otherwise a message_id is published once: within a unit deduplication (:mod:`transforms.messages.dedupe`) keeps the
first row, and a process remembers the last ids that it published in this run. The exception is a row that its drone
published earlier than the known one: that row counts, and one that happened to be read first must not hide it.
"""

import threading
import uuid
from collections import OrderedDict, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import apache_beam as beam
import pyarrow as pa

from schemas.alerts import Alert
from schemas.messages import SCHEMA_VERSION, UNQUALIFIED
from schemas.times import rfc3339
from sources.units import UnitBatch
from transforms.alerts.channels import Channel, Target, open_channel
from transforms.messages.rows import without_repeated

AT_ONCE: Final = 1_000
"""Alerts that wait for the end of the bundle; more are published at once."""

REMEMBERED: Final = 100_000
"""Published ids that a process remembers: about a day of a city's alerts, in some 30 MB."""
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
"""Sorts after all publication times; for recordings, which have none."""

_SAME: Final = (
    *("message_id", "drone_id", "sequence", "event_time", "latitude", "longitude", "altitude_m", "battery_pct"),
    *("plate_id", "image_id"),
)


def alerts_of(rows: pa.RecordBatch, alert_time: datetime) -> list[Alert]:
    """An alert for each unqualified violation.

    Args:
        rows: of drones, at least the columns of an alert.
        alert_time: with its zone.
    """
    return [
        Alert(
            schema_version=SCHEMA_VERSION, kind="violation", status="raw", violation_code=UNQUALIFIED,
            alert_time=rfc3339(alert_time), **{**row, "event_time": rfc3339(row["event_time"])},
        )
        for row in rows.select(_SAME).to_pylist()
    ]  # fmt: skip


class _Published:
    """The last :data:`REMEMBERED` published ids, each with the time at which the drone published its message."""

    def __init__(self) -> None:
        self._published: OrderedDict[str, datetime] = OrderedDict()
        self._lock = threading.Lock()

    def is_new(self, name: str, published: datetime) -> bool:
        """Whether no message with this id, or only one that its drone published later, has been an alert."""
        with self._lock:
            return name not in self._published or published < self._published[name]

    def add(self, alerts: dict[str, datetime]) -> None:
        """Remember published alerts."""
        with self._lock:
            for name, published in alerts.items():
                self._published[name] = min(published, self._published.pop(name, _NEVER))
            while len(self._published) > REMEMBERED:
                self._published.popitem(last=False)


_published_ids: defaultdict[str, _Published] = defaultdict(_Published)
"""By run: shared by all bundles of this process."""


class _Publish(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self._run = uuid.uuid4().hex  # the same in all copies of this step
        self._channels: list[Channel] = []
        self._waiting: list[Alert] = []
        self._published: dict[str, datetime] = {}
        """Of the waiting alerts, by message_id."""

    def start_bundle(self) -> None:
        self._waiting, self._published = [], {}

    def process(self, batch: UnitBatch) -> None:
        rows, known = without_repeated(batch.rows), _published_ids[self._run]
        published = [when or _NEVER for when in rows["published_at"].to_pylist()]
        for alert, when in zip(alerts_of(rows, datetime.now(UTC)), published, strict=True):
            waiting = self._published.get(alert.message_id)
            if (waiting is None or when < waiting) and known.is_new(alert.message_id, when):
                self._waiting.append(alert)
                self._published[alert.message_id] = when
        if len(self._waiting) >= AT_ONCE:
            self._send()

    def finish_bundle(self) -> None:
        self._send()

    def teardown(self) -> None:
        for channel in self._channels:
            channel.close()
        self._channels = []

    def _send(self) -> None:
        if not self._waiting:
            return
        # Opened late: most bundles have no alert.
        self._channels = self._channels or [open_channel(target) for target in self._targets]
        for channel in self._channels:
            channel.send(self._waiting)
        _published_ids[self._run].add(self._published)
        self._waiting, self._published = [], {}


class PublishAlerts(beam.PTransform):  # type: ignore[misc]
    """Publishes an alert for each unqualified violation of a drone to every target; has no output."""

    def __init__(self, targets: Sequence[Target]) -> None:
        super().__init__()
        self._targets = tuple(targets)

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        return rows | "Publish" >> beam.ParDo(_Publish(self._targets))
