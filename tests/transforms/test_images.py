"""Pictures are stored under names of our own, whatever a message says."""

import base64
import hashlib
import json
from pathlib import Path

import pytest

from lake import lake
from pipelines.run import plan_input, run_plan
from pipelines.violations import Settings
from schemas.messages import MAX_IMAGE_BYTES, Reason
from tests.support import LOCAL
from transforms.images import Picture, object_path, read_picture
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


def test_no_text_of_a_message_reaches_a_path(tmp_path: Path) -> None:
    recording = tmp_path / "i.jsonl"
    evil = "../../../../evil"
    big = base64.b64encode(JPEG + bytes(MAX_IMAGE_BYTES - len(JPEG))).decode()
    recording.write_bytes(b"\n".join([v1(evil), v1("twice"), v1("big", big), b"broken"]) + b"\n")
    root = tmp_path / "lake"
    run_plan(plan_input(None, None, str(recording)), Settings(str(root), 3600), LOCAL)
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
