"""Pictures that drones have uploaded (v2): each message ends in one dataset, exactly once, whatever is in the lake."""

import base64
import hashlib
import json
import os
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import apache_beam as beam
import pytest
from apache_beam.testing.test_pipeline import TestPipeline
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given
from hypothesis import strategies as st

from apps.simulator.fleet.images import jpeg
from lake import lake, tombstones
from lake.ledger import commit
from lake.publication import publish
from lake.storage import storage
from lake.uploads import delete_unnamed, unnamed_pictures
from lake.vacuum import vacuum
from pipelines.maintenance import forget
from pipelines.maintenance.compact import _command as compact_command
from pipelines.maintenance.flags import compact as compact_flags
from pipelines.maintenance.flags import forget as forget_flags
from pipelines.maintenance.forget import command as forget_command
from pipelines.maintenance.reconcile import _unnamed, reconcile
from pipelines.maintenance.replay import replay
from pipelines.violations.graph import Settings
from pipelines.violations.inputs import ReadOptions
from pipelines.violations.run import run_graph
from schemas.lake import ROWS_IN, Dataset, Source
from schemas.messages import MAX_BYTES, MAX_IMAGE_BYTES, Reason
from schemas.pictures import Picture, UploadedPicture, picture_path
from sources.files.read import Header
from sources.files.recordings import RecordedMessages
from sources.units import Tally, Unit, UnitBatch
from tests.support import LOCAL
from transforms.images import StoreImages, _Store, object_path, read_picture
from transforms.messages.payload import Refusal
from transforms.outputs import DEAD_LETTERS, ROWS
from transforms.refusals import ANY_NUMBER
from transforms.write import _Write, ledger_row

ONE, TWO, THREE = (jpeg(f"picture {n}") for n in range(3))
TIME = "2026-01-15T12:00:00Z"
DAY = 86_400.0


def sha(picture: bytes) -> str:
    return hashlib.sha256(picture).hexdigest()


def v2(name: str, picture: bytes, **fields: object) -> bytes:
    usual = {"schema_version": 2, "image_id": name, "event_time": TIME, "sha256": sha(picture), "bytes": len(picture)}
    return json.dumps(usual | fields).encode()


def v1(image_id: str, picture: bytes) -> bytes:
    data = base64.b64encode(picture).decode()
    return json.dumps({"schema_version": 1, "image_id": image_id, "event_time": TIME, "data": data}).encode()


def upload(root: str, *pictures: bytes) -> None:
    for picture in pictures:
        storage(root).put(object_path(picture), picture)


def recording(path: Path, *payloads: bytes) -> str:
    path.write_bytes(b"".join(payload + b"\n" for payload in payloads))
    return str(path)


def run(root: str, images: str) -> None:
    run_graph(ReadOptions(images=images), Settings(root, 3600, publish_every=10), LOCAL)


def rows(root: str) -> list[tuple[str, str]]:
    found = lake(root).sql("SELECT image_id, object FROM images ORDER BY ALL").to_pylist()
    return [(row["image_id"], row["object"]) for row in found]


def letters(root: str) -> list[tuple[str, bytes]]:
    found = lake(root).sql("SELECT reason, payload FROM dead_letters ORDER BY ALL").to_pylist()
    return [(row["reason"], bytes(row["payload"])) for row in found]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"sha256": sha(ONE).upper()}, Reason.FIELD_INVALID),
        ({"sha256": sha(ONE)[:-1]}, Reason.FIELD_INVALID),
        ({"sha256": sha(ONE) + "\n"}, Reason.FIELD_INVALID),
        ({"sha256": "../" + sha(ONE)[3:]}, Reason.FIELD_INVALID),
        ({"sha256": "٣" * 64}, Reason.FIELD_INVALID),  # digits of another script
        ({"sha256": None}, Reason.FIELD_INVALID),
        ({"bytes": 0}, Reason.FIELD_INVALID),
        ({"bytes": -1}, Reason.FIELD_INVALID),
        ({"bytes": 1.5}, Reason.FIELD_INVALID),
        ({"bytes": MAX_IMAGE_BYTES + 1}, Reason.FIELD_INVALID),
        ({"schema_version": 3}, Reason.FIELD_INVALID),
        ({"schema_version": 2.0}, Reason.FIELD_INVALID),
        ({"image_id": ""}, Reason.FIELD_INVALID),
        ({"event_time": "yesterday"}, Reason.EVENT_TIME_UNREADABLE),
        ({"data": "x" * MAX_BYTES}, Reason.TOO_LARGE),
    ],
)
def test_an_invalid_message_is_refused(fields: dict[str, object], reason: str) -> None:
    refusal = read_picture(v2("i", ONE, **fields))
    assert isinstance(refusal, Refusal)
    assert refusal.reason == reason


def test_a_valid_message_names_a_picture() -> None:
    assert read_picture(v2("i", ONE)) == UploadedPicture("i", 1_768_478_400_000_000, sha(ONE), len(ONE))
    assert isinstance(read_picture(v2("i", ONE, camera={"lens": 2})), UploadedPicture)  # a field of a later version
    assert object_path(ONE) == picture_path(sha(ONE))


