"""What the loader publishes: pieces of a file of tickets, each with what it takes to read it alone.

A message is a line of JSON and the bytes of the file at ``offset``: whole records, up to 500 of them, unless a record
is larger than a message may be. The last message of a file has no bytes, and the length of the file: without it the
file is not complete.

Everybody who may write to the topic can send anything, so a message is checked before a field of it is used: a
fingerprint is 32 hexadecimal digits, since it becomes a part of a name in the lake, and a name is printable text.
"""

import json
from typing import Annotated, Final, Literal, NamedTuple

import msgspec

from schemas.decoding import decode_json
from schemas.files.ticket_csv import MAX_HEADER_BYTES

VERSION: Final = 1
MAX_MESSAGE_BYTES: Final = 1 << 20
"""The loader sends less than half of it: a piece of 256 KiB, the header, and the rest of a record."""
MAX_NAME_CHARS: Final = 255
MAX_FILE_BYTES: Final = 1 << 50
"""No file of tickets is longer."""

Position = Annotated[int, msgspec.Meta(ge=0, le=MAX_FILE_BYTES)]


class Piece(NamedTuple):
    """A part of a file; ``data`` begins at byte ``offset`` of the (unpacked) file."""

    file: str
    """The file's fingerprint, 32 hexadecimal digits: pieces of the same file have the same one."""
    name: str
    """The file's name where it was loaded, for people."""
    header: bytes
    """The first line of the file, its newline included."""
    offset: int
    record: int
    """The number in the file, from 0, of the record that the first byte belongs to."""
    data: bytes
    size: int | None = None
    """The length of the file: in its last message alone."""

    @property
    def end(self) -> int:
        """Where the next piece begins."""
        return self.offset + len(self.data)


class _Head(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The line of JSON."""

    file: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$", max_length=32)]  # of them `$` alone lets a newline pass
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARS)]
    header: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_HEADER_BYTES)]
    offset: Position
    record: Position
    size: Position | None
    v: Literal[1]


_DECODER: Final = msgspec.json.Decoder(_Head)


def encode(piece: Piece) -> bytes:
    """The message of a piece."""
    head = piece._asdict() | {"v": VERSION, "header": piece.header.decode()}
    del head["data"]
    return json.dumps(head, ensure_ascii=False).encode() + b"\n" + piece.data


def decode(message: bytes) -> Piece:
    """The piece of a message. Raises ValueError where it is none of the loader's."""
    if len(message) > MAX_MESSAGE_BYTES:
        raise ValueError(f"it has {len(message):,} bytes, more than {MAX_MESSAGE_BYTES:,}")
    line, _, data = message.partition(b"\n")
    head = decode_json(line, _DECODER, MAX_MESSAGE_BYTES)
    header = head.header.encode()
    piece = Piece(head.file, head.name, header, head.offset, head.record, data, head.size)
    if not is_file_name(head.name):
        raise ValueError("its name is no file's name")
    if b"\n" in header[:-1] or len(header) > MAX_HEADER_BYTES:
        raise ValueError("its header is no line")
    if piece.offset < len(header) or piece.record > piece.offset or piece.end > MAX_FILE_BYTES:
        raise ValueError("its place is in no file")
    if piece.size != (None if data else piece.offset):
        raise ValueError("its size is not where the file ends")
    return piece


def is_file_name(text: str) -> bool:
    """Whether this is printable text that can be the name of a file: no folders, no escape sequences."""
    return text.isprintable() and "/" not in text and text not in ("", ".", "..") and len(text) <= MAX_NAME_CHARS
