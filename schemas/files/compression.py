"""Packed files, unpacked as they are read; and how long their text may be: a few bytes can be packed that fill any
disk."""

import bz2
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final, cast

from schemas.errors import InputUnusable
from schemas.files.kinds import Packing

MAX_RATIO: Final = 64
"""Text may be so many times as long as its packed form: the city's files are 4 to 10 times, a gzip bomb is 1,000."""
ANY_RATIO_BYTES: Final = 256 << 20
"""Up to here the ratio does not matter: a short file of many equal lines is no harm."""
_READ_BYTES: Final = 1 << 16
_CHUNK_BYTES: Final = 1 << 18


class _Damaged(Exception):
    """What is packed in a file cannot be unpacked."""


@contextmanager
def unpacked(file: IO[bytes], packing: Packing, path: str) -> Iterator[IO[bytes]]:
    """The text of a packed file of one stream or several, to be read from front to back; seeking goes forward.

    Args:
        file: at its start; it is left open.
        path: its name in messages.

    Raises:
        InputUnusable: where the file is cut short, damaged, or goes on with something else.
    """
    try:
        match packing:
            case Packing.GZIP:
                with gzip.open(file) as text:
                    yield cast(IO[bytes], text)
            case Packing.BZIP2:
                yield _readable(file, _bzip2(file))
            case Packing.ZSTD:
                yield _readable(file, _zstd(file, path))
    except (EOFError, gzip.BadGzipFile, zlib.error, _Damaged) as error:
        raise InputUnusable(f"{path}: the {packing} file is damaged ({error}); get it again") from error


def _bzip2(file: IO[bytes]) -> Iterator[bytes]:
    """bz2.open ignores what follows a whole stream and is not bzip2: rows would be lost silently."""
    stream = bz2.BZ2Decompressor()
    while True:
        data = b""
        if stream.eof:
            data = stream.unused_data or file.read(_READ_BYTES)
            if not data:
                return
            stream = bz2.BZ2Decompressor()
        elif stream.needs_input and not (data := file.read(_READ_BYTES)):
            raise EOFError("it ends before its end-of-stream marker")
        try:
            chunk = stream.decompress(data, _CHUNK_BYTES)
        except OSError as error:
            raise _Damaged(str(error)) from error
        if chunk:
            yield chunk


def _zstd(file: IO[bytes], path: str) -> Iterator[bytes]:
    try:
        import pyarrow as pa  # noqa: PLC0415  # the loader has it for these files alone
    except ImportError as error:
        raise InputUnusable(f"{path}: pyarrow, which unpacks zstd, is not here; unpack the file yourself") from error
    stream = pa.CompressedInputStream(pa.PythonFile(_LeftOpen(file), "r"), "zstd")
    while True:
        try:
            chunk = stream.read(_CHUNK_BYTES)
        except OSError as error:
            if str(error).startswith(("ZSTD ", "Truncated ")):  # else the file could not be read
                raise _Damaged(str(error)) from error
            raise
        if not chunk:
            return
        yield chunk


class _LeftOpen:
    """A file that pyarrow reads and does not close."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self.read = file.read

    def close(self) -> None:
        """Leave it open."""


class _Chunks(io.RawIOBase):
    """What an iterator gives, as a file that knows the packed one."""

    def __init__(self, file: IO[bytes], chunks: Iterator[bytes]) -> None:
        self._file, self._chunks = file, chunks
        self._held = memoryview(b"")
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._file.fileno()

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        offset += self._position if whence == io.SEEK_CUR else 0
        if whence == io.SEEK_END or offset < self._position:
            raise io.UnsupportedOperation("a packed file is read from front to back")
        while self._position < offset and self.read(min(offset - self._position, _CHUNK_BYTES)):
            pass
        return self._position

    def readinto(self, buffer: Any) -> int:
        if not self._held:
            self._held = memoryview(next(self._chunks, b""))
        size = min(len(buffer), len(self._held))
        buffer[:size] = self._held[:size]
        self._held = self._held[size:]
        self._position += size
        return size


def _readable(file: IO[bytes], chunks: Iterator[bytes]) -> IO[bytes]:
    return cast(IO[bytes], io.BufferedReader(_Chunks(file, chunks), _CHUNK_BYTES))
