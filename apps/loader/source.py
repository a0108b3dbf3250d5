"""The file that is loaded: what it is known by, and whether it is still what it was."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, NamedTuple, cast

from schemas.errors import InputChanged, InputUnusable, NotPermitted
from schemas.files.compression import ANY_RATIO_BYTES, MAX_RATIO, unpacked
from schemas.files.kinds import FIRST_BYTES, Packing, kind_of
from schemas.history import MAX_HEADER_BYTES, columns_of, first_line
from schemas.loaded import is_file_name

_SAMPLE: Final = 1 << 16


class SourceFile(NamedTuple):
    """A file of tickets, plain or packed, as it was when it was looked at."""

    path: Path
    size: int
    changed_ns: int
    """When it was last written to."""
    packing: Packing | None
    """How it is packed; None where it is plain."""
    fingerprint: str
    """Made from size, time of change, and both ends: enough to tell files apart without reading them."""
    header: bytes = b""
    columns: int = 0
    separator: str = ","
    """What stands between the fields."""

    @property
    def arrives_as(self) -> str:
        """Its name at a target that keeps files: two files of one name do not meet."""
        name, dot, suffix = self.path.name.partition(".")
        return f"{name}-{self.fingerprint[:12]}{dot}{suffix}"

    @contextmanager
    def open(self, text: bool) -> Iterator[IO[bytes]]:
        """The file's bytes; of a packed file its text if that is wanted. Raises InputUnusable where it is damaged."""
        with _opened(self.path) as file:
            if not (text and self.packing):
                yield file
                return
            with unpacked(file, self.packing, str(self.path)) as unpacked_text:
                yield unpacked_text

    def read_of(self, file: IO[bytes]) -> int:
        """How many of its bytes, packed ones where it is packed, were read."""
        return os.lseek(file.fileno(), 0, os.SEEK_CUR)

    def check_length(self, sent: int) -> None:
        """Whether a packed file can honestly hold so many bytes of text. Raises InputUnusable."""
        if self.packing and sent > (bound := max(ANY_RATIO_BYTES, MAX_RATIO * self.size)):
            raise InputUnusable(
                f"{self.path}: {self.size:,} packed bytes are more than {bound:,} bytes of text: this is no file of "
                "tickets, and its end is not sent. If you know what it is, unpack it yourself and load the text"
            )

    def check(self, file: IO[bytes]) -> None:
        """Whether it is still the same. Raises InputChanged."""
        found = os.fstat(file.fileno())
        if (found.st_size, found.st_mtime_ns) != (self.size, self.changed_ns):
            raise InputChanged(
                f"{self.path} was changed while it was being loaded; what was sent of it is not taken for a file. When "
                "nobody writes to it any more, run the same command with --restart"
            )


def look_at(path: Path) -> SourceFile:
    """Look at a file's ends. Raises InputUnusable where it is no file of tickets, NotPermitted."""
    if not is_file_name(path.name):
        raise InputUnusable(
            f"{str(path)!a}: this name is no printable text in UTF-8, so that nothing can be sent under it; "
            "rename the file"
        )
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
    if path.is_fifo():  # to open it would wait for a writer
        raise InputUnusable(f"{path}: no regular file; copy what it gives to a file, and name that")
    try:
        file = path.open("rb", buffering=0)
    except PermissionError as error:
        raise NotPermitted(f"{path}: this user may not read it; give it the right (chmod +r), or be another") from error
    except OSError as error:
        raise InputUnusable(f"{path}: {error.strerror}; name a file of tickets") from error
    with file:
        yield cast(IO[bytes], file)
