"""Progress on stderr."""

import sys
import time
from types import TracebackType
from typing import Final, Self

from terminal.printing import unguarded

_TERMINAL_S: Final = 0.5
_PLAIN_S: Final = 10.0
_AGAIN: Final = "\r\x1b[K"
"""Back to the start of a terminal's line, and clear it."""


class Progress:
    """One line that changes on a terminal; elsewhere a line every ten seconds."""

    def __init__(self, *, expected: int | None, live: bool, topic: bool, quiet: bool) -> None:
        """``expected`` is about how many messages there will be; ``topic``: they are acknowledged."""
        self._expected = expected
        self._live = live
        self._topic = topic
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._every_s = _TERMINAL_S if self._terminal else _PLAIN_S
        self._shown_at = time.monotonic()
        self._shown = 0

    def show(self, published: int, waiting: int, behind_s: float) -> None:
        """Show the counts if the last time is long enough ago."""
        now = time.monotonic()
        passed = now - self._shown_at
        if self._quiet or passed < self._every_s:
            return
        text = f"simulator: {published:,} published"
        if self._expected:
            text += f" ({min(published / self._expected, 1):.0%})"
        text += f", {(published - self._shown) / passed:,.0f} a second"
        if self._topic:
            text += f", {waiting:,} not acknowledged yet"
        if self._live:
            text += f", {behind_s:.1f} s behind"
        self._shown_at, self._shown = now, published
        end = "" if self._terminal else "\n"
        print(_AGAIN + text if self._terminal else text, end=end, file=unguarded(sys.stderr), flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._terminal and not self._quiet:
            print(_AGAIN, end="", file=unguarded(sys.stderr), flush=True)
