"""How far a run in this process is: bytes planned and bytes read, for a progress bar to show."""

import threading


class Progress:
    """Two counters that many threads may move."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.bytes_planned = 0
        self.bytes_done = 0

    def planned(self, size: int) -> None:
        """``size`` bytes more will be read."""
        with self._lock:
            self.bytes_planned += size

    def advance(self, size: int) -> None:
        """``size`` bytes went through the graph."""
        with self._lock:
            self.bytes_done += size


progress = Progress()
"""Of this process; workers elsewhere report through Beam's metrics."""
