"""Runs the simulator and the graph, and shows the metrics and the state of all parts until everything is read."""

import time
from collections.abc import Callable

from runners.live.metrics import Metrics, state_of
from runners.live.supervisor import Supervisor
from runners.live.terminal import Screen, lines, plain, state_lines
from runners.processes import Child
from schemas.simulator import FLIES
from terminal.signals import INTERRUPTED

TICK_SECONDS = 1.0
DRAIN_SECONDS = 30
"""After Ctrl-C, how long the graph may go on without a commit to read the messages that are left."""


class Watch:
    """Runs and watches the simulator and the graph.

    Args:
        warnings: gives what does not work beside the parts of the supervisor.
    """

    def __init__(
        self,
        title: str,
        simulator: Child,
        graph: Child,
        metrics: Metrics,
        supervisor: Supervisor,
        warnings: Callable[[], list[str]],
    ) -> None:
        self.is_drained = False
        """Whether everything that was published is in the lake."""
        self._title = title
        self._children = self._simulator, self._graph = simulator, graph
        self._metrics = metrics
        self._supervisor = supervisor
        self._warnings = warnings
        self._screen = Screen()
        self._flies_since: float | None = None

    def run(self, seconds: float) -> int:
        """Publish for so long, or until Ctrl-C where it is 0; then read what is left. Gives the exit code.

        Raises:
            PrestaCopError: a part ended by itself again and again.
            KeyboardInterrupt: there was a second Ctrl-C.
        """
        for child in self._children:
            child.start()
        self._supervisor.start()
        code = 0
        try:
            self._wait("Ctrl-C stops it", lambda: bool(seconds) and self._flown_seconds() >= seconds)
        except KeyboardInterrupt:
            code = INTERRUPTED
        self._drain(DRAIN_SECONDS if code else float("inf"))
        return code

    def stop(self) -> None:
        """Stop both, and start nothing again."""
        self._supervisor.stop()
        for child in self._children:
            child.stop()

    def kill(self) -> None:
        """Kill both, and start nothing again."""
        self._supervisor.kill()
        for child in self._children:
            child.kill()

    def _flown_seconds(self) -> float:
        now = time.monotonic()
        if self._flies_since is None and FLIES in self._simulator.output():
            self._flies_since = now
        return 0.0 if self._flies_since is None else now - self._flies_since

    def _drain(self, timeout: float) -> None:
        self._supervisor.release(self._simulator.name)
        was_running = self._simulator.is_running()
        self._simulator.terminate()
        note = "the simulator is stopping; Ctrl-C stops everything at once"
        self._wait(note, lambda: not self._simulator.is_running())
        if was_running:
            self._simulator.check_exit_code()
        last, units, end = time.time(), self._metrics.committed.units, time.monotonic() + timeout

        def is_done() -> bool:
            nonlocal units, end
            if (committed := self._metrics.committed.units) > units:
                units, end = committed, time.monotonic() + timeout
            progress = self._metrics.progress
            self.is_drained = progress is not None and progress.is_drained(last)
            return self.is_drained or time.monotonic() >= end

        self._wait("reading the messages that are left; Ctrl-C stops everything at once", is_done)
        self._supervisor.stop()
        was_running = self._graph.is_running()
        self._graph.stop()
        if was_running:
            self._graph.check_exit_code()
        self._metrics.committed.refresh()
        self._show("stopped")

    def _wait(self, note: str, until: Callable[[], bool]) -> None:
        """Show the metrics until a condition holds. Raises PrestaCopError where the supervisor gives up."""
        while not until():
            if self._supervisor.failure:
                raise self._supervisor.failure
            self._show(note)
            time.sleep(TICK_SECONDS - time.time() % TICK_SECONDS)

    def _show(self, note: str) -> None:
        now = self._metrics.update()
        for news in self._supervisor.news():
            self._screen.announce(news)
        state = state_of(now, self._supervisor.problems(), self._warnings())
        if self._screen.is_terminal:
            columns = self._screen.columns
            self._screen.show(state_lines(state, columns), state.level, lines(self._title, note, now, columns))
        else:
            self._screen.print(plain(state, note, now), note)
