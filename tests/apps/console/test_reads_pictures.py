"""The console takes the pictures that the graph takes, and no other."""

import base64
import json
from pathlib import Path

import pytest

from apps.console.database import Database
from apps.console.pictures import Pictures
from apps.simulator.fleet.images import jpeg
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
