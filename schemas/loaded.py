"""What the loader publishes: pieces of a file of tickets, each with what it takes to read it alone.

A message is a line of JSON and the bytes as they stand in the file, at ``offset``: whole records, up to 500 of them,
unless a record is larger than a message may be. The last message of a file has no bytes and says how long the file is:
a file without it is not there yet.
"""

import json
from typing import Final, NamedTuple

VERSION: Final = 1


class Piece(NamedTuple):
    """A part of a file; ``data`` begins at byte ``offset`` of the (unpacked) file."""

    file: str
    """The file's fingerprint: pieces of the same file have the same one."""
    name: str
    """The file's name where it was loaded, for people."""
    header: bytes
    """The first line as it stands there, its newline included."""
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


def encode(piece: Piece) -> bytes:
    """The message of a piece."""
    head = piece._asdict() | {"v": VERSION, "header": piece.header.decode()}
    del head["data"]
    return json.dumps(head, ensure_ascii=False).encode() + b"\n" + piece.data


def decode(message: bytes) -> Piece:
    """The piece of a message. Raises ValueError where it is none of the loader's."""
    head, _, data = message.partition(b"\n")
    try:
        fields = json.loads(head)
        if fields.pop("v") != VERSION:
            raise ValueError("a version of the loader that is not known here")
        return Piece(**{**fields, "header": fields["header"].encode(), "data": data})
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError("no message of the loader") from error
