"""Pictures of parked cars, on their own topic: small, valid, and no two alike."""

import base64
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


def jpeg(image_id: str) -> bytes:
    """A picture that bears ``image_id`` as its comment."""
    comment = image_id.encode()
    return _START + _COMMENT + (len(comment) + 2).to_bytes(2, "big") + comment + _PICTURE


def image_v1(image_id: str, event_time: str) -> bytes:
    """The JSON message of an image; ``event_time`` is RFC 3339."""
    data = base64.b64encode(jpeg(image_id)).decode()
    return msgspec.json.encode(
        ImageMessage(schema_version=SCHEMA_VERSION, image_id=image_id, event_time=event_time, data=data)
    )


def image_v0(image_id: str, epoch: str) -> bytes:
    """The first system's text line of an image; ``epoch`` is in seconds."""
    return f"{epoch};{image_id};".encode() + base64.b64encode(jpeg(image_id))
