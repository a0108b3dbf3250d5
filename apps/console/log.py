"""The console's log: limited, so that invalid messages cannot fill the disk."""

import logging
import time
from collections.abc import Callable
from typing import Final

from terminal import logs

LINES_A_MINUTE: Final = 5
"""For each place in the program that logs."""


class Bounded(logging.Filter):
    """Passes a few records a minute of each place in the program; the next one says how many were left out."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._minutes: dict[tuple[str, int], tuple[int, int]] = {}
        """Place -> minute, records of it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is logged."""
        place, minute = (record.pathname, record.lineno), int(self._clock() // 60)
        before, count = self._minutes.get(place, (minute, 0))
        if before == minute:
            self._minutes[place] = (minute, count + 1)
            return count < LINES_A_MINUTE
        self._minutes[place] = (minute, 1)
        if count > LINES_A_MINUTE:
            left_out = count - LINES_A_MINUTE
            record.msg, record.args = f"{record.getMessage()} ({left_out} more of these were not logged)", ()
        return True


def set_up() -> None:
    """Write the log to stderr, with at most :data:`LINES_A_MINUTE` of each place."""
    logs.set_up()
    logs.add_filter(Bounded())
