"""The careful reader of one payload: it never stops the run, and agrees with the fast decoder."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.lake import Source
from schemas.messages import EVENT_SECONDS, MAX_BYTES, MAX_DEPTH, MAX_EXTRA_FIELDS, Reason
from schemas.times import event_time_of
from sources.payloads import payload_batch
from sources.units import Unit
from transforms.messages.decode import decode_payloads
from transforms.messages.payload import FIELDS, Message, Refusal, read_payload

MANDATORY: dict[str, Any] = {
    "schema_version": 1, "message_id": "m", "drone_id": "d", "sequence": 7, "event_time": "2026-01-15T12:00:00Z",
    "latitude": 40.7, "longitude": -74.0, "altitude_m": 30.0, "battery_pct": 50.5, "kind": "violation", "status": "raw",
}  # fmt: skip
VIOLATION = MANDATORY | {"violation_code": 21, "plate_id": "ABC", "image_id": "i"}
UNIT = Unit(Source.DRONES, "fleet.jsonl", 0, 1, "drones-00000-hash")


def message(**changes: Any) -> bytes:
    """A clean violation with some fields changed."""
    return json.dumps(VIOLATION | changes).encode()


def fast(*payloads: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What the decoder of whole columns makes of payloads: rows, dead letters."""
    n = len(payloads)
    parsed = decode_payloads(UNIT, payload_batch(payloads, range(n), range(n)))
    return parsed.rows.to_pylist(), parsed.dead_letters.to_pylist()


def refused(payload: bytes) -> str:
    """Why a payload is none."""
    found = read_payload(payload)
    assert isinstance(found, Refusal)
    return found.reason


def test_a_clean_message_is_its_fields_and_what_is_unknown_is_kept() -> None:
    found = read_payload(message(new={"é": [1, None]}))
    assert isinstance(found, Message)
    values = dict(zip(FIELDS, found.values, strict=True))
    assert {name: value for name, value in values.items() if value is not None} == VIOLATION
    assert found.extra == {"new": '{"é": [1, null]}'}


@pytest.mark.parametrize("name", MANDATORY)
def test_a_mandatory_field_that_lacks_is_named(name: str) -> None:
    payload = json.dumps({key: value for key, value in VIOLATION.items() if key != name}).encode()
    assert read_payload(payload) == Refusal(Reason.FIELD_MISSING, name)
    assert [(letter["reason"], letter["detail"]) for letter in fast(payload)[1]] == [(Reason.FIELD_MISSING, name)]


