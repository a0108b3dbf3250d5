"""Text of others reaches a terminal or a log without control characters.

Payloads, names of files, drones and topics, and the reasons that servers give may hold escape sequences, which can move
a terminal's cursor, hide a line or answer for the user. So the output of each command passes :func:`guarded_output`.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from typing import Any, TextIO, cast
from unicodedata import category


def printable(text: str) -> str:
    r"""The text with what is not printable escaped; newlines and the blanks of typography (no-break, thin) stay.

    >>> printable("a\x1b[2Jb\r\u202e")
    'a\\x1b[2Jb\\r\\u202e'
    """
    if text.isascii() and text.replace("\n", "").isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" or category(c) == "Zs" else ascii(c)[1:-1] for c in text)


class _Guarded:
    """A stream that escapes what is written to it. A write may begin with a carriage return: a bar of progress does."""

    def __init__(self, stream: TextIO) -> None:
        self.unguarded = stream

    def write(self, text: str) -> int:
        shown = text.lstrip("\r")
        self.unguarded.write("\r" * (len(text) > len(shown)) + printable(shown))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)


def number_of(n: int, noun: str) -> str:
    """``1 unit``, ``1,200 units``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


@contextmanager
def guarded_output() -> Iterator[None]:
    """Escape what the body prints on stdout and stderr, also what their encoding cannot write. One that was closed
    before the command began swallows it."""
    _open_all_three()
    out, err = (cast(TextIO, _Guarded(_writable(stream))) for stream in (sys.stdout, sys.stderr))
    with redirect_stdout(out), redirect_stderr(err):
        yield


def _open_all_three() -> None:
    """Let what was closed of stdin, stdout and stderr be the null device: else libraries would take the next file that
    is opened, such as one of the lake, for it."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != descriptor:
                os.dup2(null, descriptor)
                os.close(null)


def _writable(stream: TextIO | None) -> TextIO:
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")  # as long as the process
    stream = unguarded(stream)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
    return stream


def unguarded(stream: TextIO) -> TextIO:
    """The stream itself, for who moves the cursor and escapes with :func:`printable` what is not its own."""
    return cast(TextIO, getattr(stream, "unguarded", stream))
