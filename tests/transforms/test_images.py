"""Pictures are stored under names of our own, whatever a message says."""

import base64
import hashlib
import json
import re
import time
from pathlib import Path
from threading import Barrier

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from apps.simulator.fleet.images import jpeg
from lake import lake
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph
from schemas.errors import ServiceUnavailable
from schemas.lake import Source
from schemas.messages import MAX_IMAGE_BYTES, Reason
from schemas.pictures import Picture
from sources.files.read import Header
from sources.files.recordings import RecordedMessages
from sources.units import Unit, UnitBatch
from tests.support import LOCAL
from transforms.images import PUTS, StoreImages, object_path, read_picture, store_pictures
from transforms.messages.payload import Refusal
from transforms.outputs import DEAD_LETTERS, ROWS

JPEG = jpeg("a picture")
TEXT = base64.b64encode(JPEG).decode()
HOSTILE = [
    "../../../../evil",
    "/etc/evil",
    "..\\..\\evil",
    "C:\\evil",
    "s3://evil/evil",
    "file:///evil",
    "evil\0.jpg",
    "evil\n\r\t",
    "pictures/evil",
    "%2e%2e%2fevil",
    "$(evil) `evil` ;evil",
    "évil 🚗 \u202egpj.evil",
    "." * 200,
    "e" * 200,
]


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
        (b"{", Reason.NOT_JSON),
        (b"1;2", Reason.V0_MALFORMED),
        (b"x;i;" + TEXT.encode(), Reason.FIELD_INVALID),
        (b"253402300800;i;" + TEXT.encode(), Reason.EVENT_TIME_UNREADABLE),  # the year 10000
        (b"nan;i;" + TEXT.encode(), Reason.FIELD_INVALID),
        (b"-1;i;" + TEXT.encode(), Reason.EVENT_TIME_UNREADABLE),
        (b"\xff;i;" + TEXT.encode(), Reason.FIELD_INVALID),
        (v1(data="not base64!"), Reason.IMAGE_NOT_BASE64),
        (v1(data=base64.b64encode(b"GIF89a").decode()), Reason.IMAGE_NOT_JPEG),
        (v1(data=TEXT[:-1]), Reason.IMAGE_NOT_BASE64),
        (v1(data=TEXT + "\n"), Reason.IMAGE_NOT_BASE64),
        (v1(data=base64.b64encode(JPEG[:30]).decode()), Reason.IMAGE_NOT_JPEG),
        (v1(data="A" * (MAX_IMAGE_BYTES * 2)), Reason.TOO_LARGE),
        (v1(image_id=""), Reason.FIELD_INVALID),
        (v1(image_id="e" * 201), Reason.FIELD_INVALID),
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


def picture_of(size: int) -> bytes:
    """A message with a picture of that many bytes."""
    return v1(data=base64.b64encode(JPEG + bytes(size - len(JPEG))).decode())


def test_a_picture_may_have_10_megabytes_and_not_a_byte_more() -> None:
    largest = read_picture(picture_of(MAX_IMAGE_BYTES))
    assert isinstance(largest, Picture)
    assert len(largest.jpeg) == MAX_IMAGE_BYTES
    for more in (1, 2, 3, 4):
        refusal = read_picture(picture_of(MAX_IMAGE_BYTES + more))
        assert isinstance(refusal, Refusal)
        assert refusal.reason == Reason.TOO_LARGE


def claiming(lines: int, columns: int) -> bytes:
    """The same picture, of another size by what its frame says."""
    size = JPEG.index(b"\xff\xc0") + 5
    claimed = JPEG[:size] + lines.to_bytes(2, "big") + columns.to_bytes(2, "big") + JPEG[size + 4 :]
    return v1(data=base64.b64encode(claimed).decode())


def test_a_picture_that_claims_more_pixels_than_a_camera_has_is_refused() -> None:
    assert isinstance(read_picture(claiming(5_000, 10_000)), Picture)
    assert read_picture(claiming(5_000, 10_001)) == Refusal(
        Reason.IMAGE_TOO_MANY_PIXELS, "50005000, more than 50000000"
    )
    assert len(claiming(65_535, 65_535)) < 500


def batch_of(payloads: list[bytes]) -> UnitBatch:
    """A unit of them."""
    unit = Unit(Source.IMAGES, "i.jsonl", 0, 1, "images-00000-hash")
    rows = RecordedMessages(Source.IMAGES).content(Header(b"", ()), b"\n".join(payloads), 0, 0)
    return UnitBatch(unit, rows, last=True)


class SlowStorage:
    """Takes a picture only when so many come at the same time, or never takes one of them."""

    def __init__(self, together: int, broken: bytes = b"") -> None:
        self._barrier = Barrier(together)
        self._broken = broken
        self.kept: dict[str, bytes] = {}

    def put(self, path: str, data: bytes) -> None:
        self._barrier.wait(timeout=300)
        time.sleep(0.02)
        if data == self._broken:
            raise ServiceUnavailable("told to fail")
        self.kept[path] = data

    def size(self, path: str) -> int | None:
        return len(self.kept[path]) if path in self.kept else None