def test_the_limits_are_those_that_are_documented() -> None:
    padded = message()[:-1] + b" " * (MAX_BYTES - len(message())) + b"}"
    assert isinstance(read_payload(padded), Message)
    assert refused(padded + b" ") == Reason.TOO_LARGE
    many = {f"f{n}": n for n in range(MAX_EXTRA_FIELDS)}
    assert isinstance(read_payload(message(**many)), Message)
    assert refused(message(**many, more=1)) == Reason.TOO_MANY_FIELDS
    deep = message()[:-1] + b', "x": ' + b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1) + b"}"
    assert isinstance(read_payload(deep), Message)
    assert refused(deep.replace(b"[]", b"[[]]")) == Reason.TOO_DEEP
    for levels in (10_000, 1_000_000):
        assert refused(b"[" * levels) in (Reason.TOO_DEEP, Reason.TOO_LARGE)


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats()
    | st.text(st.characters(exclude_categories=()), max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([*FIELDS, "new", "é", 'q"', "\ud800", ""])


def encoded(fields: dict[str, Any], ascii_only: bool) -> bytes:
    """Fields as a drone would send them, with whatever no UTF-8 can say."""
    return json.dumps(fields, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")


@given(st.binary(max_size=80) | st.builds(encoded, st.dictionaries(NAMES, JSON_VALUES, max_size=4), st.booleans()))
@example(b'{"schema_version": "\\ud800"}')
@example(b'{"schema_version": 1' + b"0" * 4000 + b"}")
@example(b'{"a": ' + b"9" * 5000 + b"}")
def test_any_payload_is_a_message_or_refused_for_a_reason_that_can_be_stored(payload: bytes) -> None:
    found = read_payload(payload)
    if isinstance(found, Refusal):
        assert found.reason in vars(Reason).values()
        (found.detail or "").encode()
    else:
        json.loads(json.dumps(found.extra))


@given(st.dictionaries(NAMES, JSON_VALUES, max_size=3), st.booleans(), st.integers(0, 3))
@example({"event_time": "2026-01-15T12:00:00+01:00"}, True, 0)
@example({"new": float("inf")}, True, 0)
@example({"answers": "a", "officer_id": "o", "signature": "s", "status": "officer"}, True, 1)
@example({"answers": "a"}, True, 1)
@example({"officer_id": "o"}, False, 0)
def test_what_the_columns_have_is_what_the_careful_reader_reads(
    changes: dict[str, Any], ascii_only: bool, place: int
) -> None:
    payload = encoded(VIOLATION | changes, ascii_only)
    chunk = [message(message_id=f"clean {n}") for n in range(3)]
    rows, dead = fast(*chunk[:place], payload, *chunk[place:])
    assert len(rows) + len(dead) == 4
    own = [row for row in rows if row["record"] == place]
    letters = [letter for letter in dead if letter["record"] == place]
    careful = read_payload(payload)
    if isinstance(careful, Refusal):
        assert own == []
        assert [(letter["reason"], letter["detail"]) for letter in letters] == [careful]
        return
    fields = dict(zip(FIELDS, careful.values, strict=True))
    when = event_time_of(fields["event_time"])
    if own:
        (row,) = own
        assert row["event_time"] == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=when or -1)
        stored = [name for name in FIELDS if name in row and name != "event_time"]
        assert {name: row[name] for name in stored} == {name: fields[name] for name in stored}
        assert dict(row["extra"] or ()) == careful.extra
    else:  # what it says is impossible
        (letter,) = letters
        assert letter["reason"] in {
            Reason.EVENT_TIME_UNREADABLE, Reason.FIELD_MISSING, Reason.FIELD_INVALID, Reason.ANSWER_UNSIGNED,
        }  # fmt: skip
        position = fields["kind"] == "position"
        claims = fields["answers"] is not None or fields["officer_id"] is not None
        impossible = claims or position == (fields["violation_code"] is not None)
        assert when is None or fields["status"] == "officer" or impossible


PIECES = st.tuples(
    st.sampled_from(["2026-01-15", "1969-12-31", "2199-12-31", "2200-01-01", "2026-02-30", "0001-01-01", "20260115"]),
    st.sampled_from(["T", "t", " ", ""]),
    st.sampled_from(["12:00:00", "12:00", "24:00:00", "23:59:60", "12", "12:00:00.", "120000"]),
    st.sampled_from(["", ".5", ".123456", ".123456789", ",5", "."]),
    st.sampled_from(["Z", "z", "+00:00", "-00:00", "+0100", "+01", "+24:00", "-99:00", "", "Z ", " Z", "UTC"]),
)


@given(PIECES.map("".join), st.booleans())
def test_a_time_is_the_same_whoever_reads_it(text: str, alone: bool) -> None:
    # A text that no reader knows makes the fast one look at every text of the chunk.
    rows, _ = fast(message(event_time=text), *([] if alone else [message(event_time="no time at all, and long")]))
    micros = event_time_of(text)
    expected = [] if micros is None else [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)]
    assert [row["event_time"] for row in rows] == expected


ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.datetimes(datetime(1970, 1, 2), datetime(2199, 12, 30), timezones=ZONES)


@given(TIMES, st.sampled_from(["T", "t", " "]))
def test_every_time_with_its_zone_is_that_moment(when: datetime, separator: str) -> None:
    since = when - datetime(1970, 1, 1, tzinfo=UTC)
    assert event_time_of(when.isoformat(separator)) == since // timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999999Z", None),
        ("2199-12-31T23:59:59.999999Z", EVENT_SECONDS[1] * 1_000_000 - 1),
        ("2200-01-01T00:00:00Z", None),
        ("1970-01-01T00:00:00.0000019Z", 1),
        ("1970-01-01T00:00Z", None),
        ("1970-01-01T00:00:00", None),
        ("1970-01-01T00:00:00+24:00", None),
        ("٠٠٠١-01-01T00:00:00Z", None),
        ("", None),
    ],
)
def test_a_time_is_between_1970_and_2200_and_has_a_zone(text: str, micros: int | None) -> None:
    assert event_time_of(text) == micros