_VALUES: st.SearchStrategy[object] = st.sampled_from(
    ["", "\ud800", sha(ONE), "../" * 21 + "x", 1, 2, True, 10**30, -1, 1.5, [], {}, None, TIME]
)


@given(
    st.dictionaries(st.sampled_from(["schema_version", "image_id", "event_time", "sha256", "bytes", "data"]), _VALUES),
    st.binary(max_size=3),
)
def test_any_message_is_a_picture_of_this_lake_or_refused(fields: dict[str, object], end: bytes) -> None:
    found = read_picture(json.dumps({"schema_version": 2} | fields).encode() + end)
    if isinstance(found, UploadedPicture):
        assert re.fullmatch(r"pictures/([0-9a-f]{2})/\1[0-9a-f]{62}\.jpg", picture_path(found.sha256))
        assert 0 < found.bytes <= MAX_IMAGE_BYTES
    else:
        assert isinstance(found, Refusal | Picture)


def batch_of(payloads: Sequence[bytes]) -> UnitBatch:
    unit = Unit(Source.IMAGES, "i.jsonl", 0, 1, f"images-00000-{sha(b''.join(payloads))[:32]}")
    found = RecordedMessages(Source.IMAGES).content(Header(b"", ()), b"\n".join(payloads), 0, 0)
    return UnitBatch(unit, found, last=True)


def test_the_transform_takes_both_forms_and_refuses_what_is_not_there(tmp_path: Path) -> None:
    upload(str(tmp_path), ONE)
    payloads = [v2("a", ONE), v2("b", TWO), v1("c", THREE), v2("d", ONE, bytes=7), v2("e", THREE), b"x"]
    with TestPipeline() as pipeline:
        stored = pipeline | beam.Create([batch_of(payloads)], reshuffle=False) | StoreImages(str(tmp_path))
        found = stored[ROWS] | "Rows" >> beam.Map(lambda b: b.rows.select(["image_id", "object"]).to_pylist())
        reasons = stored[DEAD_LETTERS] | "Reasons" >> beam.Map(lambda b: b.rows["reason"].to_pylist())
        kept = [("a", ONE), ("c", THREE), ("e", THREE)]  # the picture of e came with c
        assert_that(found, equal_to([[{"image_id": i, "object": object_path(p)} for i, p in kept]]), "rows")
        refusals = [Reason.IMAGE_NOT_UPLOADED, Reason.IMAGE_SIZE_DIFFERS, Reason.V0_MALFORMED]
        assert_that(reasons, equal_to([refusals]), "reasons")


@pytest.mark.embedded  # slow: several graphs
def test_each_message_is_in_one_dataset_and_replay_finds_what_was_uploaded_late(root: str, tmp_path: Path) -> None:
    upload(root, ONE)
    late = v2("late", TWO)
    images = recording(tmp_path / "i.jsonl", v2("a", ONE), late, v1("b", THREE), v2("a", ONE), v1("a", ONE), b"x")
    run(root, images)
    both = [("a", object_path(ONE)), ("b", object_path(THREE))]
    assert rows(root) == both  # a copy in the other form is a copy
    assert letters(root) == [(Reason.IMAGE_NOT_UPLOADED, late), (Reason.V0_MALFORMED, b"x")]
    run(root, images)
    assert reconcile(root) == []
    assert replay(root, Reason.IMAGE_NOT_UPLOADED, LOCAL) is None  # it is not there yet
    upload(root, TWO)
    replay(root, Reason.IMAGE_NOT_UPLOADED, LOCAL)
    assert rows(root) == sorted([*both, ("late", object_path(TWO))])
    assert letters(root) == [(Reason.V0_MALFORMED, b"x")]
    assert reconcile(root) == []


def attempt(root: str, *payloads: bytes, committed: bool = True) -> None:
    """Read a unit as the graph does, without a runner."""
    batch = batch_of(payloads)
    store = _Store(root, ANY_NUMBER)
    store.start_bundle()
    rows, refused = store.process(batch)
    tallies = [Tally(ROWS_IN, len(payloads), unit=batch.unit)]
    for dataset, found in ((Dataset.IMAGES, rows), (Dataset.DEAD_LETTERS, refused.value)):
        write = _Write(root, dataset)
        write.start_bundle()
        tallies += [tally for _, tally in write.process(found)]
    if committed:
        commit(root, [ledger_row(batch.unit.name, tallies)])


