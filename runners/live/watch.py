"""Runs the simulator and the graph, and shows the metrics until everything is read."""

import time
from collections.abc import Callable, Sequence

from runners.live.metrics import Metrics, state_of
from runners.live.terminal import Screen, lines, plain
from runners.processes import Child
from terminal.signals import INTERRUPTED

TICK_SECONDS = 1.0
DRAIN_SECONDS = 30
"""How long the graph may go on after Ctrl-C to read the messages that are left."""


class Watch:
    """Runs and watches the simulator and the graph.

    Args:
        not_running: gives the names of the services that do not run.
    """

    def __init__(
        self, title: str, simulator: Child, graph: Child, metrics: Metrics, not_running: Callable[[], list[str]]
    ) -> None:
        self.is_drained = False
        """Whether everything that was published is in the lake."""
        self._title = title
        self._simulator = simulator
        self._graph = graph
        self._metrics = metrics
        self._not_running = not_running
        self._screen = Screen()

    def run(self, seconds: float) -> int:
        """Publish for so long, or until Ctrl-C where it is 0; then read what is left. Gives the exit code.

        Raises:
            ServiceUnavailable: a process ended by itself.
            KeyboardInterrupt: there was a second Ctrl-C.
        """
        for child in self._children():
            child.start()
        end = time.monotonic() + seconds if seconds else float("inf")
        code = 0
        try:
            self._wait("Ctrl-C stops it", lambda: time.monotonic() >= end, self._children())
        except KeyboardInterrupt:
            code = INTERRUPTED
        self._drain(DRAIN_SECONDS if code else float("inf"))
        return code

    def stop(self) -> None:
        """Stop both."""
        for child in self._children():
            child.stop()

    def kill(self) -> None:
        """Kill both."""
        for child in self._children():
            child.kill()

    def _children(self) -> Sequence[Child]:
        return self._simulator, self._graph

    def _drain(self, timeout: float) -> None:
        self._simulator.terminate()
        note = "the simulator is stopping; Ctrl-C stops everything at once"
        self._wait(note, lambda: not self._simulator.is_running(), [self._graph])
        self._simulator.check_exit_code()
        last, end = time.time(), time.monotonic() + timeout

        def is_done() -> bool:
            progress = self._metrics.progress
            self.is_drained = progress is not None and progress.is_drained(last)
            return self.is_drained or time.monotonic() >= end

        self._wait("reading the messages that are left; Ctrl-C stops everything at once", is_done, [self._graph])
        self._graph.stop()
        self._graph.check_exit_code()
        self._metrics.committed.refresh()
        self._show("stopped")

    def _wait(self, note: str, until: Callable[[], bool], running: Sequence[Child]) -> None:
        """Show the metrics until a condition holds. Raises ServiceUnavailable where one of ``running`` has ended."""
        while not until():
            for child in running:
                child.check_running()
            self._show(note)
            time.sleep(TICK_SECONDS - time.time() % TICK_SECONDS)

    def _show(self, note: str) -> None:
        now = self._metrics.update()
        state = state_of(now, [f"{name} does not run" for name in self._not_running()])
        if self._screen.is_terminal:
            self._screen.show(lines(self._title, state, note, now, self._screen.columns), state.level)
        else:
            self._screen.print(plain(state, note, now))
