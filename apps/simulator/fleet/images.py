"""Valid JPEG pictures for the topic of images, all different: small ones, or drawings of a parked car."""

import base64
import hashlib
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import Template
from typing import Final
from xml.sax.saxutils import escape

import msgspec
import vl_convert

from schemas.messages import SCHEMA_VERSION, ImageMessage, UploadedImageMessage

# The smallest baseline JPEG: 8 x 8 grey pixels, one table of each kind, and the two codes for "no change".
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
DRAWN_BYTES: Final = 30_000
"""About the size of a drawing of 640 x 400 pixels."""
_SCALE: Final = 2 / 3
_QUALITY: Final = 80
_COLOURS: Final = ("#b8453a", "#2f6fb3", "#3c7a57", "#c9a227", "#6b6f76", "#e4e6e9", "#23272e", "#7a4a8c")


class Picture(msgspec.Struct, gc=False):
    """An image that is not encoded yet. ``old``: its message is a text line of the first system (v0).

    ``at_us`` is when it is published, in microseconds since 1970; ``time`` is the same in the format of the message.
    """

    at_us: int
    image_id: str
    time: str
    old: bool
    drone: str
    plate: str

    def jpeg(self, size: int | None) -> bytes:
        """A picture of at least ``size`` bytes, or without a size a drawing."""
        return parked_car(self.image_id, self.drone, self.plate) if size is None else jpeg(self.image_id, size)

    def payload(self, picture: bytes) -> bytes:
        """The message with the picture in it, v1 or v0."""
        data = base64.b64encode(picture)
        if self.old:
            return f"{self.time};{self.image_id};".encode() + data
        return msgspec.json.encode(
            ImageMessage(
                schema_version=SCHEMA_VERSION, image_id=self.image_id, event_time=self.time, data=data.decode()
            )
        )

    def uploaded_payload(self, picture: bytes) -> bytes:
        """The message on the uploaded picture, v2."""
        return msgspec.json.encode(
            UploadedImageMessage(
                schema_version=2,
                image_id=self.image_id,
                event_time=self.time,
                sha256=hashlib.sha256(picture).hexdigest(),
                bytes=len(picture),
            )
        )


def jpeg(image_id: str, size: int = 0) -> bytes:
    """A picture with ``image_id`` as its comment, and further comments that make it ``size`` bytes long.

    It is up to three bytes longer where no comment is short enough, and has its own size where ``size`` is smaller.
    """
    start = _START + _comment(image_id.encode())
    return b"".join((start, *_padding(size - len(start) - len(_PICTURE)), _PICTURE))


def parked_car(image_id: str, drone: str, plate: str) -> bytes:
    """A drawing of a parked car with this plate, in 30 ms of one core. Colour and place depend on ``image_id``."""
    chance = random.Random(image_id)
    drawing = _parked_car().substitute(
        plate=escape(plate),
        drone=escape(drone),
        colour=chance.choice(_COLOURS),
        shift=chance.randrange(90),
        sky=chance.randrange(205, 235),
    )
    picture = vl_convert.svg_to_jpeg(drawing, scale=_SCALE, quality=_QUALITY)
    return _START + _comment(image_id.encode()) + picture.removeprefix(_START)


@cache
def _parked_car() -> Template:
    return Template(Path(__file__).with_name("parked_car.svg").read_text(encoding="utf-8"))


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
    """Random bytes, which do not compress, like a real picture; longer than the window of lz4."""
    return random.Random(7).randbytes(_LONGEST_COMMENT)
