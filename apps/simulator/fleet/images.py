"""Pictures of parked cars, on their own topic: small unless asked to be large, valid, and no two alike."""

import base64
import random
from collections.abc import Iterator
from functools import cache
from typing import Final

import msgspec

from schemas.messages import SCHEMA_VERSION, ImageMessage

# The smallest baseline JPEG: 8 x 8 grey pixels, one table of each kind, and the two codes that say "no change".
_START: Final = b"\xff\xd8"
_COMMENT: Final = b"\xff\xfe"
_PICTURE: Final = (
    b"\xff\xdb\x00\x43\x00" + bytes([16] * 64)
    + b"\xff\xc0\x00\x0b\x08\x00\x08\x00\x08\x01\x01\x11\x00"
    + b"\xff\xc4\x00\x14\x00\x01" + bytes(15) + b"\x00"
    + b"\xff\xc4\x00\x14\x10\x01" + bytes(15) + b"\x00"
    + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00\x3f"
    + b"\xff\xd9"
)  # fmt: skip
_LENGTH_BYTES: Final = 2
_LONGEST_COMMENT: Final = 0xFFFF - _LENGTH_BYTES
_COMMENT_OVERHEAD: Final = len(_COMMENT) + _LENGTH_BYTES


class Picture(msgspec.Struct, gc=False):
    """An image that is not made yet: where it is due and what it says. ``old`` is the first system's text line.

    ``at_us`` is when it is published, in microseconds since 1970; ``time`` says the same in the format of the message.
    """

    at_us: int
    image_id: str
    time: str
    old: bool

    def payload(self, size: int) -> bytes:
        """The message, with a picture of at least ``size`` bytes in it."""
        data = base64.b64encode(jpeg(self.image_id, size))
        if self.old:
            return f"{self.time};{self.image_id};".encode() + data
        return msgspec.json.encode(
            ImageMessage(
                schema_version=SCHEMA_VERSION, image_id=self.image_id, event_time=self.time, data=data.decode()
            )
        )


def jpeg(image_id: str, size: int = 0) -> bytes:
    """A picture that bears ``image_id`` as its comment, and further comments that make it ``size`` bytes long.

    It is longer by up to three bytes where no comment is short enough, and never shorter than it is without them.
    """
    start = _START + _comment(image_id.encode())
    return b"".join((start, *_padding(size - len(start) - len(_PICTURE)), _PICTURE))


def _padding(size: int) -> Iterator[bytes]:
    """Comments of ``size`` bytes together: each holds 64 KiB at most."""
    while size > 0:
        length = min(max(size - _COMMENT_OVERHEAD, 0), _LONGEST_COMMENT)
        yield _comment(_noise()[:length])
        size -= length + _COMMENT_OVERHEAD


def _comment(text: bytes) -> bytes:
    return _COMMENT + (len(text) + _LENGTH_BYTES).to_bytes(_LENGTH_BYTES, "big") + text


@cache
def _noise() -> bytes:
    """What no compression makes smaller, like a real picture; it is longer than the window that lz4 looks back in."""
    return random.Random(7).randbytes(_LONGEST_COMMENT)
