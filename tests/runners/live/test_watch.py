"""How long a fleet flies."""

from types import SimpleNamespace
from typing import Any

import pytest

from runners.live import watch
from runners.live.watch import Watch
from schemas.simulator import FLIES


class Clock:
    """Goes on by a second whenever somebody sleeps."""

    now = 1_000.0

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 0.5)


class Part:
    """A child that says that the fleet flies some time after its start."""

    name = "simulator"

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds
        self.flies_at = self.ended_at = 0.0

    def start(self) -> None:
        self.flies_at = self._clock.now + self._seconds

    def output(self) -> str:
        return f"{FLIES}\n" if self._clock.now >= self.flies_at else "loading\n"

    def is_running(self) -> bool:
        return not self.ended_at

    def terminate(self) -> None:
        self.ended_at = self.ended_at or self._clock.now

    stop = terminate

    def check_exit_code(self) -> None:
        pass


@pytest.mark.parametrize("start_takes", [0.0, 40.0])
def test_seconds_count_from_the_fleets_first_message(monkeypatch: pytest.MonkeyPatch, start_takes: float) -> None:
    clock = Clock()
    monkeypatch.setattr(watch, "time", clock)
    monkeypatch.setattr(Watch, "_show", lambda *_: None)
    nothing: Any = SimpleNamespace(
        start=lambda: None, stop=lambda: None, release=lambda _: None, failure=None, refresh=lambda: None
    )
    metrics: Any = SimpleNamespace(progress=SimpleNamespace(is_drained=lambda _: True), committed=nothing)
    simulator, graph = Part(clock, start_takes), Part(clock, 0)
    run = Watch("", simulator, graph, metrics, nothing, list)  # type: ignore[arg-type]
    assert run.run(8) == 0
    assert 8 <= simulator.ended_at - simulator.flies_at < 10
