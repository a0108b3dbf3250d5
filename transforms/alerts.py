"""Alerts: each unqualified violation of a drone is told to whoever can answer, as soon as its bundle ends.

A bundle that ends has told all its alerts: what it cannot tell fails it, and its units are not committed. A bundle that
is run again tells them again, with the same message_id.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import apache_beam as beam
import pyarrow as pa

from schemas.alerts import Alert
from schemas.messages import SCHEMA_VERSION, UNQUALIFIED
from sources.units import UnitBatch
from transforms.alert_channels import Channel, Target, open_channel

AT_ONCE: Final = 1_000
"""Alerts that wait for the end of the bundle; with more of them, nobody waits for it."""

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


class _Publish(beam.DoFn):  # type: ignore[misc]  # Beam's classes are untyped
    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets = targets
        self._channels: list[Channel] = []
        self._waiting: list[Alert] = []

    def start_bundle(self) -> None:
        self._waiting = []

    def process(self, batch: UnitBatch) -> None:
        self._waiting += alerts_of(batch.rows, datetime.now(UTC))
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
        self._waiting = []


class PublishAlerts(beam.PTransform):  # type: ignore[misc]
    """Unqualified violations of drones -> an alert each, at every target; nothing comes out."""

    def __init__(self, targets: Sequence[Target]) -> None:
        super().__init__()
        self._targets = tuple(targets)

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        return rows | "Publish" >> beam.ParDo(_Publish(self._targets))
