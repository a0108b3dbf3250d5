"""Alerts: each unqualified violation of a drone is told to whoever can answer, as soon as its bundle ends.

A bundle that ends has told all its alerts: what it cannot tell fails it, and its units are not committed. A bundle that
is run again may tell them again, with the same message_id.

A message_id is published once, whoever claims it again: within a unit the first row is, by
:mod:`transforms.messages.dedupe`, and of each run a process remembers the last ids that it has published. The one
exception is a row that was published by its drone earlier than that one: it is the one that counts, and a claim that
happened to be read first must not hide it.
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
from sources.units import UnitBatch
from transforms.alerts.channels import Channel, Target, open_channel
from transforms.messages.rows import without_repeated

AT_ONCE: Final = 1_000
"""Alerts that wait for the end of the bundle; with more of them, nobody waits for it."""

REMEMBERED: Final = 100_000
"""Alerts of a run that a process knows it has told: about a day of a city's, in some 30 MB of usual ids."""
_NEVER: Final = datetime.max.replace(tzinfo=UTC)
"""Stands behind all times at which a message can have been published: a recording does not know."""

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
            alert_time=_rfc3339(alert_time), **{**row, "event_time": _rfc3339(row["event_time"])},
        )
        for row in rows.select(_SAME).to_pylist()
    ]  # fmt: skip


def _rfc3339(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


class _Told:
    """The last :data:`REMEMBERED` ids that were told, each with the time when its message was published."""

    def __init__(self) -> None:
        self._published: OrderedDict[str, datetime] = OrderedDict()
        self._lock = threading.Lock()

    def is_new(self, name: str, published: datetime) -> bool:
        """Whether nobody was told of it, or of a message that was published later."""
        with self._lock:
            return name not in self._published or published < self._published[name]

    def add(self, told: dict[str, datetime]) -> None:
        """Everybody was told of these."""
        with self._lock:
            for name, published in told.items():
                self._published[name] = min(published, self._published.pop(name, _NEVER))
            while len(self._published) > REMEMBERED:
                self._published.popitem(last=False)


_told: defaultdict[str, _Told] = defaultdict(_Told)
"""By run: what one bundle of it has told in this process, no other tells."""


class _Publish(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self._run = uuid.uuid4().hex  # the same in all copies of this step
        self._channels: list[Channel] = []
        self._waiting: list[Alert] = []
        self._published: dict[str, datetime] = {}
        """Of those that wait."""

    def start_bundle(self) -> None:
        self._waiting, self._published = [], {}

    def process(self, batch: UnitBatch) -> None:
        rows, told = without_repeated(batch.rows), _told[self._run]
        published = [when or _NEVER for when in rows["published_at"].to_pylist()]
        for alert, when in zip(alerts_of(rows, datetime.now(UTC)), published, strict=True):
            waiting = self._published.get(alert.message_id)
            if (waiting is None or when < waiting) and told.is_new(alert.message_id, when):
                self._waiting.append(alert)
                self._published[alert.message_id] = when
        if len(self._waiting) >= AT_ONCE:
            self._tell()

    def finish_bundle(self) -> None:
        self._tell()

    def teardown(self) -> None:
        for channel in self._channels:
            channel.close()
        self._channels = []

    def _tell(self) -> None:
        if not self._waiting:
            return
        # Most bundles have no alert, and some workers see none.
        self._channels = self._channels or [open_channel(target) for target in self._targets]
        for channel in self._channels:
            channel.send(self._waiting)
        _told[self._run].add(self._published)
        self._waiting, self._published = [], {}


class PublishAlerts(beam.PTransform):  # type: ignore[misc]
    """Unqualified violations of drones -> an alert each, at every target; nothing comes out."""

    def __init__(self, targets: Sequence[Target]) -> None:
        super().__init__()
        self._targets = tuple(targets)

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        return rows | "Publish" >> beam.ParDo(_Publish(self._targets))
