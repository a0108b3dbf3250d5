"""Files that appear under their names only when they are complete."""

import gzip
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast


@contextmanager
def appearing(*finals: Path) -> Iterator[tuple[Path, ...]]:
    """Give a ``.part`` path for each of ``finals``; at the end of the block they get their names, in that order.

    If the block raises, the parts are removed; if the process is killed, only parts are left behind.
    """
    parts = tuple(final.with_name(final.name + ".part") for final in finals)
    try:
        yield parts
        for part, final in zip(parts, finals, strict=True):
            os.replace(part, final)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def open_for_writing(part: Path, *, compressed: bool) -> IO[bytes]:
    """A binary file. A compressed one has no name or time in it, so that the same bytes give the same file."""
    if compressed:
        return cast(IO[bytes], _Gzip(part))
    return part.open("wb", buffering=1 << 20)


class _Gzip(gzip.GzipFile):
    def __init__(self, part: Path) -> None:
        self._raw = part.open("wb")
        super().__init__(filename="", mode="wb", compresslevel=1, fileobj=self._raw, mtime=0)

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._raw.close()
