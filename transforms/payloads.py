"""One drone payload, read with care: for the rows that the columnar decoders leave over.

Slow and plain; it agrees with the fast decoders on every row that both can read.
"""

import json
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final, NamedTuple

import msgspec

from schemas.messages import (
    EVENT_SECONDS,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_EXTRA_FIELDS,
    SCHEMA_VERSION,
    DroneMessage,
    Reason,
)

FIELDS: Final = DroneMessage.__struct_fields__
_LenientMessage: Final = msgspec.defstruct(
    "_LenientMessage",
    [(f.name, f.type) if f.required else (f.name, f.type, f.default) for f in msgspec.structs.fields(DroneMessage)],
    kw_only=True,
)
"""The same fields with the same limits; unknown ones are passed over, and read from the object itself."""
decode_lenient: Final = msgspec.json.Decoder(_LenientMessage).decode
_RFC3339: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}):(\d{2})(?::(\d{2})(?:\.(\d+))?)?(?:([Zz])|([+-])(\d{2})(?::?(\d{2}))?)", re.ASCII
)


class Message(NamedTuple):
    """A message that can be used: the values of DroneMessage's fields, and the fields that it does not have."""

    values: tuple[Any, ...]
    extra: dict[str, str]
    """Name -> JSON text."""


class Refusal(NamedTuple):
    """Why a payload cannot be used."""

    reason: str
    detail: str | None = None


class _DuplicateKeyError(ValueError):
    pass


class _NotJsonError(ValueError):
    pass


def read_payload(payload: bytes) -> Message | Refusal:
    """Read a v1 payload, or say why it cannot be.

    >>> read_payload(b"[1]")
    Refusal(reason='not_an_object', detail='list')
    """
    document = _load(payload)
    if isinstance(document, Refusal):
        return document
    if not isinstance(document, dict):
        return Refusal(Reason.NOT_OBJECT, type(document).__name__)
    if (version := document.get("schema_version")) is None:
        return Refusal(Reason.FIELD_MISSING, "schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        return Refusal(Reason.VERSION_UNKNOWN, ascii(version)[:100])
    unknown = document.keys() - set(FIELDS)
    if len(unknown) > MAX_EXTRA_FIELDS:
        return Refusal(Reason.TOO_MANY_FIELDS, f"{len(unknown)} unknown fields, at most {MAX_EXTRA_FIELDS}")
    try:
        message = decode_lenient(payload)
        extra = {name: _text(document[name]) for name in sorted(unknown)}
    except msgspec.ValidationError as error:
        return _invalid(str(error))
    except (msgspec.DecodeError, UnicodeError) as error:
        return Refusal(Reason.NOT_JSON, str(error)[:200])
    except ValueError:
        return Refusal(Reason.FIELD_INVALID, "a number in an unknown field is beyond all floats")
    return Message(msgspec.structs.astuple(message), extra)


def event_time_of(text: str) -> int | None:
    """An RFC 3339 time in microseconds since the epoch, further digits cut off; None where it is none.

    >>> event_time_of("1970-01-01T00:00:01.5Z")
    1500000
    """
    found = _RFC3339.fullmatch(text)
    if not found:
        return None
    day, hour, minute, second, fraction, utc, sign, offset_h, offset_m = found.groups()
    zone: Any = UTC
    try:
        if not utc:
            offset = timedelta(hours=int(offset_h), minutes=int(offset_m or 0))
            zone = timezone(-offset if sign == "-" else offset)
        base = datetime.fromisoformat(f"{day}T{hour}:{minute}:{second or '00'}").replace(tzinfo=zone)
    except ValueError:
        return None
    since = base - datetime(1970, 1, 1, tzinfo=UTC)
    seconds = since.days * 86_400 + since.seconds
    if not EVENT_SECONDS[0] <= seconds < EVENT_SECONDS[1]:
        return None
    return seconds * 1_000_000 + int(((fraction or "") + "000000")[:6])


def _load(payload: bytes) -> Any:
    """The JSON value, or a Refusal."""
    if not payload.strip():
        return Refusal(Reason.EMPTY)
    if len(payload) > MAX_BYTES:
        return Refusal(Reason.TOO_LARGE, f"{len(payload)} bytes, at most {MAX_BYTES}")
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        return Refusal(Reason.NOT_UTF8, str(error)[:200])
    if _depth(payload) > MAX_DEPTH:
        return Refusal(Reason.TOO_DEEP, f"more than {MAX_DEPTH} levels")
    try:
        return json.loads(text, object_pairs_hook=_pairs, parse_constant=_constant)
    except _DuplicateKeyError as error:
        return Refusal(Reason.DUPLICATE_KEY, str(error)[:200])
    except ValueError as error:
        # Also a number of more digits than Python converts.
        return Refusal(Reason.NOT_JSON, str(error)[:200])


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _DuplicateKeyError(ascii(twice))
    return found


def _constant(name: str) -> None:
    raise _NotJsonError(f"{name} is no JSON")


def _depth(payload: bytes) -> int:
    """How deep the brackets nest at most, those inside strings included: never less than the true depth."""
    depth = deepest = 0
    for byte in payload:
        if byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest


def _text(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    text.encode()  # a lone surrogate cannot be stored
    return text


def _invalid(error: str) -> Refusal:
    if "missing required field" in error:
        return Refusal(Reason.FIELD_MISSING, error.split("`")[1])
    if error.endswith("`$.violation_code`") and "Expected `int`" in error and "got" not in error:
        return Refusal(Reason.CODE_OUT_OF_RANGE, error)
    return Refusal(Reason.FIELD_INVALID, error)
