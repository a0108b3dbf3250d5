"""A fleet that flies and a graph that follows it, watched from their start to their end."""

import time
from collections.abc import Callable, Sequence

from runners.live.children import Child
from runners.live.screen import Screen
from runners.live.seen import Measured
from runners.live.view import lines, plain
from terminal.signals import INTERRUPTED

TICK_SECONDS = 1.0
DRAIN_SECONDS = 30
"""After Ctrl-C the graph may go on for so long, to read what is under way."""


class Run:
    """One live run.

    Args:
        away: says which services do not run.
    """

    def __init__(
        self, title: str, simulator: Child, graph: Child, measured: Measured, away: Callable[[], list[str]]
    ) -> None:
        self.is_drained = False
        """Whether all that was published is in the lake."""
        self._title = title
        self._simulator = simulator
        self._graph = graph
        self._measured = measured
        self._away = away
        self._screen = Screen()

    def run(self, seconds: float) -> int:
        """Fly for so long, or until Ctrl-C where it is 0; then read what is under way. Gives the exit code.

        Raises:
            ServiceUnavailable: a child ended by itself.
            KeyboardInterrupt: there was a second Ctrl-C.
        """
        for child in self._children():
            child.start()
        end = time.monotonic() + seconds if seconds else float("inf")
        code = 0
        try:
            self._watch("Ctrl-C ends it", lambda: time.monotonic() >= end, self._children())
        except KeyboardInterrupt:
            code = INTERRUPTED
        self._land(DRAIN_SECONDS if code else float("inf"))
        return code

    def end(self) -> None:
        """End what still runs."""
        for child in self._children():
            child.end()

    def kill(self) -> None:
        """The same at once."""
        for child in self._children():
            child.kill()

    def _children(self) -> Sequence[Child]:
        return self._simulator, self._graph

    def _land(self, patience: float) -> None:
        self._simulator.ask()
        self._watch("the fleet lands; Ctrl-C ends all at once", lambda: not self._simulator.runs(), [self._graph])
        self._simulator.check_end()
        landed, end = time.time(), time.monotonic() + patience

        def done() -> bool:
            figures = self._measured.figures
            self.is_drained = figures is not None and figures.is_drained(landed)
            return self.is_drained or time.monotonic() >= end

        self._watch("reading what is under way; Ctrl-C ends all at once", done, [self._graph])
        self._graph.end()
        self._graph.check_end()
        self._measured.committed.look()
        self._show("all has ended")

    def _watch(self, note: str, until: Callable[[], bool], running: Sequence[Child]) -> None:
        """Show the figures until something is so, or one of those that must run does not."""
        while not until():
            for child in running:
                child.check()
            self._show(note)
            time.sleep(TICK_SECONDS - time.time() % TICK_SECONDS)

    def _show(self, note: str) -> None:
        seen = self._measured.look()
        note = "; ".join([*(f"{name} does not run" for name in self._away()), note])
        if self._screen.is_terminal:
            self._screen.show(lines(self._title, note, seen, self._screen.columns))
        else:
            self._screen.print(plain(note, seen))
