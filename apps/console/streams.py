"""How many streams of events an account may have: each keeps a connection for itself as long as it lasts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MOST_STREAMS: Final = 20
"""Of an account: pages that are open at the same time. The oldest ends for another one."""


class Stream:
    """One of them."""

    has_ended = False


class Streams:
    """The streams that are open, by account. Used in the event loop's thread alone."""

    def __init__(self) -> None:
        self._open: dict[str, list[Stream]] = {}

    @contextmanager
    def open(self, name: str) -> Iterator[Stream]:
        """Another one of an account."""
        stream, streams = Stream(), self._open.setdefault(name, [])
        streams.append(stream)
        for old in streams[:-MOST_STREAMS]:
            old.has_ended = True
        try:
            yield stream
        finally:
            streams.remove(stream)
            if not streams:
                self._open.pop(name, None)
