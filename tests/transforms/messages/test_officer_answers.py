"""An answer that a known key has signed is a row with its lineage; any other is a dead letter."""

import json
from typing import Any

import apache_beam as beam
import msgspec
import pyarrow as pa
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from schemas.answers import answer_to, new_key, public_key, sign
from schemas.lake import Dataset, Source
from schemas.messages import DroneMessage, Reason
from sources.units import Unit, UnitBatch
from tests.schemas.test_answers import alert
from tests.transforms.messages.test_decode import message, payloads
from transforms.messages.decode import DecodeMessages, decode_payloads
from transforms.outputs import DEAD_LETTERS, ROWS
from transforms.qualify import Qualify

UNIT = Unit(Source.DRONES, "fleet.jsonl", 0, 1, "drones-00000-hash")
KEY, OTHER = new_key(), new_key()
KEYS = (public_key(OTHER), public_key(KEY))


def answer(code: int = 21, lease: str = "lease-1", key: Any = KEY, **changes: Any) -> DroneMessage:
    """A signed answer; what is changed is signed too."""
    at = "2026-01-15T12:00:20.000000Z"
    found = answer_to(alert(), lease=lease, officer_id="kelly", violation_code=code, event_time=at)
    return sign(msgspec.structs.replace(found, **changes), key)


def wire(answered: DroneMessage, **changes: Any) -> bytes:
    """The payload, changed after it was signed."""
    return json.dumps(json.loads(msgspec.json.encode(answered)) | changes).encode()


def decode(*lines: bytes, keys: tuple[bytes, ...] = KEYS) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    parsed = decode_payloads(UNIT, payloads(*lines), keys)
    return parsed.rows.to_pylist(), parsed.dead_letters.to_pylist()


def test_a_signed_answer_is_a_row_with_its_lineage() -> None:
    rows, refused = decode(message(), wire(answer()), message(message_id="m2"))
    assert not refused
    found = {name: rows[1][name] for name in ("answers", "officer_id", "violation_code", "status", "plate_id")}
    assert found == {
        "answers": "m1", "officer_id": "kelly", "violation_code": 21, "status": "officer", "plate_id": "ABC123",
    }  # fmt: skip


FORGED = {
    "no signature": (wire(answer(), signature=None), Reason.ANSWER_UNSIGNED, "no signature"),
    "a drone's key": (wire(answer(key=new_key())), Reason.ANSWER_UNSIGNED, "known key"),
    "another code": (wire(answer(), violation_code=14), Reason.ANSWER_UNSIGNED, "known key"),
    "the same time in other words": (wire(answer(), event_time="2026-01-15T12:00:20Z"), Reason.ANSWER_UNSIGNED, "key"),
    "an unknown field": (wire(answer(), fine=500), Reason.ANSWER_UNSIGNED, "fine"),
    "a v0 line": (b"40.7;-74.0;30;1768478400;d1;officer;21;i1", Reason.ANSWER_UNSIGNED, "of a v1 message alone"),
    "a position": (wire(answer(kind="position", violation_code=None)), Reason.FIELD_INVALID, "violation"),
    "no code": (wire(answer(violation_code=None)), Reason.FIELD_MISSING, "violation_code"),
    "answers nothing": (wire(answer(answers=None)), Reason.FIELD_MISSING, "answers"),
    "of nobody": (wire(answer(officer_id=None)), Reason.FIELD_MISSING, "officer_id"),
}


@pytest.mark.parametrize(("payload", "reason", "detail"), FORGED.values(), ids=FORGED)
def test_what_is_no_answer_is_a_dead_letter(payload: bytes, reason: str, detail: str) -> None:
    rows, refused = decode(message(), payload)
    assert [row["message_id"] for row in rows] == ["m"]
    assert [(letter["reason"], letter["payload"]) for letter in refused] == [(reason, payload)]
    assert detail in refused[0]["detail"]


def test_without_a_key_no_answer_is_taken() -> None:
    rows, refused = decode(wire(answer()), keys=())
    assert not rows
    assert refused[0]["reason"] == Reason.ANSWER_UNSIGNED
    assert "--officer-keys" in refused[0]["detail"]


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_byte_of_an_answer_can_be_changed_to_another_meaning(place: int, flipped: int) -> None:
    payload = bytearray(wire(answer()))
    payload[place % len(payload)] ^= flipped
    (original,), _ = decode(wire(answer()))
    rows, refused = decode(bytes(payload).replace(b"\n", b" "))
    # A blank may become another one; a message that is no officer's any more is refused, for it names an answer.
    assert all({**row, "record": 0} == {**original, "record": 0} for row in rows)
    assert len(rows) + len(refused) == 1


def test_an_answer_is_qualified_and_raises_no_alert() -> None:
    lines = [
        message(message_id="m1", violation_code=0),
        wire(answer()),
        wire(answer(0, "lease-2")),
        wire(answer(), x=1),
    ]
    with TestPipeline() as pipeline:
        decoded = pipeline | beam.Create([UnitBatch(UNIT, payloads(*lines), last=True)]) | DecodeMessages(KEYS)
        branches = decoded[ROWS] | Qualify()
        for rows, expected in (
            (branches[Dataset.QUALIFIED], [[21, 0]]),
            (branches[Dataset.UNQUALIFIED], [[0]]),
        ):
            codes = rows | f"Codes {expected}" >> beam.Map(_codes)
            assert_that(codes, equal_to(expected), label=f"Seen {expected}")
        refused = decoded[DEAD_LETTERS] | "Count" >> beam.Map(lambda batch: batch.rows.num_rows)
        assert_that(refused, equal_to([1]), label="Refused")


def _codes(batch: UnitBatch) -> pa.Array:
    return batch.rows["violation_code"].to_pylist()
