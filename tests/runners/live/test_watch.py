"""How long a fleet flies, and how long the messages that are left are read."""

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

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


NOTHING: Any = SimpleNamespace(
    start=lambda: None, stop=lambda: None, release=lambda _: None, failure=None, news=list, problems=list
)


class Committed:
    """A ledger that gets a unit each 20 seconds until a time."""

    def __init__(self, clock: Clock, until: float) -> None:
        self._clock, self._until = clock, until

    @property
    def units(self) -> int:
        return int(min(self._clock.now, self._until) // 20)

    def refresh(self) -> None:
        pass


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watch, "time", clock)
    monkeypatch.setattr(Watch, "_show", lambda *_: None)
    return clock


@pytest.mark.parametrize("start_takes", [0.0, 40.0])
def test_seconds_count_from_the_fleets_first_message(clock: Clock, start_takes: float) -> None:
    progress = SimpleNamespace(is_drained=lambda _: True)
    metrics: Any = SimpleNamespace(progress=progress, committed=Committed(clock, 0))
    simulator, graph = Part(clock, start_takes), Part(clock, 0)
    run = Watch("", simulator, graph, metrics, NOTHING, list)  # type: ignore[arg-type]
    assert run.run(8) == 0
    assert 8 <= simulator.ended_at - simulator.flies_at < 10


@pytest.mark.parametrize("commits_until", [1_000.0, 1_200.0])
def test_after_ctrl_c_the_graph_may_go_on_while_it_commits(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, commits_until: float
) -> None:
    progress = SimpleNamespace(is_drained=lambda _: False)
    metrics: Any = SimpleNamespace(progress=progress, committed=Committed(clock, commits_until))
    simulator, graph = Part(clock, 0), Part(clock, 0)
    run = Watch("", simulator, graph, metrics, NOTHING, list)  # type: ignore[arg-type]
    monkeypatch.setattr(run, "_flown_seconds", Mock(side_effect=KeyboardInterrupt))
    assert run.run(8) == 130
    assert not run.is_drained
    assert 30 <= graph.ended_at - commits_until < 35
