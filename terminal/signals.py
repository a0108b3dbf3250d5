"""What Ctrl-C, SIGTERM and SIGHUP do to a command: it ends with 130, and never with a traceback.

While ``python -m`` loads a command's modules, which takes a second, and while the command leaves, it ends at once.
While it runs they raise KeyboardInterrupt, so that it tidies up.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_while_loading() -> None:
    """Called by the packages that hold commands: end at once from here on, if Python is about to run one of them.

    One that is ignored stays so: nohup and the background of a shell ignore them.
    """
    if sys.argv[:1] == ["-m"]:  # what Python calls the command while it looks for its module
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _end)


@contextmanager
def raising_interrupts() -> Iterator[None]:
    """Raise KeyboardInterrupt by each of them while the body runs; in a thread that is not the main one, do nothing."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in SIGNALS}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(signum: int, frame: FrameType | None) -> NoReturn:
    with suppress(OSError):
        os.write(2, b"\nstopped\n")
    os._exit(INTERRUPTED)
