"""Attempts are repeated until a service has been silent for too long, by time and not by number."""

import pytest

from messaging.retry import Patience
from schemas.errors import NotPermitted, ServiceUnavailable


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The naps that were taken; time passes by them alone."""
    naps: list[float] = []
    monkeypatch.setattr("messaging.retry.time.sleep", naps.append)
    monkeypatch.setattr("messaging.retry.time.monotonic", lambda: sum(naps))
    return naps


def away(clock: list[float], seconds: float) -> str:
    """A request to a service that is away for so long."""
    if sum(clock) < seconds:
        raise OSError("no route")
    return "an answer"


def test_a_network_outage_may_take_an_hour(clock: list[float]) -> None:
    reported: list[str] = []
    patience = Patience(86_400, reported.append)
    patience.heard()
    assert patience.attempt(lambda: away(clock, 3_600), str) == "an answer"
    assert max(clock) <= 30
    assert len(clock) < 150
    assert "waiting for" in reported[-1]


def test_a_longer_network_outage_is_reported(clock: list[float]) -> None:
    patience = Patience(600, lambda _: None)
    patience.heard()
    with pytest.raises(ServiceUnavailable):
        patience.attempt(lambda: away(clock, 3_600), str)
    assert 600 < sum(clock) < 700


def test_a_service_that_never_answered_is_given_up_soon_unless_the_load_has_begun(clock: list[float]) -> None:
    with pytest.raises(ServiceUnavailable):
        Patience(86_400, lambda _: None).attempt(lambda: away(clock, 3_600), str)
    assert 20 < sum(clock) < 60
    assert Patience(86_400, lambda _: None, answered=True).attempt(lambda: away(clock, 3_600), str) == "an answer"


def test_a_permanent_error_is_reported_at_once(clock: list[float]) -> None:
    with pytest.raises(NotPermitted):
        Patience(600, lambda _: None).attempt(lambda: away(clock, 1), lambda _: NotPermitted("no"))
    assert clock == []
