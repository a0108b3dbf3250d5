"""The progress of a load on stderr: a bar on a terminal, elsewhere a line every ten seconds."""

import sys
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from terminal import bars

_PLAIN_S: Final = 10.0


class Progress:
    """The progress of one file of ``size`` bytes, of which ``done`` were sent by earlier runs."""

    def __init__(self, name: str, size: int, done: int, quiet: bool) -> None:
        self._name, self._size, self._quiet = name, max(size, 1), quiet
        self._began, self._first, self._done = time.monotonic(), done, done
        self._shown = self._began
        self._note = ""
        self._bar: bars.Bar | None = None
        if sys.stderr.isatty() and not quiet:
            from terminal.bars import Bar  # noqa: PLC0415  # saves 7 of 40 MB in a run without a terminal

            self._bar = Bar(desc=name, total=size, done=done, unit="B", quiet=quiet)

    def show(self, done: int) -> None:
        """Show that ``done`` bytes have been sent."""
        step, self._done = done - self._done, done
        if self._note and step:
            self.tell("")
        if self._bar is not None:
            self._bar.update(step)
        else:
            self._line()

    def tell(self, note: str) -> None:
        """Show why the load waits; an empty note clears it."""
        self._note = note
        if self._bar is not None:
            self._bar.set_postfix_str(note)
        else:
            self._line()

    def close(self) -> None:
        """End the bar and leave it on the screen."""
        if self._bar is not None:
            self._bar.close()

    def _line(self) -> None:
        now = time.monotonic()
        if self._quiet or now - self._shown < _PLAIN_S:
            return
        self._shown = now
        rate = (self._done - self._first) / (now - self._began)
        left = spoken((self._size - self._done) / rate) if rate else "unknown time"
        text = f"{self._name}: {self._done / self._size:.0%} of {self._size / 1e6:,.1f} MB, {rate / 1e6:.1f} MB/s"
        print(f"{text}, {self._note or f'{left} left'}", file=sys.stderr, flush=True)


def spoken(seconds: float) -> str:
    """A duration as ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
