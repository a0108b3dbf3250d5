"""Foreign bytes are a value or one exception, and twice as many bytes are twice the work."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas import decoding
from schemas.alerts import Alert
from schemas.commands import Command, Confirmation
from schemas.decoding import Undecodable, decode_json, is_too_deep, load_object
from schemas.messages import MAX_BYTES, MAX_DEPTH, DroneMessage, ImageMessage, Reason
from schemas.pictures import _longest_text

TYPES = (Alert, Command, Confirmation, DroneMessage, ImageMessage)
DECODERS: list[msgspec.json.Decoder[Any]] = [msgspec.json.Decoder(kind) for kind in TYPES]
ANY: msgspec.json.Decoder[Any] = msgspec.json.Decoder()
CONFIRMATION = {"command_id": "c", "drone_id": "d", "command": "hold", "time": "2026-01-15T12:00:00Z"}


def nested(levels: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    """An object with a value of so many levels."""
    return b'{"x": ' + opening * levels + b"1" + closing * levels + b"}"


def refused(payload: bytes, decoder: msgspec.json.Decoder[Any] = ANY, max_bytes: int = MAX_BYTES) -> str:
    """The reason why a payload is none."""
    with pytest.raises(Undecodable) as caught:
        decode_json(payload, decoder, max_bytes)
    (caught.value.detail or "").encode()  # can be stored
    return caught.value.reason


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Reason.EMPTY),
        (b" \t\r\n", Reason.EMPTY),
        (b'{"x": "' + b"x" * MAX_BYTES + b'"}', Reason.TOO_LARGE),
        (b'"\xff"', Reason.NOT_UTF8),
        (b'{"x": "\xed\xa0\x80"}', Reason.NOT_UTF8),
        (nested(5_000), Reason.TOO_DEEP),
        (nested(10_000, b'{"x":', b"}"), Reason.TOO_DEEP),
        (b'{"x": ' + b"[" * 5_000, Reason.TOO_DEEP),
        # Brackets inside a text hide none outside of it.
        (b'{"x": "' + b"]" * 5_000 + b'", "y": ' + b"[" * 5_000 + b"]" * 5_000 + b"}", Reason.TOO_DEEP),
        (b'{"x": "\\"' + b"]" * 5_000 + b'", "y": ' + b"[" * 5_000, Reason.TOO_DEEP),
        (b"]" * 5_000 + b"[" * 5_000, Reason.NOT_JSON),
        (b'{"x": NaN}', Reason.NOT_JSON),
        (b'{"x": ' + b"9" * 5_000 + b"}", Reason.NOT_JSON),
        (b'{"x": "\\ud800"}', Reason.NOT_JSON),
        (b"{", Reason.NOT_JSON),
        (b"\x00", Reason.NOT_JSON),
        (b"[1]", Reason.NOT_OBJECT),
        (b"null", Reason.NOT_OBJECT),
        (b'{"x": 1, "x": 2}', Reason.DUPLICATE_KEY),
        (b'{"x": [{"\\u0061": 1, "a": 2}]}', Reason.DUPLICATE_KEY),
        (b'{"\\ud800": 1, "\\ud800": 2}', Reason.DUPLICATE_KEY),
    ],
)
def test_each_reason_for_which_a_payload_is_refused(payload: bytes, reason: str) -> None:
    assert refused(payload) == reason


def test_the_limits_are_those_that_are_documented() -> None:
    deepest = nested(MAX_DEPTH - 1)
    assert decode_json(deepest, ANY)
    assert refused(nested(MAX_DEPTH)) == Reason.TOO_DEEP
    assert decode_json(b'{"x": "' + b"[{" * 1_000 + b'"}', ANY) == {"x": "[{" * 1_000}
    padded = deepest + b" " * (MAX_BYTES - len(deepest))
    assert decode_json(padded, ANY)
    assert refused(padded + b" ") == Reason.TOO_LARGE
    assert decode_json(padded + b" ", ANY, MAX_BYTES + 1)


def test_a_value_of_another_type_says_which() -> None:
    for fields in (CONFIRMATION | {"command": "dive"}, {"command_id": "c"}, CONFIRMATION | {"drone_id": ""}):
        assert refused(json.dumps(fields).encode(), msgspec.json.Decoder(Confirmation)) == Reason.FIELD_INVALID
    assert decode_json(json.dumps(CONFIRMATION).encode(), msgspec.json.Decoder(Confirmation)).command == "hold"


def test_any_exception_of_a_decoder_refuses_the_payload() -> None:
    class Broken:
        def decode(self, payload: bytes) -> None:
            raise RecursionError("as deep as the stack \ud800")

    with pytest.raises(Undecodable, match="RecursionError: as deep as the stack"):
        decode_json(b"{}", Broken())  # type: ignore[arg-type]


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=()), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.sampled_from([*CONFIRMATION, "alert_time", "data", "é"]), JSON_VALUES, max_size=4)


@st.composite
def mutated(draw: Callable[[Any], Any]) -> bytes:
    """A confirmation, some of whose bytes were changed, taken out, repeated or put in."""
    data = bytearray(json.dumps(CONFIRMATION).encode())
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        end = min(place + draw(st.integers(0, 20)), len(data))
        new = draw(st.binary(max_size=4) | st.sampled_from([b"\xff", b"[" * 2_000, b'"', b"\\", b"9" * 5_000, b"\x00"]))
        data[place:end] = draw(st.sampled_from([new, bytes(data[place:end]) * 3]))
    return bytes(data)


@given(
    st.binary(max_size=80) | mutated() | st.builds(lambda fields: json.dumps(fields).encode(), OBJECTS),
    st.sampled_from(DECODERS),
)
@example(nested(5_000), DECODERS[-1])
@example(b'"\xff"', DECODERS[2])
def test_whatever_the_bytes_the_answer_is_a_value_or_undecodable(
    payload: bytes, decoder: msgspec.json.Decoder[Any]
) -> None:
    found: Any
    try:
        found = decode_json(payload, decoder)
    except Undecodable as error:
        found = error
    if isinstance(found, Undecodable):
        assert found.reason in vars(Reason).values()
        (found.detail or "").encode()
    else:
        assert isinstance(found, TYPES)


@given(JSON_VALUES, st.integers(1, 5))
def test_the_depth_is_the_true_one(value: Any, most: int) -> None:
    def depth(value: Any) -> int:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        return 0 if inner is None else 1 + max(map(depth, inner), default=0)

    assert is_too_deep(json.dumps(value).encode(), most) == (depth(value) > most)


class CountedName(str):
    """A name that counts how often any is compared with another."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        CountedName.compared += 1
        return super().__eq__(other)


