"""The progress of a command on stderr: a line that changes on a terminal; a pipe or a file gets a line now and then."""

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final, Self

from terminal.logs import is_json
from terminal.printing import printable, unguarded

PLAIN_S: Final = 10.0
_TERMINAL_S: Final = 0.3
_SMOOTHING: Final = 0.3
"""The weight of the newest interval in the rate."""
_ERASE: Final = "\r\x1b[K"
"""Back to the start of a terminal's line, and clear it."""


class Bar:
    """How much is done, in ``unit``, of ``total`` if that is known; the rate; the time left, or a note.

    Args:
        of: elements to iterate over, each of which is one unit; ``total`` is their number.
        done: what was done before.
        seconds: how often the line changes on a terminal.
    """

    def __init__(
        self,
        of: Sequence[Any] = (),
        *,
        desc: str,
        unit: str,
        quiet: bool,
        total: int | None = None,
        done: int = 0,
        seconds: float = _TERMINAL_S,
    ) -> None:
        self.n = done
        self.total = total or len(of) or None
        self.note = ""
        self._of = of
        self._desc, self._unit = desc, unit
        self._hidden = quiet or is_json()
        self._terminal = sys.stderr.isatty()
        self._every_s = seconds if self._terminal else PLAIN_S
        self._shown_at, self._shown = time.monotonic(), done
        self._rate = 0.0

    def update(self, step: int = 0) -> None:
        """``step`` more is done; show it if the last time is long enough ago."""
        self.n += step
        now = time.monotonic()
        passed = now - self._shown_at
        if self._hidden or not passed or passed < self._every_s:
            return
        newest = (self.n - self._shown) / passed
        self._rate += (newest - self._rate) * (_SMOOTHING if self._rate else 1)
        self._shown_at, self._shown = now, self.n
        self._print()

    def close(self) -> None:
        """Leave the line on a terminal as it is; the command's own lines say how it ended."""
        if self._terminal and not self._hidden:
            self._print()
            print(file=sys.stderr, flush=True)
        self._hidden = True

    def _print(self) -> None:
        text = printable(self._text())
        if self._terminal:
            print(
                _ERASE + text[: shutil.get_terminal_size().columns - 1], end="", file=unguarded(sys.stderr), flush=True
            )
        else:
            print(text, file=sys.stderr, flush=True)

    def _text(self) -> str:
        rate = f"{amount(self._rate, self._unit)}/s"
        done, left = amount(self.n, self._unit), ""
        if self.total:
            done = f"{min(self.n / self.total, 1):.0%} of {amount(self.total, self._unit)}"
            left = f"{clock(max(self.total - self.n, 0) / self._rate)} left" if self._rate else ""
        return ", ".join(filter(None, (f"{self._desc}: {done}", rate, self.note or left)))

    def __iter__(self) -> Iterator[Any]:
        with self:
            for element in self._of:
                yield element
                self.update(1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def amount(n: float, unit: str) -> str:
    """Three digits or more, a prefix, and the unit.

    >>> amount(0, "B"), amount(999, " rows"), amount(1_234, "B"), amount(56_789_000, " rows"), amount(7.5e12, "B")
    ('0 B', '999 rows', '1.23 kB', '56.8 M rows', '7500 GB')
    """
    prefix = ""
    for larger in "kMG":
        if n >= 999.5:
            n, prefix = n / 1000, larger
    digits = 0 if n >= 99.95 or not prefix else 1 if n >= 9.995 else 2
    return " ".join(f"{n:.{digits}f} {prefix}{unit}".split())


def clock(seconds: float) -> str:
    """A duration as ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
