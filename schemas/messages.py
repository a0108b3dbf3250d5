"""The drone messages on the wire: v1 (JSON) and v0 (the first system's text line).

v1 is one JSON object in UTF-8, at most :data:`MAX_BYTES` long; fields that this version does not know are kept.
v0 is ``lat;lon;height;epoch;drone_id;status[;violation_code;image_id]``, the epoch in seconds, UTC.
"""

from hashlib import blake2b
from typing import Annotated, Final, Literal

import msgspec

SCHEMA_VERSION: Final = 1
MAX_BYTES: Final = 64 * 1024
"""A payload longer than this is a dead letter: a real message has about 300 bytes."""
MAX_DEPTH: Final = 16
"""Unknown fields nested deeper than this make a dead letter."""
MAX_EXTRA_FIELDS: Final = 64
MAX_ID_CHARS: Final = 200
UNQUALIFIED: Final = 0
"""The violation code of a violation that a police officer must look at."""
MAX_CODE: Final = 99
"""The city's codes run from 1 to 99 (NYC DOF Parking Violation Codes)."""

EVENT_SECONDS: Final = (0, 7_258_118_400)
"""The valid range of event times, in seconds since the epoch: from 1970 to before 2200."""
MAX_INT: Final = 2**63 - 1

OFFICER: Final = "officer"
"""The status of an officer's answer. The graph accepts it only with a valid signature: rows with this status are
signed, and no others."""
Kind = Literal["position", "violation"]
Status = Literal["raw", "officer"]
Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_CHARS)]


class DroneMessage(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False, forbid_unknown_fields=True):
    """One v1 message. A violation carries the last fields, a position does not; an officer's answer
    is a violation with ``status="officer"`` that names the message it ``answers``."""

    schema_version: Literal[1]
    message_id: Id
    drone_id: Id
    sequence: Annotated[int, msgspec.Meta(ge=0, le=MAX_INT)]
    event_time: Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARS)]
    """RFC 3339, UTC: ``2026-01-15T12:00:00.000000Z``."""
    latitude: Annotated[float, msgspec.Meta(ge=-90, le=90)]
    longitude: Annotated[float, msgspec.Meta(ge=-180, le=180)]
    altitude_m: Annotated[float, msgspec.Meta(ge=-1e6, le=1e6)]
    battery_pct: Annotated[float, msgspec.Meta(ge=0, le=100)]
    kind: Kind
    status: Status
    violation_code: Annotated[int, msgspec.Meta(ge=UNQUALIFIED, le=MAX_CODE)] | None = None
    plate_id: Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARS)] | None = None
    image_id: Id | None = None
    answers: Id | None = None
    officer_id: Id | None = None
    signature: Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARS)] | None = None


MAX_IMAGE_BYTES: Final = 10 * 1024 * 1024
"""A picture longer than this is a dead letter."""
MAX_IMAGE_PAYLOAD_BYTES: Final = 2 * MAX_IMAGE_BYTES
"""Limit of an image message: base64 makes four bytes of three, and JSON may escape some of them."""
MAX_IMAGE_PIXELS: Final = 50_000_000
"""A picture whose header claims more is a dead letter: a drone's camera has 48 million at most, and decoding takes
three bytes of memory per pixel."""


class ImageMessage(msgspec.Struct, kw_only=True, gc=False):
    """A v1 message of the images' own topic, with the picture in it; v0 is the line ``epoch;image_id;data``."""

    schema_version: Literal[1]
    image_id: Id
    event_time: Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARS)]
    """RFC 3339, UTC."""
    data: str
    """A JPEG in base64."""


class UploadedImageMessage(msgspec.Struct, kw_only=True, gc=False):
    """A v2 message of the images' topic: its sender has uploaded the picture to the lake before
    (:func:`schemas.pictures.picture_path`), and sends only what identifies it."""

    schema_version: Literal[2]
    image_id: Id
    event_time: Annotated[str, msgspec.Meta(max_length=MAX_ID_CHARS)]
    """RFC 3339, UTC."""
    sha256: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    """Of the JPEG: its name in the lake is made of it."""
    bytes: Annotated[int, msgspec.Meta(ge=1, le=MAX_IMAGE_BYTES)]
    """The size of the JPEG."""


def v0_message_id(line: bytes) -> str:
    """The message_id of a v0 line, which has none: 32 hexadecimal digits of a hash of the line."""
    return blake2b(line, digest_size=16).hexdigest()


class Reason:
    """Why a drone payload is a dead letter."""

    EMPTY: Final = "payload_empty"
    TOO_LARGE: Final = "payload_too_large"
    NOT_UTF8: Final = "not_utf8"
    NOT_JSON: Final = "not_json"
    NOT_OBJECT: Final = "not_an_object"
    DUPLICATE_KEY: Final = "duplicate_key"
    TOO_DEEP: Final = "too_deep"
    TOO_MANY_FIELDS: Final = "too_many_fields"
    VERSION_UNKNOWN: Final = "schema_version_unknown"
    FIELD_MISSING: Final = "field_missing"
    FIELD_INVALID: Final = "field_invalid"
    """A field of the wrong type or out of its range; ``detail`` names it."""
    EVENT_TIME_UNREADABLE: Final = "event_time_unreadable"
    CODE_OUT_OF_RANGE: Final = "code_out_of_range"
    V0_MALFORMED: Final = "v0_malformed"
    DECODER_FAILED: Final = "decoder_failed"
    """The decoder raised an unexpected error, named in ``detail``: a bug. Once it is fixed, replay reads these payloads
    again."""
    IMAGE_NOT_BASE64: Final = "image_not_base64"
    IMAGE_NOT_JPEG: Final = "image_not_jpeg"
    IMAGE_TOO_MANY_PIXELS: Final = "image_too_many_pixels"
    IMAGE_NOT_UPLOADED: Final = "image_not_uploaded"
    """The lake has no picture of the ``sha256`` of a v2 message. Once it is uploaded, replay finds it."""
    IMAGE_SIZE_DIFFERS: Final = "image_size_differs"
    """The picture of a v2 message has another size in the lake than the message says."""
    ANSWER_UNSIGNED: Final = "answer_unsigned"
    """``status="officer"`` without the signature of a known key (:mod:`schemas.answers`)."""
