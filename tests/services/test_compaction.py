"""``python -m tests.recovery.compaction``, shorter: a lake that is written, compacted, vacuumed and read at once."""

from pathlib import Path

import pytest

from lake.storage import storage
from runners.services import Services
from tests.recovery.compaction import RATE, Attack, campaign
from tests.recovery.soak import make_recording, make_topic
from tests.services.conftest import up

pytestmark = [pytest.mark.services, pytest.mark.timeout(1200)]

SECONDS = 300
"""At most: it ends with the last kill, which on a quiet machine takes a tenth of it."""


@pytest.mark.parametrize(
    ("place", "kills"),
    [("local", 4), *(pytest.param(place, 6, marks=pytest.mark.nightly) for place in ("local", "s3"))],
)
def test_readers_see_each_message_exactly_once_through_kills_and_pauses(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, kills: int
) -> None:
    for service in ("kafka", "s3"):
        for name, value in up(services, service).items():
            monkeypatch.setenv(name, value)
    storage.cache_clear()
    recording = make_recording(tmp_path / "recording", int(RATE * SECONDS))
    topic, _ = make_topic(services, "kafka", f"compaction-{place}-{kills}")
    root = str(tmp_path / "lake") if place == "local" else "s3://prestacop/compaction"
    log = tmp_path / "log"
    try:
        outcome = campaign(Attack(root, recording, topic, kills, log))
    finally:
        print(log.read_text(errors="replace")[-10_000:])  # pytest shows it where the test fails
        storage.cache_clear()
    assert outcome.seen.faults == []
    assert outcome.tables.faults == []
    assert outcome.tables.messages > 1_000
    assert outcome.faults == []
    assert outcome.lake.exact, outcome
    assert outcome.lake.read_once, outcome
    assert outcome.lake.published > 1_000
    assert outcome.changes > 0
    assert outcome.inside > 0, outcome