@pytest.mark.embedded
@pytest.mark.parametrize("second_finds", ["less", "more"])
def test_an_attempt_that_found_other_pictures_overwrites_no_committed_file(tmp_path: Path, second_finds: str) -> None:
    """A worker that was cut off writes its files after another one has committed the unit."""
    root, payloads = str(tmp_path / "lake"), (v2("a", ONE), v2("b", TWO), v2("c", THREE))
    upload(root, ONE, *([TWO] if second_finds == "less" else []))
    attempt(root, *payloads)
    before = rows(root), letters(root)
    if second_finds == "less":
        storage(root).delete(object_path(TWO))
    else:
        upload(root, TWO)
    attempt(root, *payloads, committed=False)
    upload(root, TWO)
    assert (rows(root), letters(root)) == before
    assert reconcile(root) == []
    publish(root)
    for path in Path(root).rglob("*.parquet"):
        os.utime(path, (1, 1))
    assert vacuum(root, timedelta(0), deep=True).files == 2  # of the attempt that lost
    assert (rows(root), letters(root)) == before
    assert reconcile(root) == []


@pytest.mark.embedded
@pytest.mark.usefixtures("fresh")
def test_a_forgotten_picture_that_is_uploaded_again_does_not_stay(tmp_path: Path) -> None:
    root = str(tmp_path)
    upload(root, ONE, TWO)
    attempt(root, v2("a", ONE), v2("b", TWO), v2("same picture as b", TWO))
    publish(root)
    arguments = ["--lake", root, "--before", "2026-02-01", "--quiet"]
    assert forget_command(forget_flags().parse_args(arguments), pytest.fail) == 0
    assert rows(root) == []
    assert storage(root).list("pictures") == []
    upload(root, ONE)  # by a gateway that sends again what it has sent
    attempt(root, v2("a", ONE), v2("b", TWO), v1("c", THREE))
    publish(root)
    assert (rows(root), letters(root)) == ([], [])
    assert storage(root).list("pictures") == []
    assert reconcile(root) == []


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers look at the tombstones each time."""
    monkeypatch.setattr(tombstones, "FRESH_SECONDS", 0.0)
    monkeypatch.setattr(forget, "FRESH_SECONDS", 0.0)


def age(root: str, picture: bytes, seconds: float) -> None:
    """Make a picture of a directory older."""
    path = Path(root) / object_path(picture)
    at = path.stat().st_mtime - seconds
    os.utime(path, (at, at))


@pytest.mark.embedded
def test_only_old_pictures_that_nothing_names_are_deleted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, refused = str(tmp_path / "lake"), jpeg("in a dead letter")
    lost, new = jpeg("no message came"), jpeg("the message is on its way")
    upload(root, ONE, lost, new)
    attempt(root, v2("a", ONE), v2("b", refused))
    publish(root)
    upload(root, refused)
    for picture in (ONE, lost, refused):
        age(root, picture, 31 * DAY)
    age(root, new, 29 * DAY)
    assert reconcile(root) == []
    (notice,) = _unnamed(root)
    assert notice.startswith(f"2 pictures, {(len(lost) + len(new)) / 1e6:,.2f} MB, that no message has named")
    command = ["--lake", root, "--quiet", "--vacuum"]
    assert compact_command(compact_flags().parse_args(command), LOCAL) == 0  # without --deep
    assert compact_command(compact_flags().parse_args([*command, "--deep", "--dry-run"]), LOCAL) == 0
    assert "1 files, 0.00 MB of pictures that no message has named to be deleted" in capsys.readouterr().out
    assert len(storage(root).list("pictures")) == 4
    assert compact_command(compact_flags().parse_args([*command, "--deep"]), LOCAL) == 0
    assert "1 files, 0.00 MB of pictures that no message has named deleted" in capsys.readouterr().out
    kept = {info.path.removeprefix(f"{storage(root).base}/") for info in storage(root).list("pictures")}
    assert kept == {object_path(picture) for picture in (ONE, refused, new)}
    assert reconcile(root) == []


def test_a_picture_whose_message_is_spooled_stays(tmp_path: Path) -> None:
    root = str(tmp_path)
    upload(root, ONE)
    age(root, ONE, 31 * DAY)
    storage(root).put("spool/segment.arrow", b"")
    os.utime(tmp_path / "spool" / "segment.arrow", ((tmp_path / object_path(ONE)).stat().st_mtime,) * 2)
    assert unnamed_pictures(root, 30 * DAY) == []
    (tmp_path / "spool" / "segment.arrow").unlink()
    assert [found.path for found in unnamed_pictures(root, 30 * DAY)] == [object_path(ONE)]


def test_a_picture_that_is_uploaded_again_before_it_is_deleted_stays(root: str) -> None:
    upload(root, ONE)
    found = unnamed_pictures(root, 0.0)
    upload(root, ONE)
    assert delete_unnamed(root, found, 30 * DAY) == []
    assert storage(root).size(object_path(ONE)) == len(ONE)
    assert delete_unnamed(root, found, -60.0) == found
    assert storage(root).size(object_path(ONE)) is None


@pytest.mark.embedded
def test_a_bucket_that_is_gone_is_no_missing_picture(s3: str) -> None:
    root = f"{s3}/lake"
    upload(root, ONE)
    store = storage(root)
    store.delete(object_path(ONE))
    assert store.size(object_path(ONE)) is None
    store._client.delete_bucket(Bucket="lake")  # type: ignore[attr-defined]
    with pytest.raises(Exception, match="bucket"):
        store.size(object_path(ONE))
