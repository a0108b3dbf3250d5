"""Segments of Pub/Sub are cut by bytes, and read in batches of bounded bytes."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from google.cloud.pubsub_v1.types import PubsubMessage

from messaging.urls import PubSubUrl
from schemas.lake import Source
from sources.streams import pubsub
from sources.streams.pubsub import PubSubStream


def test_pulled_messages_are_spooled_and_read_in_segments_of_bounded_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pubsub, "SEGMENT_BYTES", 1_000)
    monkeypatch.setattr(pubsub, "BATCH_BYTES", 300)
    acknowledged: list[str] = []
    monkeypatch.setattr(pubsub, "Subscription", lambda _: SimpleNamespace(acknowledge=acknowledged.extend))
    stream = PubSubStream(PubSubUrl("project", "drones"), Source.DRONES)
    planner: Any = stream.planner(str(tmp_path))
    now = datetime(2015, 7, 6, tzinfo=UTC)
    sizes = [100] * 25 + [5_000, 1]
    messages = [
        SimpleNamespace(ack_id=str(n), message=PubsubMessage(data=b"x" * size, message_id=str(n), publish_time=now))
        for n, size in enumerate(sizes)
    ]
    units = [planned.unit for planned in planner._spool_all(messages)]
    assert [unit.end for unit in units] == [10, 10, 6, 1]
    read = [[b["payload"].to_pylist() for b in stream.payloads(unit, str(tmp_path))] for unit in units]
    assert [[len(batch) for batch in of_unit] for of_unit in read] == [[3, 3, 3, 1], [3, 3, 3, 1], [3, 3], [1]]
    assert [len(payload) for of_unit in read for batch in of_unit for payload in batch] == sizes
    assert acknowledged == [str(n) for n in range(27)]
    assert planner._spool_all([]) == []
