"""Whatever a payload is, it is a row or a dead letter: nothing that was sent ends a run."""

import base64
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from apps.simulator.fleet.images import jpeg
from schemas.answers import answer_to, new_key, public_key, sign
from schemas.lake import Source
from schemas.messages import MAX_BYTES, MAX_IMAGE_PAYLOAD_BYTES, Reason
from sources.payloads import payload_batch
from sources.units import Unit, UnitBatch
from tests.schemas.test_answers import alert
from transforms.images import read_picture, store_pictures
from transforms.live.counts import slice_letters, slice_rows
from transforms.messages import decode as messages
from transforms.messages import json_v1 as json_messages
from transforms.messages.decode import decode_payloads
from transforms.messages.payload import Refusal
from transforms.outputs import Parsed
from transforms.stats import WindowCounter

UNIT = Unit(Source.DRONES, "fleet.jsonl", 0, 1, "drones-00000-hash")
KEY = new_key()
CLEAN: dict[str, Any] = {
    "schema_version": 1, "message_id": "m", "drone_id": "drone-1", "sequence": 7, "latitude": 40.7, "longitude": -74.0,
    "event_time": "2026-01-15T12:00:00.5Z", "altitude_m": 30, "battery_pct": 50.5, "kind": "violation", "status": "raw",
    "violation_code": 21, "plate_id": "ABC123", "image_id": "i",
}  # fmt: skip
MESSAGE = json.dumps(CLEAN).encode()
ANSWER = msgspec.json.encode(
    sign(answer_to(alert(), lease="l", officer_id="o", violation_code=21, event_time="2026-01-15T12:00:20Z"), KEY)
)
LINE = b"40.7;-74;10;1768478400;d1;raw;21;img"
PICTURE = {"schema_version": 1, "image_id": "i", "event_time": "2026-01-15T12:00:00Z"}
IMAGE = json.dumps(PICTURE | {"data": base64.b64encode(jpeg("a picture")).decode()}).encode()
IMAGE_LINE = b"1768478400;i;" + base64.b64encode(jpeg("a picture"))
REAL = st.sampled_from([MESSAGE, ANSWER, LINE, IMAGE, IMAGE_LINE])
HOSTILE = [
    b"[" * 5_000 + b"]" * 5_000,
    b'{"x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
    b'{"x": ' * 5_000 + b"1" + b"}" * 5_000,
    MESSAGE[:-1] + b', "x": "' + b"]" * 9_000 + b'", "y": ' + b"[" * 9_000 + b"]" * 9_000 + b"}",
    IMAGE[:-1] + b', "x": ' + b"[" * 9_000 + b"]" * 9_000 + b"}",
    IMAGE[:-1] + b', "x": "' + b"]" * 9_000 + b'", "y": ' + b"[" * 9_000 + b"]" * 9_000 + b"}",
    MESSAGE.replace(b"violation", b"missing required field", 1),
    MESSAGE.replace(b"raw", b"missing required field `"),
    MESSAGE.replace(b"ABC123", b"\\ud800"),
    MESSAGE.replace(b"ABC123", b"\xed\xa0\x80"),
    MESSAGE.replace(b"ABC123", b"\x00"),
    b"40.7;-74;10;1768478400e400;d1;raw",
    b"1e400;-74;10;1768478400;d1;raw",
    b"-1e-400;-74;10;1768478400;d1;raw",
    b"40.7;-74;10;1768478400;d1;raw\x00",
    b"40.7;-74;10;1768478400;d1\x00;raw;21;i",
    b"4" * 400 + b";-74;10;1768478400;d1;raw",
    b"1e999;i;" + IMAGE_LINE[13:],
    b"9" * 400 + b";i;" + IMAGE_LINE[13:],
    b"2026-01-15T12:00:00Z;i;" + IMAGE_LINE[13:],
    ANSWER.replace(b'"signature":"', b'"signature":"\xc3\xa9'),
    b'"\xff"',
    b"{",
    b"\xef\xbb\xbf" + MESSAGE,
]


@st.composite
def mutated(draw: Callable[[Any], Any]) -> bytes:
    """A real message, some of whose bytes were changed, taken out, repeated or put in."""
    data = bytearray(draw(REAL))
    odd = st.sampled_from(
        [b"\xff", b"[" * 2_000, b'{"":' * 2_000, b'"', b"\\", b"\\ud800", b"9" * 5_000, b"e999", b"\x00", b";", b"-"]
    )
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        end = min(place + draw(st.integers(0, 20)), len(data))
        data[place:end] = draw(st.binary(max_size=4) | odd | st.just(bytes(data[place:end]) * 3))
    return bytes(data)


