"""Starts parts of a live run again that end by themselves or hang: after pauses that double, and not for ever."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from runners.live.metrics import Level, State
from schemas.errors import PrestaCopError

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
WELL_SECONDS = 60.0
"""A part that has run for so long is well again."""
MOST_ENDS = 5
"""A part that ends so often within :data:`WELL_SECONDS` is not started again, and the run ends."""
PATIENCE_SECONDS = 600.0
"""Nor is one that was not well for so long."""
CHECK_SECONDS = 0.5
HEALTH_EVERY_SECONDS = 5.0
HANGS_SECONDS = 30.0
"""A part whose health page was not well for so long is killed, and so started again."""
HANGS_AT_START_SECONDS = 300.0
"""The same of one whose page was never well since its start: on a busy machine that took 90 s, and one that is started
again too soon is never well."""


class Part(NamedTuple):
    """A process of the run."""

    name: str
    effect: str
    """What does not happen without it."""
    log: str
    """Where it reports why it ended."""
    is_running: Callable[[], bool]
    start: Callable[[], object]
    """Raises PrestaCopError."""
    why: Callable[[], PrestaCopError]
    """Why it ended, with the exit code that the run has if it gives up."""
    kill: Callable[[], object]
    is_well: Callable[[], bool] | None = None
    """Whether its health page says so; None where it has none."""
    is_server: bool = False
    """The parts after it need it: they are not started while it does not run."""


@dataclass
class _History:
    ends: deque[float] = field(default_factory=deque)
    """Of the last :data:`WELL_SECONDS`."""
    times: int = 0
    """How often it has ended since it was well."""
    unwell_since: float = 0.0
    runs_since: float | None = None
    """None while it does not run."""
    due: float = 0.0
    """When it is started again."""
    well_at: float | None = None
    """When its health page was last well; None: never since its start."""
    health_due: float = 0.0


class Supervisor:
    """Watches parts that run, in a thread.

    Args:
        parts: servers first.
    """

    def __init__(self, parts: Sequence[Part], clock: Callable[[], float] = time.monotonic) -> None:
        self.failure: PrestaCopError | None = None
        """Why the run must end: a part ended again and again."""
        self._clock = clock
        self._parts = {part.name: part for part in parts}
        self._histories = {part.name: _History(runs_since=clock()) for part in parts}
        self._news: deque[State] = deque()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        """Watch from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Start nothing any more; waits for a part that is being started."""
        self._stopped.set()
        if self._thread.ident:
            self._thread.join()

    def kill(self) -> None:
        """Start nothing any more; a server may still be starting."""
        self._stopped.set()
        if self._thread.ident:
            self._thread.join(CHECK_SECONDS)

    def release(self, name: str) -> None:
        """Do not start this part again."""
        self._parts = {key: part for key, part in self._parts.items() if key != name}

    def problems(self) -> list[str]:
        """For each part that does not run its name, the effect and the remedy, in one sentence."""
        return [self._problem(part) for part in self._parts.values() if self._histories[part.name].runs_since is None]

    def news(self) -> list[State]:
        """A line for each part that has ended, and for each that was started again, since the last call."""
        return [self._news.popleft() for _ in range(len(self._news))]

    def check(self) -> None:
        """Look at each part once, and start those that are due."""
        blocked = False
        for part in self._parts.values():
            history, now = self._histories[part.name], self._clock()
            if part.is_running():
                self._runs(part, history, now, blocked)
            elif history.runs_since is not None:
                self._has_ended(part, history, now, part.why())
            elif now >= history.due and not blocked and not self._stopped.is_set():
                self._start(part, history)
            if self.failure:
                return
            blocked = blocked or (part.is_server and history.runs_since is None)

    def _watch(self) -> None:
        while not self._stopped.wait(CHECK_SECONDS) and not self.failure:
            self.check()

    def _runs(self, part: Part, history: _History, now: float, blocked: bool) -> None:
        if history.runs_since is None:  # somebody else has started it
            history.runs_since, history.well_at = now, None
        if history.times and now - history.runs_since >= WELL_SECONDS:
            history.times = 0
        patience = HANGS_AT_START_SECONDS if history.well_at is None else HANGS_SECONDS
        if part.is_well and now >= history.health_due:
            history.health_due = now + HEALTH_EVERY_SECONDS
            if blocked or part.is_well():  # without a server it can do nothing, and a restart would not help
                history.well_at = now
            elif now - (history.well_at or history.runs_since) >= patience:
                self._news.append(State(Level.RED, f"{part.name} hangs: {part.effect}. It is killed; see {part.log}"))
                part.kill()

    def _start(self, part: Part, history: _History) -> None:
        try:
            part.start()
        except PrestaCopError as error:
            self._has_ended(part, history, self._clock(), error)
        else:
            history.runs_since, history.well_at = self._clock(), None
            self._news.append(State(Level.GREEN, f"{part.name} was started again"))

    def _has_ended(self, part: Part, history: _History, now: float, why: PrestaCopError) -> None:
        history.runs_since = None
        history.unwell_since = history.unwell_since if history.times else now
        history.times += 1
        history.ends.append(now)
        while history.ends[0] <= now - WELL_SECONDS:
            history.ends.popleft()
        if len(history.ends) >= MOST_ENDS or now - history.unwell_since >= PATIENCE_SECONDS:
            self.failure = why
            return
        history.due = now + min(FIRST_PAUSE_SECONDS * 2 ** (history.times - 1), LONGEST_PAUSE_SECONDS)
        self._news.append(State(Level.RED, self._problem(part)))

    def _problem(self, part: Part) -> str:
        history = self._histories[part.name]
        wait = max(history.due - self._clock(), 0)
        again = f"; it has ended {history.times} times, see {part.log}" if history.times > 1 else f"; see {part.log}"
        return f"{part.name} does not run: {part.effect}. It is started again in {wait:.0f} s{again}"
