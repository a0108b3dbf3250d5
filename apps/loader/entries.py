"""The entries of a journal, one line each with a checksum; any other content is an error."""

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
"""How a line begins, however much of it was written before a power cut."""
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
    """The journal's file cannot be used as a journal."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path} {why}. Move it away and run the same command again: it loads from the start, and readers "
            "deduplicate what is sent twice"
        )


def line_of(entry: Entry) -> bytes:
    """The line of an entry."""
    text = json.dumps(entry).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def read_entries(file: IO[bytes], path: Path) -> tuple[list[Entry], int]:
    """The first and the last complete entry, and the length in bytes of all complete lines.

    Raises JournalUnusable where this is not a journal, or one of another version.
    """
    entries: list[Entry] = []
    size = 0
    while line := file.readline(MAX_LINE):
        checksum, _, text = line[:-1].partition(b" ")
        if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text):
            if not entries and not _OURS.fullmatch(line.rstrip(b"\0\n")):
                raise JournalUnusable(path, "is not a journal of the loader")
            break  # torn by a power cut
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
        raise JournalUnusable(path, f"is not a journal of the loader ({str(error)!a:.200})") from error
    return dict(entry)
