"""The limit of event streams per account: each occupies a connection."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

MOST_STREAMS: Final = 20
"""Streams per account; a further one ends the oldest."""


class Stream:
    """An event stream."""

    has_ended = False


class Streams:
    """Open streams by account. Used in the event loop's thread only."""

    def __init__(self) -> None:
        self._open: dict[str, list[Stream]] = {}

    @contextmanager
    def open(self, name: str) -> Iterator[Stream]:
        """Register a stream of an account."""
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
