"""Decode image messages, v2, v1 and v0, and check their limits."""

import binascii
import re
from typing import Final, NamedTuple

import msgspec

from schemas.decoding import TEXT, Undecodable, decode_checked, decode_json, load_object
from schemas.jpeg import NoJpegError, claimed_pixels
from schemas.messages import (
    EVENT_SECONDS,
    MAX_BYTES,
    MAX_IMAGE_BYTES,
    MAX_IMAGE_PAYLOAD_BYTES,
    MAX_IMAGE_PIXELS,
    Id,
    ImageMessage,
    Reason,
    UploadedImageMessage,
)
from schemas.times import event_time_of

_BEGINS_JSON: Final = re.compile(rb"[ \t\r\n]*\{")
_EPOCH: Final = re.compile(r"-?\d{1,30}(?:\.\d{1,30})?(?:[eE][-+]?\d{1,3})?", re.ASCII)
_QUOTE: Final = re.compile(b'"')
_FEW_QUOTES: Final = 100
_TOO_LARGE: Final = f"more than {MAX_IMAGE_BYTES} bytes"
_DECODER: Final = msgspec.json.Decoder(ImageMessage)
_UPLOADED: Final = msgspec.json.Decoder(UploadedImageMessage)


class Picture(NamedTuple):
    """A picture that was in its message."""

    image_id: str
    event_time: int
    """Microseconds since the epoch."""
    jpeg: bytes


class UploadedPicture(NamedTuple):
    """A picture that its sender has uploaded."""

    image_id: str
    event_time: int
    """Microseconds since the epoch."""
    sha256: str
    """Hexadecimal."""
    bytes: int


def picture_path(sha256: str) -> str:
    """The path below the lake's root of a picture: the same picture always has the same name.

    >>> picture_path("0a1b")
    'pictures/0a/0a1b.jpg'
    """
    return f"pictures/{sha256[:2]}/{sha256}.jpg"


def decode_picture(payload: bytes) -> Picture | UploadedPicture:
    """The picture in a payload, or of v2 what identifies it. Raises Undecodable."""
    if not payload or payload.isspace():
        raise Undecodable(Reason.EMPTY)
    if len(payload) > MAX_IMAGE_PAYLOAD_BYTES:
        raise Undecodable(Reason.TOO_LARGE, _TOO_LARGE)
    found = _of_json(payload) if _BEGINS_JSON.match(payload) else _of_line(payload)
    if isinstance(found, UploadedPicture):
        return found
    image_id, event_time, data = found
    if len(data) > MAX_IMAGE_BYTES * 4 // 3 + 4:  # before decoding a text of any length
        raise Undecodable(Reason.TOO_LARGE, _TOO_LARGE)
    try:
        jpeg = binascii.a2b_base64(data, strict_mode=True)
    except ValueError as error:
        raise Undecodable(Reason.IMAGE_NOT_BASE64, str(error)) from error
    if len(jpeg) > MAX_IMAGE_BYTES:
        raise Undecodable(Reason.TOO_LARGE, _TOO_LARGE)
    check_jpeg(jpeg)
    return Picture(image_id, event_time, jpeg)


def check_jpeg(jpeg: bytes) -> None:
    """Raises Undecodable where bytes are not a JPEG, or claim more pixels than a decoder should be given."""
    try:
        pixels = claimed_pixels(jpeg)
    except NoJpegError as error:
        raise Undecodable(Reason.IMAGE_NOT_JPEG, str(error)) from error
    if pixels > MAX_IMAGE_PIXELS:
        raise Undecodable(Reason.IMAGE_TOO_MANY_PIXELS, f"{pixels}, more than {MAX_IMAGE_PIXELS}")


def _of_json(payload: bytes) -> tuple[str, int, str] | UploadedPicture:
    # The picture is the longest text; the rest is as small as any message and cheap to check.
    start, end = _longest_text(payload)
    rest = payload[:start] + b'""' + payload[end:] if end else payload
    if load_object(rest, MAX_BYTES).get("schema_version") == 2:
        uploaded = decode_json(payload, _UPLOADED)
        return UploadedPicture(uploaded.image_id, _micros(uploaded.event_time), uploaded.sha256, uploaded.bytes)
    message = decode_checked(payload, _DECODER)
    return message.image_id, _micros(message.event_time), message.data


def _micros(event_time: str) -> int:
    found = event_time_of(event_time)
    if found is None:
        raise Undecodable(Reason.EVENT_TIME_UNREADABLE, event_time)
    return found


def _longest_text(payload: bytes) -> tuple[int, int]:
    """From where to where the longest string of a JSON payload reaches; 0 and 0 where there is none.

    >>> _longest_text(b'{"a": "bc"}'), _longest_text(b"{}")
    ((6, 10), (0, 0))
    """
    if payload.count(b'"') <= _FEW_QUOTES and b"\\" not in payload:  # ten times as fast as the pattern
        quotes = [found.start() for found in _QUOTE.finditer(payload)]
        places = list(zip(quotes[::2], [quote + 1 for quote in quotes[1::2]], strict=False))
        if len(quotes) % 2:
            places.append((quotes[-1], len(payload)))
    else:
        places = [found.span() for found in TEXT.finditer(payload)]
    return max(places, key=lambda place: place[1] - place[0], default=(0, 0))


def _of_line(payload: bytes) -> tuple[str, int, str]:
    """``epoch;image_id;data``, the epoch in seconds."""
    try:
        parts = payload.decode().split(";", 3)
    except UnicodeDecodeError as error:
        raise Undecodable(Reason.FIELD_INVALID, str(error)) from error
    if len(parts) != 3:
        raise Undecodable(Reason.V0_MALFORMED, f"{payload.count(b';') + 1} fields, not 3")
    epoch, image_id, data = parts
    if not _EPOCH.fullmatch(epoch):
        raise Undecodable(Reason.FIELD_INVALID, f"the epoch is no number: {epoch[:50]}")
    seconds = float(epoch)
    if not EVENT_SECONDS[0] <= seconds < EVENT_SECONDS[1]:
        raise Undecodable(Reason.EVENT_TIME_UNREADABLE, epoch[:50])
    try:
        msgspec.convert(image_id, Id)
    except msgspec.ValidationError as error:
        raise Undecodable(Reason.FIELD_INVALID, f"image_id: {error}") from error
    return image_id, round(seconds * 1_000_000), data
