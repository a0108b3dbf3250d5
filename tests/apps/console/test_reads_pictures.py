"""The console takes the pictures that the graph takes, and no other."""

import base64
import hashlib
import json
from functools import partial
from pathlib import Path

import pytest

from apps.console.console import Console
from apps.console.database import Database
from apps.console.pictures import Pictures
from apps.console.uploaded import fetch
from apps.simulator.fleet.images import jpeg
from schemas.errors import InputUnusable
from schemas.messages import MAX_IMAGE_BYTES
from schemas.pictures import picture_path
from tests.apps.console.support import alert, officer, raise_alerts
from transforms.images import read_picture
from transforms.messages.payload import Refusal

JPEG = jpeg("a picture")
FIELDS = {"schema_version": 1, "image_id": "i", "event_time": "2026-01-15T12:00:00Z"}


def image(data: bytes = JPEG, **changes: str) -> bytes:
    """An image message."""
    return json.dumps(FIELDS | {"data": base64.b64encode(data).decode()} | changes).encode()


def claiming(size: bytes) -> bytes:
    """The same picture, of another size by what its frame says."""
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + size + JPEG[at + 4 :]


@pytest.mark.parametrize(
    "payload",
    [
        image(),
        b" \t" + image(),
        b"1768478400;i;" + base64.b64encode(JPEG),
        image(claiming(b"\xff\xff\xff\xff")),
        image(claiming(bytes(4))),
        image(JPEG[:30]),
        image(b"GIF89a"),
        image(event_time="yesterday"),
        image()[:-1] + b', "image_id": "other"}',
        image()[:-1] + b', "x": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b"x;i;" + base64.b64encode(JPEG),
        json.dumps(FIELDS | {"schema_version": 2, "sha256": "0" * 64, "bytes": 1}).encode(),
        json.dumps(FIELDS | {"schema_version": 2, "sha256": "../" + "0" * 61, "bytes": 1}).encode(),
        json.dumps(FIELDS | {"schema_version": 3, "sha256": "0" * 64, "bytes": 1}).encode(),
        b"-1;i;" + base64.b64encode(JPEG),
        b"\xff",
        b"",
    ],
)
def test_a_picture_is_kept_where_the_graph_keeps_it(payload: bytes, tmp_path: Path) -> None:
    database = Database(tmp_path / "state")
    pictures = Pictures(database, tmp_path / "pictures", lambda: 1.0, lambda: None)
    pictures.take([payload], {0: 1})
    kept = database.number("SELECT count(*) FROM pictures")
    assert kept == (not isinstance(read_picture(payload), Refusal))
    assert database.number("SELECT count(*) FROM refused") == 1 - kept
    database.close()


def uploaded(jpeg: bytes, image_id: str = "i") -> bytes:
    """A v2 message."""
    return json.dumps(
        FIELDS | {"schema_version": 2, "image_id": image_id, "bytes": len(jpeg)} | {"sha256": sha(jpeg)}
    ).encode()


def sha(jpeg: bytes) -> str:
    """Of a picture."""
    return hashlib.sha256(jpeg).hexdigest()


def upload(root: Path, jpeg: bytes, name: str) -> None:
    """To a lake."""
    path = root / picture_path(name)
    path.parent.mkdir(parents=True)
    path.write_bytes(jpeg)


def test_an_uploaded_picture_of_an_alert_is_fetched_from_the_lake(console: Console, tmp_path: Path) -> None:
    browser, others, lake = officer(console), jpeg("no alert"), tmp_path / "lake"
    upload(lake, JPEG, sha(JPEG))
    upload(lake, others, sha(others))
    console.pictures.take([uploaded(JPEG, "image of a"), uploaded(others, "of no alert")], {})
    raise_alerts(console, alert("a", 1.0))
    assert console.pictures.of(1) is None
    assert 'alt="Picture of alert' not in browser.get("/queue").text
    console.pictures.fetch(partial(fetch, str(lake)))
    found = console.pictures.of(1)
    assert found is not None
    assert found.read_bytes() == JPEG
    assert 'alt="Picture of alert' in browser.get("/queue").text
    assert [path.name for path in found.parent.iterdir()] == [found.name]  # no other was fetched


@pytest.mark.parametrize(
    ("stored", "reason"),
    [
        (None, "image_not_uploaded"),
        (b"other bytes", "another SHA-256"),
        (bytes(MAX_IMAGE_BYTES + 1), "payload_too_large"),
    ],
)
def test_an_uploaded_picture_that_is_not_the_one_of_its_message_is_refused(
    console: Console, tmp_path: Path, stored: bytes | None, reason: str
) -> None:
    if stored is not None:
        upload(tmp_path, stored, sha(JPEG))
    console.pictures.take([uploaded(JPEG, "image of a")], {})
    raise_alerts(console, alert("a", 1.0))
    console.pictures.fetch(partial(fetch, str(tmp_path)))
    assert console.pictures.of(1) is None
    (refused,) = console.database.rows("SELECT * FROM refused")
    assert (refused["payload"], reason in refused["reason"]) == (b"image of a", True)
    assert list((console.pictures._folder).iterdir()) == []


def test_a_picture_that_is_no_jpeg_is_never_served(console: Console, tmp_path: Path) -> None:
    page = b"<html><script>alert(1)</script>"
    upload(tmp_path, page, sha(page))
    console.pictures.take([uploaded(page, "image of a")], {})
    raise_alerts(console, alert("a", 1.0))
    console.pictures.fetch(partial(fetch, str(tmp_path)))
    assert console.pictures.of(1) is None
    assert "image_not_jpeg" in console.database.rows("SELECT reason FROM refused")[0]["reason"]


def test_a_console_without_the_lake_says_that_pictures_are_there(console: Console) -> None:
    console.pictures.take([uploaded(JPEG, "image of a")], {})
    console.pictures.fetch(partial(fetch, None))  # no alert has it
    raise_alerts(console, alert("a", 1.0))
    with pytest.raises(InputUnusable, match="--lake"):
        console.pictures.fetch(partial(fetch, None))
    assert console.database.number("SELECT count(*) FROM pictures") == 1  # it is fetched once there is one
