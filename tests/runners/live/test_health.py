"""A graph that hangs, or commits nothing while messages wait, is not well."""

from pathlib import Path

import msgspec
import pytest

from runners.live.health import SILENT_SECONDS, STUCK_SECONDS, GraphHealth
from runners.live.metrics import GraphProgress
from sources.progress import Lag

EVERY_SECONDS = 5


class Graph:
    """A graph whose clock and progress the test moves."""

    def __init__(self, path: Path) -> None:
        self.now = 1_000.0
        self.units = 0
        self.waiting = 0
        self.is_stopped = False
        self._path = path
        self.is_well = GraphHealth(path, lambda: self.units, lambda: self.now)

    def pass_time(self, seconds: float, commits: bool = False) -> bool:
        """Whether it was well at the end of this time."""
        end, is_well = self.now + seconds, False
        while self.now < end:
            self.now += EVERY_SECONDS
            self.units += commits
            if not self.is_stopped:
                lag = Lag(self.waiting, self.now, 0)
                progress = GraphProgress(self.now, {}, 0, {"drones": lag}, {"drones": self.now})
                self._path.write_bytes(msgspec.json.encode(progress))
            is_well = self.is_well()
        return is_well


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    """It has just started."""
    return Graph(tmp_path / "progress.json")


def test_a_graph_that_writes_no_progress_is_not_well(graph: Graph) -> None:
    assert not graph.is_well()
    assert graph.pass_time(60)
    graph.is_stopped = True
    assert not graph.pass_time(SILENT_SECONDS + EVERY_SECONDS)
    graph.is_stopped = False
    assert graph.pass_time(EVERY_SECONDS)


def test_a_graph_that_commits_nothing_while_messages_wait_is_not_well(graph: Graph) -> None:
    assert graph.pass_time(2 * STUCK_SECONDS)  # a quiet topic
    graph.waiting = 5
    assert graph.pass_time(2 * STUCK_SECONDS, commits=True)
    assert graph.pass_time(STUCK_SECONDS)
    assert not graph.pass_time(EVERY_SECONDS)
    assert graph.pass_time(EVERY_SECONDS, commits=True)


def test_the_time_without_servers_does_not_count(graph: Graph) -> None:
    graph.waiting = 5
    assert graph.pass_time(STUCK_SECONDS / 2)
    graph.now += 2 * STUCK_SECONDS  # it was not looked at
    assert graph.pass_time(STUCK_SECONDS / 2)
