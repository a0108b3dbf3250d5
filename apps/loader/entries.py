"""What stands in a journal: a line each, with a checksum; whatever else is in a file of that name is an error."""

import json
import re
import zlib
from pathlib import Path
from typing import IO, Annotated, Any, Final, Literal

import msgspec

from schemas.errors import OutputUnusable

VERSION: Final = 1
MAX_LINE: Final = 1 << 16
_OURS: Final = re.compile(rb"[0-9a-f]{0,8}|[0-9a-f]{8} (\{.*)?", re.DOTALL)
"""How a line begins, however much of it was written before the power failed."""
Entry = dict[str, Any]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]


class _Entry(msgspec.Struct):
    at: Annotated[float, msgspec.Meta(ge=0, lt=2**33)]


class _Begun(_Entry):
    path: str
    target: str
    size: Count
    fingerprint: str
    v: Literal[1] = 1
    topic: str = ""
    key: str = ""
    upload: str = ""
    part_bytes: Annotated[int, msgspec.Meta(gt=0)] = 1


class _Arrived(_Entry):
    offset: Count
    record: Count
    read: Count = 0
    done: bool = False
    acknowledged: dict[str, tuple[Count, Count]] = {}


class JournalUnusable(OutputUnusable):
    """A file stands where the journal is to be, and is none that can be gone on with."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path} {why}. Move it away and run the same command again: it loads from the start, and readers take "
            "what arrives twice for one"
        )


def line_of(entry: Entry) -> bytes:
    """An entry as it is written."""
    text = json.dumps(entry).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def read_entries(file: IO[bytes], path: Path) -> tuple[list[Entry], int]:
    """The first and the last of the whole lines, and how many bytes these and those between them are.

    Raises JournalUnusable where this is no journal, or one of another version.
    """
    entries: list[Entry] = []
    size = 0
    while line := file.readline(MAX_LINE):
        checksum, _, text = line[:-1].partition(b" ")
        if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
            if not entries and not _OURS.fullmatch(line.rstrip(b"\0\n")):
                raise JournalUnusable(path, "is no journal of the loader")
            break  # torn off by a power cut
        entries = [*entries[:1], _entry(text, not entries, path)]
        size += len(line)
    return entries, size


def _entry(text: bytes, is_first: bool, path: Path) -> Entry:
    try:
        entry = json.loads(text)
        version = entry.get("v", VERSION) if is_first and isinstance(entry, dict) else VERSION
        if version != VERSION:
            raise JournalUnusable(path, f"is a journal of another version of the loader ({version!a}, not {VERSION})")
        msgspec.convert(entry, _Begun if is_first else _Arrived)
    except (ValueError, RecursionError) as error:
        raise JournalUnusable(path, f"is no journal of the loader ({str(error)!a:.200})") from error
    return dict(entry)
