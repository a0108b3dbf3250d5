"""One drone payload at a time: the slow path, for payloads that the columnar decoders cannot read.

It agrees with the fast decoders on every payload that both can read.
"""

import json
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from schemas.decoding import Undecodable, load_object
from schemas.messages import MAX_EXTRA_FIELDS, SCHEMA_VERSION, DroneMessage, Reason
from schemas.times import event_time_of

T = TypeVar("T")

FIELDS: Final = DroneMessage.__struct_fields__
_LenientMessage: Final = msgspec.defstruct(
    "_LenientMessage",
    [(f.name, f.type) if f.required else (f.name, f.type, f.default) for f in msgspec.structs.fields(DroneMessage)],
    kw_only=True,
)
"""The same fields with the same limits; unknown fields are ignored here and read from the object."""
decode_lenient: Final = msgspec.json.Decoder(_LenientMessage).decode


class Message(NamedTuple):
    """A valid message: the values of DroneMessage's fields, and the unknown fields."""

    values: tuple[Any, ...]
    extra: dict[str, str]
    """Name -> JSON text."""


class Refusal(NamedTuple):
    """Why a payload is a dead letter."""

    reason: str
    detail: str | None = None


def guarded(read: Callable[[bytes], T | Refusal], payload: bytes) -> T | Refusal:
    """The result of ``read`` for one payload; a refusal where it raises, so that no payload ends a run."""
    try:
        return read(payload)
    except Undecodable as error:
        return Refusal(error.reason, error.detail)
    except MemoryError:  # not the fault of the payload
        raise
    except Exception as error:  # noqa: BLE001  # the payload is kept as a dead letter, with the error
        return failed(error)


def failed(error: Exception) -> Refusal:
    """The refusal of a payload whose decoder raised an unexpected error."""
    return Refusal(Reason.DECODER_FAILED, f"{type(error).__name__}: {error}"[:200])


def read_payload(payload: bytes) -> Message | Refusal:
    """Read a v1 payload; a refusal where it is invalid.

    >>> read_payload(b"[1]")
    Refusal(reason='not_an_object', detail='list')
    """
    try:
        document = load_object(payload)
    except Undecodable as error:
        return Refusal(error.reason, error.detail)
    if (version := document.get("schema_version")) is None:
        return Refusal(Reason.FIELD_MISSING, "schema_version")
    if version != SCHEMA_VERSION or isinstance(version, bool):
        return Refusal(Reason.VERSION_UNKNOWN, ascii(version)[:100])
    unknown = document.keys() - set(FIELDS)
    if len(unknown) > MAX_EXTRA_FIELDS:
        return Refusal(Reason.TOO_MANY_FIELDS, f"{len(unknown)} unknown fields, at most {MAX_EXTRA_FIELDS}")
    try:
        message = decode_lenient(payload)
        extra = {name: field_text(document[name]) for name in sorted(unknown)}
    except msgspec.ValidationError as error:
        return _invalid(str(error))
    except (msgspec.DecodeError, UnicodeError) as error:
        return Refusal(Reason.NOT_JSON, str(error)[:200])
    except ValueError:
        return Refusal(Reason.FIELD_INVALID, "a number in an unknown field is beyond all floats")
    values = msgspec.structs.astuple(message)
    event_time = values[FIELDS.index("event_time")]
    if event_time_of(event_time) is None:
        return Refusal(Reason.EVENT_TIME_UNREADABLE, event_time)
    return Message(values, extra)


def field_text(value: Any) -> str:
    """The stored form of an unknown field. Raises ValueError where it cannot be stored."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    text.encode()  # a lone surrogate cannot be stored
    return text


def _invalid(error: str) -> Refusal:
    if error.startswith("Object missing required field"):
        return Refusal(Reason.FIELD_MISSING, error.split("`")[1])
    if error.endswith("`$.violation_code`") and "Expected `int`" in error and "got" not in error:
        return Refusal(Reason.CODE_OUT_OF_RANGE, error)
    return Refusal(Reason.FIELD_INVALID, error)
