"""A log that a test may choose."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from terminal import logs


@contextmanager
def own_log() -> Iterator[None]:
    """Let commands choose the log's level and format; afterwards it is as it was."""
    root = logging.getLogger()
    level = root.level
    try:
        yield
    finally:
        logs.set_up(logs.DEFAULT_LEVEL, logs.TEXT)
        root.removeHandler(logs._HANDLER)
        root.setLevel(level)
