"""The campaigns of ``make soak``, shorter: what is killed at random loses nothing and doubles nothing."""

from pathlib import Path

import pytest

from lake.storage import storage
from pipelines.violations.options import BOUNDED, UNBOUNDED
from runners.services import Services
from tests.recovery.campaign import WITHOUT_PLANS, Attack, Outcome, campaign
from tests.recovery.soak import LONGEST, SETTLE, is_exact, make_recording, make_topic
from tests.services.conftest import up

pytestmark = [pytest.mark.services, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60,000 messages, a tenth of them copies, some of them spoiled."""
    return make_recording(tmp_path_factory.mktemp("recording"), 60_000)


def attacked(
    services: Services, recording: Path, stream: str, mode: str, monkeypatch: pytest.MonkeyPatch, sabotage: str = ""
) -> Outcome:
    """A campaign of two kills, the second of which hits the object storage too."""
    for service in (stream, "s3"):
        for name, value in up(services, service).items():
            monkeypatch.setenv(name, value)
    storage.cache_clear()
    name = f"recovery-{mode}{'-without-plans' if sabotage else ''}"
    publish_to, read_from = make_topic(services, stream, name)
    attack = Attack(
        how=("--mode", mode),
        messages=read_from,
        root=f"s3://prestacop/{stream}-{name}",
        kills=2,
        longest=min(LONGEST[stream, mode], 2.0),
        settle=SETTLE[stream],
        victims=("s3",),
        sabotage=sabotage,
        log=recording.with_name(f"{stream}-{name}.log"),
    )
    try:
        return campaign(attack, recording, publish_to, 3_000, services)
    finally:
        storage.cache_clear()


@pytest.mark.parametrize(
    ("stream", "mode"),
    [
        ("kafka", UNBOUNDED),
        # test_pubsub_source.py and test_unbounded.py kill runs over Pub/Sub, too.
        pytest.param("pubsub", BOUNDED, marks=pytest.mark.nightly),
        pytest.param("kafka", BOUNDED, marks=pytest.mark.nightly),
        pytest.param("pubsub", UNBOUNDED, marks=pytest.mark.nightly),
    ],
)
def test_killed_at_random_each_message_is_in_the_lake_exactly_once(
    services: Services, recording: Path, prism: Path, monkeypatch: pytest.MonkeyPatch, stream: str, mode: str
) -> None:
    outcome = attacked(services, recording, stream, mode, monkeypatch)
    assert is_exact(outcome, stream), outcome
    assert outcome.lake.published > 50_000
    assert outcome.replayed > 0


@pytest.mark.nightly
def test_without_plans_the_same_campaign_finds_rows_twice(
    services: Services, recording: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome = attacked(services, recording, "kafka", BOUNDED, monkeypatch, WITHOUT_PLANS)
    assert not is_exact(outcome, "kafka"), outcome
    assert outcome.lake.rows_in > outcome.lake.published + outcome.lake.copies + outcome.lake.unreadable
