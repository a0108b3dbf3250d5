"""Where payloads go."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Sink(Protocol):
    """Takes payloads in the order in which they are published."""

    def write(self, payloads: Sequence[bytes]) -> None:
        """Publish ``payloads``; none of them has a newline. Raises OSError."""

    def close(self) -> None:
        """Publish what is still held back. Raises OSError."""


class LineFile:
    """One payload a line."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=1 << 20)

    def write(self, payloads: Sequence[bytes]) -> None:
        """Append ``payloads``."""
        if payloads:
            self._file.write(b"\n".join(payloads) + b"\n")

    def close(self) -> None:
        """Write what is buffered."""
        self._file.close()


def file_of(url: str) -> Path:
    """The path of ``file:PATH``. Raises ValueError for any other URL."""
    scheme, colon, rest = url.partition(":")
    if not colon or scheme != "file" or not rest:
        raise ValueError(f"cannot publish to {url!r}: only file:PATH is supported, one payload a line")
    return Path(rest)
