"""Pictures are stored under names of our own, whatever a message says."""

import base64
import hashlib
import json
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from lake import lake
from pipelines.inputs import Asked
from pipelines.run import run_graph
from pipelines.violations import Settings
from schemas.lake import Source
from schemas.messages import MAX_IMAGE_BYTES, Reason
from sources.files import Header
from sources.recorded import RecordedMessages
from sources.units import Unit, UnitBatch
from tests.support import LOCAL
from transforms.images import Picture, StoreImages, object_path, read_picture
from transforms.names import DEAD_LETTERS, ROWS
from transforms.payloads import Refusal

JPEG = b"\xff\xd8\xff\xe0 a picture \xff\xd9"
TEXT = base64.b64encode(JPEG).decode()


def v1(image_id: str = "i", data: str = TEXT) -> bytes:
    """An image message."""
    fields = {"schema_version": 1, "image_id": image_id, "event_time": "2026-01-15T12:00:00Z", "data": data}
    return json.dumps(fields).encode()


def test_both_versions_are_read() -> None:
    expected = Picture("i", 1_768_478_400_000_000, JPEG)
    assert read_picture(v1()) == expected
    assert read_picture(f"1768478400;i;{TEXT}".encode()) == expected


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Reason.EMPTY),
        (b"{", Reason.FIELD_INVALID),
        (b"1;2", Reason.V0_MALFORMED),
        (b"x;i;" + TEXT.encode(), Reason.FIELD_INVALID),
        (b"253402300800;i;" + TEXT.encode(), Reason.FIELD_INVALID),  # the year 10000
        (b"nan;i;" + TEXT.encode(), Reason.FIELD_INVALID),
        (b"-1;i;" + TEXT.encode(), Reason.EVENT_TIME_UNREADABLE),
        (b"\xff;i;" + TEXT.encode(), Reason.FIELD_INVALID),
        (v1(data="not base64!"), Reason.IMAGE_NOT_BASE64),
        (v1(data=base64.b64encode(b"GIF89a").decode()), Reason.IMAGE_NOT_JPEG),
        (v1(data="A" * (MAX_IMAGE_BYTES * 2)), Reason.TOO_LARGE),
        (v1(image_id=""), Reason.FIELD_INVALID),
    ],
)
def test_what_is_no_picture_is_refused(payload: bytes, reason: str) -> None:
    refusal = read_picture(payload)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason


@given(
    st.binary(max_size=60)
    | st.builds(b"%b;%b;%b".__mod__, st.tuples(*[st.sampled_from([b"", b"1e18", b"\xff", b"1", TEXT.encode()])] * 3))
    | st.dictionaries(
        st.sampled_from(["schema_version", "image_id", "event_time", "data"]),
        st.sampled_from(["", "\ud800", TEXT, 1, 10**30, [], None, "2026-01-15T12:00:00Z"]),
    ).map(lambda fields: json.dumps(fields).encode())
)
def test_any_bytes_are_a_picture_or_refused(payload: bytes) -> None:
    assert isinstance(read_picture(payload), Picture | Refusal)


def test_no_text_of_a_message_reaches_a_path(tmp_path: Path) -> None:
    recording = tmp_path / "i.jsonl"
    evil = "../../../../evil"
    big = base64.b64encode(JPEG + bytes(MAX_IMAGE_BYTES - len(JPEG))).decode()
    recording.write_bytes(b"\n".join([v1(evil), v1("twice"), v1("big", big), b"broken"]) + b"\n")
    root = tmp_path / "lake"
    run_graph(Asked(images=str(recording)), Settings(str(root), 3600), LOCAL)
    rows = lake(str(root)).sql("SELECT image_id, object, bytes FROM images ORDER BY record").to_pylist()
    assert [row["image_id"] for row in rows] == [evil, "twice", "big"]
    assert rows[0]["object"] == rows[1]["object"] == object_path(JPEG)
    name = hashlib.sha256(JPEG).hexdigest()
    assert object_path(JPEG) == f"pictures/{name[:2]}/{name}.jpg"
    assert (root / rows[0]["object"]).read_bytes() == JPEG
    assert (root / rows[2]["object"]).stat().st_size == rows[2]["bytes"] == MAX_IMAGE_BYTES
    assert lake(str(root)).ledger.select(["rows_in", "images", "dead_letters"]).to_pylist() == [
        {"rows_in": 4, "images": 3, "dead_letters": 1}
    ]
    assert not list(tmp_path.glob("**/evil*"))


def test_the_transform_has_both_branches(tmp_path: Path) -> None:
    unit = Unit(Source.IMAGES, "i.jsonl", 0, 1, "images-00000-hash")
    rows, _ = RecordedMessages(Source.IMAGES).batch(Header(b"", ()), b"\n".join([v1(), b"x"]), 0, 0)
    with TestPipeline() as pipeline:
        element = UnitBatch(unit, rows, last=True)
        stored = pipeline | beam.Create([element], reshuffle=False) | StoreImages(str(tmp_path))
        objects = stored[ROWS] | "Objects" >> beam.Map(lambda b: b.rows["object"].to_pylist())
        reasons = stored[DEAD_LETTERS] | "Reasons" >> beam.Map(lambda b: b.rows["reason"].to_pylist())
        assert_that(objects, equal_to([[object_path(JPEG)]]), "objects")
        assert_that(reasons, equal_to([[Reason.V0_MALFORMED]]), "reasons")
    assert (tmp_path / object_path(JPEG)).read_bytes() == JPEG