def test_pictures_are_put_at_the_same_time_and_stay_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SlowStorage(PUTS)
    monkeypatch.setattr("transforms.images.storage", lambda root: slow)
    jpegs = [jpeg(f"{n}", size=2_000 * (n % 5)) for n in range(2 * PUTS)]
    good = [v1(f"{n}", base64.b64encode(one).decode()) for n, one in enumerate(jpegs)]
    payloads = [
        payload for pair in zip(good, [b"bad;%d" % n for n in range(len(good))], strict=True) for payload in pair
    ]
    again = [good[0], good[-1]]  # the same pictures: one object each
    rows, refused = store_pictures("lake", batch_of([*payloads, *again]))
    assert rows["image_id"].to_pylist() == [*(f"{n}" for n in range(len(good))), "0", f"{len(good) - 1}"]
    assert rows["object"].to_pylist() == [object_path(one) for one in [*jpegs, jpegs[0], jpegs[-1]]]
    assert refused["payload"].to_pylist() == payloads[1::2]
    assert sorted([*rows["record"].to_pylist(), *refused["record"].to_pylist()]) == list(range(len(payloads) + 2))
    assert slow.kept == {object_path(one): one for one in jpegs}


def test_a_put_that_fails_fails_the_batch_and_begins_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    jpegs = [jpeg(f"{n}") for n in range(20 * PUTS)]
    slow = SlowStorage(1, broken=jpegs[3])
    monkeypatch.setattr("transforms.images.storage", lambda root: slow)
    with pytest.raises(ServiceUnavailable, match="told to fail"):
        store_pictures("lake", batch_of([v1(data=base64.b64encode(one).decode()) for one in jpegs]))
    assert len(slow.kept) < len(jpegs) // 2


def test_what_could_not_be_put_is_committed_by_the_next_run_and_not_by_this_one(tmp_path: Path) -> None:
    recording, root = tmp_path / "i.jsonl", tmp_path / "lake"
    jpegs = [jpeg(f"{n}") for n in range(50)]
    recording.write_bytes(b"".join(v1(data=base64.b64encode(one).decode()) + b"\n" for one in jpegs))
    in_the_way = root / object_path(jpegs[25])
    in_the_way.mkdir(parents=True)  # a directory of the picture's own name
    with pytest.raises(Exception, match="Is a directory"):
        run_graph(ReadOptions(images=str(recording)), Settings(str(root), 3600), LOCAL)
    assert lake(str(root)).ledger.num_rows == 0
    in_the_way.rmdir()
    run_graph(ReadOptions(images=str(recording)), Settings(str(root), 3600), LOCAL)
    objects = lake(str(root)).sql("SELECT object FROM images ORDER BY record")["object"].to_pylist()
    assert objects == [object_path(one) for one in jpegs]
    assert [(root / path).read_bytes() for path in objects] == jpegs


@pytest.mark.parametrize("image_id", HOSTILE)
def test_no_byte_of_a_message_reaches_a_path(image_id: str, tmp_path: Path) -> None:
    root = tmp_path / "far" / "down" / "lake"
    rows, refused = store_pictures(str(root), batch_of([v1(image_id)]))
    assert rows["image_id"].to_pylist() == [image_id]
    assert refused.num_rows == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [root / object_path(JPEG)]
    name = hashlib.sha256(JPEG).hexdigest()
    assert object_path(JPEG) == f"pictures/{name[:2]}/{name}.jpg"


@given(st.text(max_size=300))
def test_a_name_is_made_of_the_picture_alone(image_id: str) -> None:
    picture = read_picture(v1(image_id))
    if isinstance(picture, Picture):
        assert picture.image_id == image_id
        assert object_path(picture.jpeg) == object_path(JPEG)


def test_no_name_in_a_lake_says_anything_of_a_message(tmp_path: Path) -> None:
    recording, root = tmp_path / "i.jsonl", tmp_path / "lake"
    big = base64.b64encode(JPEG + bytes(MAX_IMAGE_BYTES - len(JPEG))).decode()
    lines = [*map(v1, HOSTILE), v1("big", big), b"evil;broken", v1("\ud800evil")]
    recording.write_bytes(b"\n".join(lines) + b"\n")
    run_graph(ReadOptions(images=str(recording)), Settings(str(root), 3600), LOCAL)
    rows = lake(str(root)).sql("SELECT image_id, object, bytes FROM images ORDER BY record").to_pylist()
    assert [row["image_id"] for row in rows] == [*HOSTILE, "big"]
    assert {row["object"] for row in rows[:-1]} == {object_path(JPEG)}
    assert (root / rows[0]["object"]).read_bytes() == JPEG
    assert (root / rows[-1]["object"]).stat().st_size == rows[-1]["bytes"] == MAX_IMAGE_BYTES
    assert lake(str(root)).ledger.select(["rows_in", "images", "dead_letters"]).to_pylist() == [
        {"rows_in": len(lines), "images": len(HOSTILE) + 1, "dead_letters": 2}
    ]
    names = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")]
    assert [name for name in names if not re.fullmatch(r"[A-Za-z0-9=_./-]+", name) or "evil" in name] == []


def test_the_transform_has_both_branches(tmp_path: Path) -> None:
    with TestPipeline() as pipeline:
        stored = pipeline | beam.Create([batch_of([v1(), b"x"])], reshuffle=False) | StoreImages(str(tmp_path))
        objects = stored[ROWS] | "Objects" >> beam.Map(lambda b: b.rows["object"].to_pylist())
        reasons = stored[DEAD_LETTERS] | "Reasons" >> beam.Map(lambda b: b.rows["reason"].to_pylist())
        assert_that(objects, equal_to([[object_path(JPEG)]]), "objects")
        assert_that(reasons, equal_to([[Reason.V0_MALFORMED]]), "reasons")
    assert (tmp_path / object_path(JPEG)).read_bytes() == JPEG
