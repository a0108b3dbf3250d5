"""Decode untrusted payloads: length, encoding and depth are checked before the decoder runs.

The graph, the console and the loader's pieces use it for all foreign payloads: whatever the bytes, the result is a
value or one exception, in time linear in the payload.
"""

import json
import re
from collections import Counter
from itertools import accumulate
from typing import Any, Final, TypeVar

import msgspec

from schemas.messages import MAX_BYTES, MAX_DEPTH, Reason

T = TypeVar("T")

MAX_DETAIL_CHARS: Final = 200

TEXT: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
"""A JSON string. An unterminated one extends to the end of the payload, so that no byte is scanned twice. A run of
usual characters is one step: five times as fast as a step for each."""
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"{}[]"))
_STEPS: Final = [1 if byte in b"{[" else -1 for byte in range(256)]


class Undecodable(ValueError):
    """An invalid payload.

    ``reason`` is one of :class:`schemas.messages.Reason`; ``detail`` is a short text, or None. Both can be stored as
    UTF-8, whatever the payload contained.
    """

    def __init__(self, reason: str, detail: str | None = None) -> None:
        self.reason = reason
        self.detail = None if detail is None else detail.encode(errors="backslashreplace").decode()[:MAX_DETAIL_CHARS]
        super().__init__(reason if self.detail is None else f"{reason}: {self.detail}")


def decode_json(payload: bytes, decoder: msgspec.json.Decoder[T], max_bytes: int = MAX_BYTES) -> T:
    """Decode a payload that is one JSON object to the decoder's type. Raises Undecodable, and nothing else but
    MemoryError.

    >>> decode_json(b'{"a": 1}', msgspec.json.Decoder(dict[str, int]))
    {'a': 1}
    """
    load_object(payload, max_bytes)
    return decode_checked(payload, decoder)


def decode_checked(payload: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Decode a payload whose length, depth and keys are checked already. Raises as :func:`decode_json`."""
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError as error:
        raise Undecodable(Reason.FIELD_INVALID, str(error)) from error
    except MemoryError:  # not the fault of the payload
        raise
    except Exception as error:
        raise Undecodable(Reason.NOT_JSON, f"{type(error).__name__}: {error}") from error


def load_object(payload: bytes, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """The JSON object in a payload, in Python's own types; a key that an object has twice is refused, at any depth.

    Raises Undecodable, and nothing else but MemoryError.
    """
    text = checked_text(payload, max_bytes)
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except (Undecodable, MemoryError):
        raise
    except Exception as error:  # a number with more digits than Python converts is a ValueError too
        raise Undecodable(Reason.NOT_JSON, str(error)) from error
    if not isinstance(document, dict):
        raise Undecodable(Reason.NOT_OBJECT, type(document).__name__)
    return document


def checked_text(payload: bytes, max_bytes: int = MAX_BYTES) -> str:
    """The payload as text, if it is not empty, at most ``max_bytes`` long, UTF-8, and its brackets nest no deeper than
    MAX_DEPTH. Raises Undecodable."""
    if not payload or payload.isspace():
        raise Undecodable(Reason.EMPTY)
    if len(payload) > max_bytes:
        raise Undecodable(Reason.TOO_LARGE, f"{len(payload)} bytes, at most {max_bytes}")
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        raise Undecodable(Reason.NOT_UTF8, str(error)) from error
    if is_too_deep(payload):
        raise Undecodable(Reason.TOO_DEEP, f"more than {MAX_DEPTH} levels")
    return text


def is_too_deep(payload: bytes, max_depth: int = MAX_DEPTH) -> bool:
    """Whether the brackets nest deeper than ``max_depth``; those inside texts do not count.

    >>> is_too_deep(b'{"a": "[[[", "b": [[]]}', 3), is_too_deep(b'["]]]", [[[', 3)
    (False, True)
    """
    if payload.count(b"[") + payload.count(b"{") <= max_depth:
        return False
    brackets = TEXT.sub(b"", payload).translate(None, _NO_BRACKETS)
    return any(depth > max_depth for depth in accumulate(map(_STEPS.__getitem__, brackets)))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = next(name for name, n in Counter(name for name, _ in pairs).items() if n > 1)
        raise Undecodable(Reason.DUPLICATE_KEY, ascii(twice))
    return found


def _refuse_constant(name: str) -> None:
    raise Undecodable(Reason.NOT_JSON, f"{name} is no JSON")