def decoded(payloads: list[bytes]) -> Parsed:
    """Rows and dead letters of drones' messages, each payload in one of the two."""
    n = len(payloads)
    parsed = decode_payloads(UNIT, payload_batch(payloads, range(n), range(n)), (public_key(KEY),))
    assert sorted([*parsed.rows["record"].to_pylist(), *parsed.dead_letters["record"].to_pylist()]) == list(range(n))
    assert {row: payloads[row] for row in parsed.dead_letters["record"].to_pylist()} == dict(
        zip(parsed.dead_letters["record"].to_pylist(), parsed.dead_letters["payload"].to_pylist(), strict=True)
    )
    return parsed


PAYLOADS = st.lists(mutated() | st.sampled_from(HOSTILE) | REAL | st.binary(max_size=60), min_size=1, max_size=6)


@given(PAYLOADS)
@example(HOSTILE)
def test_each_message_is_a_row_or_a_dead_letter_and_can_be_counted(payloads: list[bytes]) -> None:
    rows, dead = decoded(payloads)
    counter = WindowCounter(3600)
    counter.add(rows)
    assert sum(counter.counts("u")["n"].to_pylist()) == rows.num_rows
    for counted, of in ((rows, slice_rows), (dead, slice_letters)):
        assert sum(n for by_code, _ in of(counted, 60).values() for *_, n in by_code) == counted.num_rows
    assert Reason.DECODER_FAILED not in dead["reason"].to_pylist()


@given(PAYLOADS)
@example(HOSTILE)
def test_each_picture_is_a_row_or_a_dead_letter(tmp_path_factory: Any, payloads: list[bytes]) -> None:
    n = len(payloads)
    batch = UnitBatch(UNIT, payload_batch(payloads, range(n), range(n)), last=True)
    rows, dead = store_pictures(str(tmp_path_factory.getbasetemp() / "pictures"), batch)
    assert sorted([*rows["record"].to_pylist(), *dead["record"].to_pylist()]) == list(range(n))
    assert Reason.DECODER_FAILED not in dead["reason"].to_pylist()


@pytest.mark.parametrize("name", ["decode_json", "decode_lines", "refuse_answer"])
def test_an_unexpected_decoder_error_makes_one_dead_letter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = getattr(messages, name)

    def broken(what: Any, *others: Any, **keys: Any) -> Any:
        texts = what.to_pylist() if isinstance(what, pa.Array) else [what]
        if any(b"poison" in text for text in texts):
            raise RecursionError("nobody thought of it \ud800")
        return real(what, *others, **keys)

    monkeypatch.setattr(messages, name, broken)
    of_answer = ANSWER.replace(b'"o"', b'"poison"')
    rows, dead = decoded([MESSAGE, LINE, ANSWER, of_answer, LINE, MESSAGE])
    assert sorted(rows["record"].to_pylist()) == [0, 1, 2, 4, 5]
    assert dead["reason"].to_pylist() == [Reason.DECODER_FAILED]
    assert "RecursionError: nobody thought of it" in dead["detail"][0].as_py()


@pytest.mark.parametrize(
    "payload",
    [
        IMAGE.replace(b'"image_id"', b'"image_id": "other", "image_id"'),
        IMAGE[:-1] + b', "data": "AAAA"}',
        IMAGE[:-1] + b', "x": {"a": 1, "a": 2}}',
        IMAGE.replace(b'"image_id"', b'"image_\\u0069d": "other", "image_id"'),
    ],
)
def test_a_picture_whose_message_has_a_key_twice_is_refused(payload: bytes) -> None:
    found = read_picture(payload)
    assert isinstance(found, Refusal)
    assert found.reason == Reason.DUPLICATE_KEY


def test_the_fields_beside_a_picture_are_as_small_as_a_message() -> None:
    beside = read_picture(IMAGE[:-1] + b', "x": [' + b"[]," * MAX_BYTES + b"[]]}")
    whole = read_picture(b" " * MAX_IMAGE_PAYLOAD_BYTES + IMAGE)
    assert [found.reason for found in (beside, whole) if isinstance(found, Refusal)] == [Reason.TOO_LARGE] * 2
    assert not isinstance(read_picture(IMAGE.replace(b"/", b"\\/")), Refusal)


@pytest.mark.parametrize("bad", [lambda n: True, lambda n: n == 1_999, lambda n: n % 7 == 0, lambda n: False])
def test_no_message_of_a_chunk_is_decoded_twice(bad: Callable[[int], bool], monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    real = json_messages._decode

    def decode(text: bytes) -> Any:
        nonlocal calls
        calls += 1
        return real(text)

    monkeypatch.setattr(json_messages, "_decode", decode)
    found = json_messages._decode_plain([b"broken" if bad(n) else MESSAGE for n in range(2_000)])
    assert calls == 2_000
    assert [row is None for row in found] == [bad(n) for n in range(2_000)]
