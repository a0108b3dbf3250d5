"""Lines that stay in their place on a terminal; elsewhere one line now and then."""

import os
import shutil
import sys
import time
from collections.abc import Sequence

from terminal.printing import printable, unguarded

PLAIN_SECONDS = 5.0


class Screen:
    """Where the figures are shown: plain ANSI, of which two sequences are enough."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
        self._shown: Sequence[str] = ()
        self._printed = -PLAIN_SECONDS

    @property
    def columns(self) -> int:
        """How wide it is now. The last column stays empty: some terminals go to the next line behind it."""
        return shutil.get_terminal_size().columns - 1

    def show(self, lines: Sequence[str]) -> None:
        """Put ``lines`` in the place of those before, as many as there is room for."""
        lines = lines[: shutil.get_terminal_size().lines - 1]
        # Where the window has become narrower, what was a line is several now.
        above = sum(1 + len(line) // (self.columns + 1) for line in self._shown)
        back = f"\x1b[{above}F" if above else ""
        terminal = unguarded(sys.stdout)
        terminal.write(f"{back}\x1b[J" + "".join(f"{printable(line)}\n" for line in lines))
        terminal.flush()
        self._shown = lines

    def print(self, line: str) -> None:
        """A line of its own, if it is time for one."""
        if time.monotonic() - self._printed >= PLAIN_SECONDS:
            self._printed = time.monotonic()
            print(line, flush=True)
