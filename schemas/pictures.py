"""Decode image messages, v1 and v0, and check their limits."""

import binascii
import re
from typing import Final, NamedTuple

import msgspec

from schemas.decoding import TEXT, Undecodable, decode_checked, load_object
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
)
from schemas.times import event_time_of

_BEGINS_JSON: Final = re.compile(rb"[ \t\r\n]*\{")
_EPOCH: Final = re.compile(r"-?\d{1,30}(?:\.\d{1,30})?(?:[eE][-+]?\d{1,3})?", re.ASCII)
_TOO_LARGE: Final = f"more than {MAX_IMAGE_BYTES} bytes"
_DECODER: Final = msgspec.json.Decoder(ImageMessage)


class Picture(NamedTuple):
    """A decoded picture."""

    image_id: str
    event_time: int
    """Microseconds since the epoch."""
    jpeg: bytes


def decode_picture(payload: bytes) -> Picture:
    """The picture in a payload. Raises Undecodable."""
    if not payload or payload.isspace():
        raise Undecodable(Reason.EMPTY)
    if len(payload) > MAX_IMAGE_PAYLOAD_BYTES:
        raise Undecodable(Reason.TOO_LARGE, _TOO_LARGE)
    image_id, event_time, data = _of_json(payload) if _BEGINS_JSON.match(payload) else _of_line(payload)
    if len(data) > MAX_IMAGE_BYTES * 4 // 3 + 4:  # before decoding a text of any length
        raise Undecodable(Reason.TOO_LARGE, _TOO_LARGE)
    try:
        jpeg = binascii.a2b_base64(data, strict_mode=True)
    except ValueError as error:
        raise Undecodable(Reason.IMAGE_NOT_BASE64, str(error)) from error
    if len(jpeg) > MAX_IMAGE_BYTES:
        raise Undecodable(Reason.TOO_LARGE, _TOO_LARGE)
    try:
        pixels = claimed_pixels(jpeg)
    except NoJpegError as error:
        raise Undecodable(Reason.IMAGE_NOT_JPEG, str(error)) from error
    if pixels > MAX_IMAGE_PIXELS:
        raise Undecodable(Reason.IMAGE_TOO_MANY_PIXELS, f"{pixels}, more than {MAX_IMAGE_PIXELS}")
    return Picture(image_id, event_time, jpeg)


def _of_json(payload: bytes) -> tuple[str, int, str]:
    # The picture is the longest text; the rest is as small as any message and cheap to check.
    longest = max(TEXT.finditer(payload), key=lambda found: found.end() - found.start(), default=None)
    rest = payload[: longest.start()] + b'""' + payload[longest.end() :] if longest else payload
    load_object(rest, MAX_BYTES)
    message = decode_checked(payload, _DECODER)
    event_time = event_time_of(message.event_time)
    if event_time is None:
        raise Undecodable(Reason.EVENT_TIME_UNREADABLE, message.event_time)
    return message.image_id, event_time, message.data


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
