"""How far this process is with its files, for metrics."""

import time
from collections.abc import Callable


class Progress:
    """Of all files of a command."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.pending = 0
        """Files that are not loaded yet, the current one included."""
        self.done = 0
        self.sent = 0
        """Bytes."""
        self.share = 0.0
        """Of the current file that was read, from 0 to 1."""
        self.trouble = ""
        """Why the target is waited for; empty while it answers."""
        self._clock = clock
        self._acknowledged = -1
        self._since = clock()

    def begin(self, files: int) -> None:
        """So many files are to be loaded."""
        self.pending, self._since = files, self._clock()

    def file_done(self) -> None:
        """A file was loaded."""
        self.pending, self.done, self.share, self._acknowledged = self.pending - 1, self.done + 1, 0.0, -1
        self._since = self._clock()

    def advance(self, acknowledged: int, share: float) -> None:
        """The target has acknowledged the current file up to this offset."""
        self.share = share
        if acknowledged > self._acknowledged:
            self._acknowledged, self._since, self.trouble = acknowledged, self._clock(), ""

    @property
    def silence(self) -> float:
        """Seconds since the target acknowledged something new."""
        return self._clock() - self._since


progress = Progress()
"""Of this process."""
