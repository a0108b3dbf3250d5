"""Corrupt a drone payload in the ways that real lines are."""

import random
from collections.abc import Callable
from typing import Any, Final

import msgspec

from schemas.messages import MAX_BYTES, MAX_DEPTH, MAX_EXTRA_FIELDS

Fields = dict[str, Any]


def corrupt(payload: bytes, rng: random.Random) -> tuple[bytes, bool]:
    """A corrupted ``payload`` (v1 or v0), without a newline, and whether it can still be decoded.

    Only a message with unknown fields can.
    """
    if payload.startswith(b"{"):
        kind = rng.choice(list(_V1))
        return _V1[kind](payload, rng), kind == "unknown_field"
    return rng.choice(_V0)(payload, rng), False


_Corrupter = Callable[[bytes, random.Random], bytes]


def _changed(change: Callable[[Fields, random.Random], Any]) -> _Corrupter:
    """A message whose fields ``change`` has changed."""

    def corrupter(payload: bytes, rng: random.Random) -> bytes:
        fields: Fields = msgspec.json.decode(payload)
        change(fields, rng)
        return msgspec.json.encode(fields)

    return corrupter


def _replaced(name: str, text: str) -> _Corrupter:
    """A message with the raw JSON ``text`` as the value of ``name``, which no encoder would write."""

    def corrupter(payload: bytes, _: random.Random) -> bytes:
        fields: dict[str, msgspec.Raw] = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
        return msgspec.json.encode({**fields, name: msgspec.Raw(text.encode())})

    return corrupter


def _cut(payload: bytes, rng: random.Random) -> bytes:
    return payload[: rng.randrange(1, len(payload))]


def _binary(_: bytes, rng: random.Random) -> bytes:
    noise = rng.randbytes(rng.randrange(20, 200)).translate(None, b"\r\n")
    # No UTF-8 text begins like this.
    return b"\xff\xfe" + noise


def _empty(_: bytes, __: random.Random) -> bytes:
    return b""


def _wrong_type(fields: Fields, rng: random.Random) -> None:
    fields.update(rng.choice(({"latitude": "north"}, {"battery_pct": [80]}, {"drone_id": 7}, {"sequence": 1.5})))


def _out_of_range(fields: Fields, rng: random.Random) -> None:
    fields["latitude"] = rng.choice((95.2, -90.001, 407128.0))


def _missing(fields: Fields, rng: random.Random) -> None:
    del fields[rng.choice(("message_id", "drone_id", "event_time", "latitude", "kind"))]


def _bad_time(fields: Fields, rng: random.Random) -> None:
    fields["event_time"] = rng.choice(("yesterday", "", "2026-02-30T12:00:00Z", "2026-01-15T25:00:00Z"))


def _bad_code(fields: Fields, rng: random.Random) -> None:
    fields.update(kind="violation", violation_code=rng.choice((100, 117, -1)), plate_id="ABC1234", image_id="none")


def _too_deep(fields: Fields, _: random.Random) -> None:
    nested: Any = 1
    for _depth in range(MAX_DEPTH + 4):
        nested = [nested]
    fields["nested"] = nested


def _too_many(fields: Fields, _: random.Random) -> None:
    fields.update({f"extra_{number}": number for number in range(MAX_EXTRA_FIELDS + 1)})


_V1: Final[dict[str, _Corrupter]] = {
    "truncated": _cut,
    "binary": _binary,
    "empty": _empty,
    "not_an_object": lambda payload, _: b"[" + payload + b"]",
    "nan": _replaced("latitude", "NaN"),
    "infinite": _replaced("longitude", "1e999"),
    "huge_integer": _replaced("sequence", "9" * 40),
    "lone_surrogate": _replaced("drone_id", r'"drone-\ud800"'),
    "duplicate_key": lambda payload, _: payload[:-1] + b',"drone_id":"drone-0000"}',
    "unknown_version": _changed(lambda fields, rng: fields.update(schema_version=rng.choice((0, 2, "1")))),
    "wrong_type": _changed(_wrong_type),
    "out_of_range": _changed(_out_of_range),
    "missing_field": _changed(_missing),
    "bad_time": _changed(_bad_time),
    "bad_code": _changed(_bad_code),
    "too_deep": _changed(_too_deep),
    "too_many_fields": _changed(_too_many),
    "too_large": _changed(lambda fields, _: fields.update(padding="x" * MAX_BYTES)),
    "unknown_field": _changed(lambda fields, _: fields.update(firmware="2.4.1", wind={"m_s": 3.5, "from": "NW"})),
}
_V0: Final[tuple[_Corrupter, ...]] = (
    _binary,
    _empty,
    lambda line, _: b";".join(line.split(b";")[:3]),
    lambda line, _: b"north" + line[line.index(b";") :],
    lambda line, _: b"nan" + line[line.index(b";") :],
    lambda line, _: b"95.2" + line[line.index(b";") :],
)
