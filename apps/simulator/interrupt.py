"""Ctrl-C that lets what is under way arrive."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

EXIT_INTERRUPTED: Final = 130

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether the end was asked for."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def noted_interrupts() -> Iterator[Stop]:
    """Within the block the first Ctrl-C or SIGTERM is only noted; the second does what it always does.

    Signals are the main thread's: in another one, they are not noted.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(_: int, __: FrameType | None) -> None:
        stop.asked = True
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    before = {number: signal.signal(number, note) for number in _SIGNALS}
    try:
        yield stop
    finally:
        restore()
