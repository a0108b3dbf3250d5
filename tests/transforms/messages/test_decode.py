"""Drone payloads go where they belong, alone or among others, and none stops the run."""

import json
import random
from pathlib import Path
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from lake import lake
from lake.storage import storage
from pipelines.maintenance.reconcile import reconcile
from schemas.lake import Source
from schemas.messages import MAX_BYTES, MAX_EXTRA_FIELDS, Reason, v0_message_id
from schemas.times import event_time_of
from sources.files.read import Header
from sources.files.recordings import RecordedMessages
from sources.units import Unit, UnitBatch
from tests.support import run_graph
from transforms.messages import json_v1 as json_messages
from transforms.messages.decode import DecodeMessages, decode_payloads
from transforms.messages.payload import read_payload
from transforms.outputs import DEAD_LETTERS, ROWS

UNIT = Unit(Source.DRONES, "fleet.jsonl", 0, 1, "drones-00000-hash")
CLEAN: dict[str, Any] = {
    "schema_version": 1, "message_id": "m", "drone_id": "drone-1", "sequence": 7, "latitude": 40.7, "longitude": -74.0,
    "event_time": "2026-01-15T12:00:00.5Z", "altitude_m": 30, "battery_pct": 50.5, "kind": "violation", "status": "raw",
    "violation_code": 21, "plate_id": "ABC123", "image_id": "i",
}  # fmt: skip


def without(*names: str) -> bytes:
    """A clean message that lacks some fields."""
    return json.dumps({name: value for name, value in CLEAN.items() if name not in names}).encode()


def message(**changes: Any) -> bytes:
    """A clean message with some fields changed."""
    return json.dumps(CLEAN | changes).encode()


def payloads(*lines: bytes) -> pa.RecordBatch:
    """Payloads as the source gives them."""
    header = Header(b"", ())
    return RecordedMessages(Source.DRONES).content(header, b"\n".join(lines) + b"\n", 1000, 5)


