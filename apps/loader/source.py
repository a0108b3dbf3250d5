"""The file that is loaded: its fingerprint, and the check that it has not changed."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple, cast

from schemas.errors import InputChanged, InputUnusable, NotPermitted
from schemas.files.compression import ANY_RATIO_BYTES, MAX_RATIO, unpacked
from schemas.files.kinds import FIRST_BYTES, Packing, kind_of
from schemas.files.ticket_csv import MAX_HEADER_BYTES, columns_of, first_line
from schemas.loaded import is_file_name

_SAMPLE: Final = 1 << 16


class SourceFile(NamedTuple):
    """A ticket file, plain or compressed, as it was when :func:`look_at` inspected it."""

    path: Path
    size: int
    changed_ns: int
    """Its modification time."""
    packing: Packing | None
    """Its compression; None where it is plain."""
    fingerprint: str
    """Hash of size, modification time and both ends: enough to distinguish files without reading them whole."""
    header: bytes = b""
    columns: int = 0
    separator: str = ","
    """The field separator."""

    @property
    def arrives_as(self) -> str:
        """Its name at a target that stores files; unique, so that two files of one name do not collide."""
        name, dot, suffix = self.path.name.partition(".")
        return f"{name}-{self.fingerprint[:12]}{dot}{suffix}"

    @contextmanager
    def open(self, text: bool) -> Iterator[IO[bytes]]:
        """The file's bytes; with ``text`` those of the decompressed text. Raises InputUnusable where it is damaged."""
        with _opened(self.path) as file:
            if not (text and self.packing):
                yield file
                return
            with unpacked(file, self.packing, str(self.path)) as unpacked_text:
                yield unpacked_text

    def read_of(self, file: IO[bytes]) -> int:
        """How many of its bytes were read; compressed ones where it is compressed."""
        return os.lseek(file.fileno(), 0, os.SEEK_CUR)

    def check_length(self, sent: int) -> None:
        """Refuse a decompression bomb: more text than the compression can plausibly give. Raises InputUnusable."""
        if self.packing and sent > (bound := max(ANY_RATIO_BYTES, MAX_RATIO * self.size)):
            raise InputUnusable(
                f"{self.path}: {self.size:,} compressed bytes give more than {bound:,} bytes of text: not a ticket "
                "file; its end is not sent. If you trust it, decompress it yourself and load the text"
            )

    def check(self, file: IO[bytes]) -> None:
        """Check that the file has not changed. Raises InputChanged."""
        found = os.fstat(file.fileno())
        if (found.st_size, found.st_mtime_ns) != (self.size, self.changed_ns):
            raise InputChanged(
                f"{self.path} changed during the load; readers ignore what was sent of it. When nothing writes to it "
                "any more, run the same command with --restart"
            )


def look_at(path: Path) -> SourceFile:
    """Inspect both ends of a file. Raises InputUnusable where it is not a ticket file, NotPermitted."""
    if not is_file_name(path.name):
        raise InputUnusable(f"{str(path)!a}: the file name is not printable UTF-8 text; rename the file")
    with _opened(path) as file:
        found = os.fstat(file.fileno())
        begin = file.read(_SAMPLE)
        file.seek(max(found.st_size - _SAMPLE, 0))
        digest = hashlib.blake2b(f"{found.st_size} {found.st_mtime_ns} ".encode(), digest_size=16)
        digest.update(begin)
        digest.update(file.read(_SAMPLE))
    packing = kind_of(begin[:FIRST_BYTES]).packing
    looked_at = SourceFile(path, found.st_size, found.st_mtime_ns, packing, digest.hexdigest())
    with looked_at.open(text=True) as file:
        begin = file.read(MAX_HEADER_BYTES)
    columns, separator = columns_of(begin, str(path))
    return looked_at._replace(header=first_line(begin), columns=len(columns), separator=separator)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    if path.is_fifo():  # opening it would block until a writer opens it
        raise InputUnusable(f"{path}: not a regular file; save its content to a file and load that")
    try:
        file = path.open("rb", buffering=0)
    except PermissionError as error:
        raise NotPermitted(
            f"{path}: this user may not read it; give it the permission (chmod +r), or run as another user"
        ) from error
    except OSError as error:
        raise InputUnusable(f"{path}: {error.strerror}; name a ticket file") from error
    with file:
        yield cast(IO[bytes], file)