def comparisons(names: int) -> int:
    """To find the one name among many that is there twice, the last."""
    CountedName.compared = 0
    keys = [*range(names), names - 1]
    pairs: list[tuple[str, Any]] = []
    pairs += [(CountedName(f"key {n}"), n) for n in keys]
    with pytest.raises(Undecodable, match="duplicate_key"):
        decoding._object(pairs)
    return CountedName.compared


def test_a_key_twice_is_found_in_linear_time() -> None:
    # 7,200 names compared with one another: 26 million.
    assert comparisons(7_200) <= 8 * comparisons(1_800) + 1_000 < 100_000


@given(st.binary(max_size=40) | st.text('"\\\\[]x', max_size=40).map(str.encode))
@example(b'"' + b'\\"' * 50_000)
def test_where_a_quote_is_a_text_is_found_so_that_no_byte_is_looked_at_twice(payload: bytes) -> None:
    place = payload.find(b'"')
    while place >= 0:
        found = decoding.TEXT.match(payload, place)
        assert found, f"looks in vain from byte {place} to the end"
        place = payload.find(b'"', found.end())


@pytest.mark.parametrize("payload", [b"[1]", b'"x"', b"1", b"true"])
def test_what_is_no_object_is_refused(payload: bytes) -> None:
    with pytest.raises(Undecodable, match="not_an_object"):
        load_object(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b'{"a": "bc", "d": ""}',
        b'{"a": "b',
        b'"',
        b'"" "a" "bb"',
        b'{"a": "b\\"c", "d": "e"}',
        b'"a' * 300,
        b'\\"ab"',
    ],
)
def test_the_longest_text_is_that_of_the_pattern_with_and_without_escapes(payload: bytes) -> None:
    spans = [found.span() for found in decoding.TEXT.finditer(payload)]
    assert _longest_text(payload) == max(spans, key=lambda span: span[1] - span[0], default=(0, 0))