def decode(*lines: bytes) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows and the dead letters of some payloads."""
    parsed = decode_payloads(UNIT, payloads(*lines))
    return parsed.rows.to_pylist(), parsed.dead_letters.to_pylist()


HOSTILE: dict[str, tuple[bytes, str]] = {
    "NaN": (message().replace(b"40.7", b"NaN"), Reason.NOT_JSON),
    "NaN in an unknown field": (message()[:-1] + b', "x": [NaN]}', Reason.NOT_JSON),
    "infinity": (message().replace(b"40.7", b"1e999"), Reason.FIELD_INVALID),
    "infinity in an unknown field": (message()[:-1] + b', "x": [1e999]}', Reason.FIELD_INVALID),
    "huge integer": (message(sequence=10**40), Reason.FIELD_INVALID),
    "5000 digits": (message().replace(b": 7", b": " + b"9" * 5000), Reason.NOT_JSON),
    "lone surrogate": (message(plate_id="\ud800"), Reason.NOT_JSON),
    "lone surrogate in the name of a field": (message()[:-1] + b', "\\ud800": 1}', Reason.NOT_JSON),
    "lone surrogate as a version": (b'{"schema_version": "\\ud800"}', Reason.VERSION_UNKNOWN),
    "duplicate key": (message()[:-1] + b', "sequence": 8}', Reason.DUPLICATE_KEY),
    "duplicate key in an unknown field": (message()[:-1] + b', "x": {"a": 1, "a": 2}}', Reason.DUPLICATE_KEY),
    "truncated": (message()[:-20], Reason.NOT_JSON),
    "empty": (b"", Reason.EMPTY),
    "blank": (b"  ", Reason.EMPTY),
    "binary": (b"\xff\xfe\x00\x01", Reason.NOT_UTF8),
    "null byte": (b"\x00", Reason.NOT_JSON),
    "list": (b"[1]", Reason.NOT_OBJECT),
    "text": (b'"x"', Reason.NOT_OBJECT),
    "deep": (b'{"x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", Reason.TOO_DEEP),
    "too large": (b"{" + b"x" * (MAX_BYTES + 1), Reason.TOO_LARGE),
    "10 MB": (b"z" * 10_000_000, Reason.TOO_LARGE),
    "10 MB of blanks inside": (message()[:-1] + b" " * 10_000_000 + b"}", Reason.TOO_LARGE),
    "v0 of 10 MB": (b"40." + b"0" * 10_000_000 + b";-74;10;1768478400;d;raw", Reason.TOO_LARGE),
    "many fields": (message(**{f"f{n}": n for n in range(MAX_EXTRA_FIELDS + 1)}), Reason.TOO_MANY_FIELDS),
    "no version": (
        without("schema_version"),
        Reason.FIELD_MISSING,
    ),
    "version 2": (message(schema_version=2), Reason.VERSION_UNKNOWN),
    "true is no version": (message(schema_version=True), Reason.VERSION_UNKNOWN),
    "no drone": (without("drone_id"), Reason.FIELD_MISSING),
    "wrong type": (message(latitude="40"), Reason.FIELD_INVALID),
    "north of the pole": (message(latitude=90.1), Reason.FIELD_INVALID),
    "code 100": (message(violation_code=100), Reason.CODE_OUT_OF_RANGE),
    "no code": (message(violation_code=None), Reason.FIELD_MISSING),
    "position with a code": (message(kind="position"), Reason.FIELD_INVALID),
    "no time": (message(event_time="yesterday"), Reason.EVENT_TIME_UNREADABLE),
    "thirteenth month": (message(event_time="2026-13-01T00:00:00Z"), Reason.EVENT_TIME_UNREADABLE),
    "year 1": (message(event_time="0001-01-01T00:00:00Z"), Reason.EVENT_TIME_UNREADABLE),
    "year 9999": (message(event_time="9999-12-31T23:59:59.999999Z"), Reason.EVENT_TIME_UNREADABLE),
    "before 1970": (b"40;-74;10;-1;d;raw", Reason.V0_MALFORMED),
    "time without zone": (message(event_time="2026-01-01T00:00:00"), Reason.EVENT_TIME_UNREADABLE),
    "forged answer": (message(status="officer", officer_id="o", answers="m", signature="x"), Reason.ANSWER_UNSIGNED),
    "a drone's answer": (message(answers="m", officer_id="o"), Reason.FIELD_INVALID),
    "a drone's answer of nobody": (message(answers="m"), Reason.FIELD_INVALID),
    "a drone that is an officer": (message(officer_id="o"), Reason.FIELD_INVALID),
    "a drone's signature": (message(signature="c2lnbmVk"), Reason.FIELD_INVALID),
    "a drone's signature of nothing": (message(signature=""), Reason.FIELD_INVALID),
    "a position with a signature": (message(kind="position", violation_code=None, signature="x"), Reason.FIELD_INVALID),
    "a signature and no time": (message(signature="x", event_time="yesterday"), Reason.EVENT_TIME_UNREADABLE),
    "a position that answers": (message(kind="position", violation_code=None, answers="m"), Reason.FIELD_INVALID),
    "v0 of 3 fields": (b"1;2;3", Reason.V0_MALFORMED),
    "v0 nan": (b"nan;-74;10;1768478400;d;raw", Reason.V0_MALFORMED),
    "v0 without drone": (b"40;-74;10;1768478400;;raw", Reason.V0_MALFORMED),
    "v0 north of the pole": (b"91;-74;10;1768478400;d;raw", Reason.V0_MALFORMED),
    "v0 code 100": (b"40;-74;10;1768478400;d;raw;100;i", Reason.V0_MALFORMED),
    "v0 with a quote": (b'40;-74;10;1768478400;"d;raw;1', Reason.V0_MALFORMED),
}


@pytest.mark.parametrize(("payload", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_payload_is_a_dead_letter_and_its_neighbours_are_not(payload: bytes, reason: str) -> None:
    rows, dead = decode(message(message_id="before"), payload, message(message_id="after"))
    assert [row["message_id"] for row in rows] == ["before", "after"]
    assert [(letter["payload"], letter["record"], letter["reason"]) for letter in dead] == [(payload, 6, reason)]


def test_all_hostile_payloads_in_one_recording_end_where_they_belong(tmp_path: Path) -> None:
    lines = [line for payload, _ in HOSTILE.values() for line in (message(message_id=f"m{len(payload)}"), payload)]
    recording = tmp_path / "fleet.jsonl"
    recording.write_bytes(b"\n".join(lines) + b"\n")
    run_graph(tmp_path / "lake", messages=recording)
    root = str(tmp_path / "lake")
    letters = lake(root).sql("SELECT * FROM dead_letters ORDER BY record").to_pylist()
    payloads = [storage(root).read(i["payload_object"]) if i["payload_object"] else i["payload"] for i in letters]
    assert list(zip(payloads, (letter["reason"] for letter in letters), strict=True)) == list(HOSTILE.values())
    clean = {f"m{len(payload)}" for payload, _ in HOSTILE.values()}
    assert set(lake(str(tmp_path / "lake")).sql("FROM qualified")["message_id"].to_pylist()) == clean
    assert reconcile(str(tmp_path / "lake")) == []


@pytest.mark.parametrize("blank", [b" ", b"\t", b" \t\r "])
def test_blanks_around_a_message_do_not_matter(blank: bytes) -> None:
    assert decode(blank + message() + blank) == decode(message())


def test_a_dead_letter_has_its_position() -> None:
    first = message()
    _, dead = decode(first, b"x")
    assert dead[0]["offset"] == 1000 + len(first) + 1
    assert dead[0]["path"] == "fleet.jsonl"


def test_a_clean_message_keeps_all_its_fields() -> None:
    (row,), dead = decode(message())
    assert dead == []
    assert row["event_time"].isoformat() == "2026-01-15T12:00:00.500000+00:00"
    assert row["area"] == "40.70,-74.00"
    fields = {k: v for k, v in CLEAN.items() if k not in ("schema_version", "event_time")}
    assert {k: row[k] for k in fields} == fields


def test_unknown_fields_are_kept() -> None:
    (row,), _ = decode(message(colour="réd", nested={"a": [1, None]}))
    assert dict(row["extra"]) == {"colour": '"réd"', "nested": '{"a": [1, null]}'}


def test_what_a_position_says_of_a_plate_and_a_picture_is_kept() -> None:
    bare = message(kind="position", violation_code=None, plate_id=None, image_id=None)
    full = message(kind="position", violation_code=None, plate_id='"é', colour="red")
    empty = message(kind="position", violation_code=None, plate_id="", image_id=None)
    rows, dead = decode(message(), full, bare, empty)
    assert [dict(row["extra"] or ()) for row in rows] == [
        {}, {"colour": '"red"', "image_id": '"i"', "plate_id": '"\\"é"'}, {}, {"plate_id": '""'},
    ]  # fmt: skip
    assert [(row["plate_id"], row["image_id"]) for row in rows] == [("ABC123", "i"), *[(None, None)] * 3]
    assert rows[2] == decode(bare)[0][0] | {"record": 7}
    assert dead == []


@pytest.mark.parametrize("text", ['a"b', "a\\b", "\x00", "é", "\u2028"])
def test_escapes_in_texts_are_read(text: str) -> None:
    (row,), dead = decode(message(plate_id=text))
    assert (row["plate_id"], dead) == (text, [])


def test_a_v0_line_is_read_and_its_identity_is_a_hash_of_it() -> None:
    lines = [b"40.7;-74.25;10.5;1768478400.25;d1;raw", b"40.7;-74;10;1768478400;d1;raw;21;img"]
    (position, violation), dead = decode(*lines)
    assert dead == []
    assert [position["kind"], violation["kind"]] == ["position", "violation"]
    assert [position["message_id"], violation["message_id"]] == [v0_message_id(line) for line in lines]
    assert position["event_time"].isoformat() == "2026-01-15T12:00:00.250000+00:00"
    assert (violation["violation_code"], violation["image_id"]) == (21, "img")


@pytest.mark.parametrize("epoch", ["0", "-0", "0.000001", "7258118399.5", "7258118399.999999", "7.258118399e9"])
def test_a_v0_line_is_of_any_time_that_a_v1_message_may_be_of(epoch: str) -> None:
    (row,), dead = decode(f"40.7;-74;10;{epoch};d1;raw".encode())
    assert dead == []
    assert row["event_time"].timestamp() == pytest.approx(float(epoch))


@pytest.mark.parametrize(
    "epoch", ["-0.000001", "7258118400", "7258118399.9999999", "1e10", "1768478400000", "-1", "1e308"]
)
def test_a_v0_line_is_of_no_other_time(epoch: str) -> None:
    rows, dead = decode(f"40.7;-74;10;{epoch};d1;raw".encode())
    assert rows == []
    assert dead[0]["reason"] == Reason.V0_MALFORMED


def test_times_are_read_alike_alone_and_in_columns() -> None:
    """Arrow reads the common form, and nothing that RFC 3339 does not have."""
    rng = random.Random(14)
    forms = [
        "2026-01-15T12:00:00Z",
        "2016-12-31T23:59:60.5Z",
        "2026-01-15 12:00:00.123456789+05:30",
        "1970-01-01t00:00:00z",
    ]
    accepted = 0
    for _ in range(1_500):
        text = list(rng.choice(forms))
        for _ in range(rng.choice((0, 1, 1, 2))):
            place = rng.randrange(len(text))
            text[place : place + rng.randint(0, 2)] = rng.choice([*"0123456789-:.,TtZz +\u0660", "", "00"])
        text_of_time = "".join(text) + rng.choice(["", "", "Z"])
        micros = event_time_of(text_of_time)
        assert json_messages._event_times((text_of_time,)).cast(pa.int64()).to_pylist() == [micros], text_of_time
        accepted += micros is not None
    assert accepted > 250


def test_lines_that_end_as_on_windows_are_the_same_messages() -> None:
    line = b"40.7;-74;10;1768478400;d1;raw"
    plain, dead = decode(line, message())
    windows, windows_dead = decode(line + b"\r", message() + b"\r")
    assert windows == plain
    assert dead == windows_dead == []


ODD_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-200, 200), st.floats(allow_nan=False), st.text(max_size=5),
    st.sampled_from(["2026-01-15T12:00:00+01:00", "2026-01-15T12:00Z", "officer", "position", 10**30, [], {}]),
)  # fmt: skip
CHANGES = st.dictionaries(
    st.sampled_from([*CLEAN, "answers", "officer_id", "signature", "new", 'q"']), ODD_VALUES, max_size=3
)


@given(CHANGES, st.sampled_from([(", ", ": "), (",", ":"), (" ,", " : ")]), st.booleans())
def test_a_payload_means_the_same_alone_and_among_clean_ones(
    changes: dict[str, Any], separators: tuple[str, str], ascii_only: bool
) -> None:
    text = json.dumps(CLEAN | changes, ensure_ascii=ascii_only, separators=separators)
    payload = text.encode("utf-8", "surrogatepass")
    clean = message(message_id="clean")
    rows, dead = decode(payload)
    mixed_rows, mixed_dead = decode(clean, payload, clean, b"broken")
    own = {"record": 6}
    assert [r | own for r in rows] == [r for r in mixed_rows if r["record"] == 6]
    assert [d["reason"] for d in dead] == [d["reason"] for d in mixed_dead if d["record"] == 6]
    assert len(rows) + len(dead) == 1
    careful = read_payload(payload)
    assert bool(rows) <= (type(careful).__name__ == "Message")


@given(st.datetimes(timezones=st.timezones(), allow_imaginary=False))
def test_every_rfc3339_time_is_read(when: Any) -> None:
    text = when.isoformat()
    if "." not in text[-6:] and len(text) <= 32 and when.utcoffset().seconds % 60 == 0 and 1970 < when.year < 2199:
        micros = event_time_of(text)
        assert micros is not None
        assert abs(micros - round(when.timestamp() * 1e6)) <= 100  # timestamp() is a float


@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), min_size=1, max_size=20))
def test_any_bytes_are_in_exactly_one_place(lines: list[bytes]) -> None:
    rows, dead = decode(*lines)
    places = [r["record"] for r in rows] + [d["record"] for d in dead]
    assert sorted(places) == list(range(5, 5 + len(lines)))


def test_the_transform_has_both_branches() -> None:
    batch = UnitBatch(UNIT, payloads(message(), b"x", without("plate_id")), last=True)
    with TestPipeline() as pipeline:
        decoded = pipeline | beam.Create([batch]) | DecodeMessages()
        rows = decoded[ROWS] | "Rows" >> beam.Map(lambda b: b.rows["kind"].to_pylist())
        dead = decoded[DEAD_LETTERS] | "Dead" >> beam.Map(lambda b: b.rows["reason"].to_pylist())
        assert_that(rows, equal_to([["violation", "violation"]]), label="rows")
        assert_that(dead, equal_to([[Reason.NOT_JSON]]), label="dead")
