"""Pictures of any size: every marker of the JPEG is where a decoder looks for it."""

import base64
from pathlib import Path

import msgspec
import pytest

from apps.simulator.fleet.images import Picture, jpeg, parked_car
from apps.simulator.fleet.upload import Uploads
from schemas.jpeg import claimed_pixels
from schemas.messages import MAX_IMAGE_BYTES, ImageMessage
from schemas.pictures import Picture as DecodedPicture
from schemas.pictures import UploadedPicture, decode_picture, picture_path

NAME = "img-0123456789abcdef0123456789abcdef"
SMALLEST = len(jpeg(NAME))


def segments(picture: bytes) -> list[tuple[int, int]]:
    """The marker and the length of each segment up to the scan, which must be the last."""
    assert picture[:2] == b"\xff\xd8"
    assert picture[-2:] == b"\xff\xd9"
    found: list[tuple[int, int]] = []
    at = 2
    while not found or found[-1][0] != 0xDA:
        assert picture[at] == 0xFF
        length = int.from_bytes(picture[at + 2 : at + 4], "big")
        found.append((picture[at + 1], length))
        at += 2 + length
    assert len(picture) - at == 3
    return found


@pytest.mark.parametrize(
    "size",
    [
        *range(SMALLEST, SMALLEST + 12),
        100_000,
        *range(SMALLEST + 65_537 - 3, SMALLEST + 65_537 + 6),
        SMALLEST + 3 * 65_537,
        MAX_IMAGE_BYTES,
    ],
)
def test_a_picture_has_the_requested_size(size: int) -> None:
    picture = jpeg(NAME, size)
    assert size <= len(picture) <= min(size + 3, MAX_IMAGE_BYTES)
    comments = [length for marker, length in segments(picture) if marker == 0xFE]
    assert [marker for marker, _ in segments(picture)][len(comments) :] == [0xDB, 0xC0, 0xC4, 0xC4, 0xDA]
    assert all(2 <= length < 65_536 for length in comments)
    assert len(comments) == 1 + -(-max(size - SMALLEST, 0) // 65_537)


def test_a_picture_is_small_by_default() -> None:
    assert SMALLEST < 250
    assert jpeg(NAME, 0) == jpeg(NAME, SMALLEST) == jpeg(NAME)
    assert jpeg(NAME, 5_000) != jpeg(NAME.replace("0", "1"), 5_000)


def test_messages_carry_the_picture() -> None:
    picture = Picture(1_768_478_400_250_000, NAME, "2026-01-15T12:00:00.250000Z", False, "d1", "ABC1234")
    message = msgspec.json.decode(picture.payload(picture.jpeg(1_000)), type=ImageMessage)
    assert (message.image_id, message.event_time) == (NAME, "2026-01-15T12:00:00.250000Z")
    assert base64.b64decode(message.data) == jpeg(NAME, 1_000)
    old = Picture(1_768_478_400_250_000, NAME, "1768478400.250000", True, "d1", "")
    assert old.payload(old.jpeg(1_000)) == f"1768478400.250000;{NAME};".encode() + base64.b64encode(jpeg(NAME, 1_000))


def test_an_uploaded_picture_is_named_by_its_message(tmp_path: Path) -> None:
    picture = Picture(1_768_478_400_250_000, NAME, "2026-01-15T12:00:00.250000Z", False, "d1", "ABC1234")
    made = picture.jpeg(1_000)
    Uploads(str(tmp_path)).put([made])
    found = decode_picture(picture.uploaded_payload(made))
    assert isinstance(found, UploadedPicture)
    assert found[:2] == (NAME, picture.at_us)
    assert (tmp_path / picture_path(found.sha256)).read_bytes() == made
    assert found.bytes == len(made)


def test_a_drawing_shows_the_plate() -> None:
    picture = Picture(1_768_478_400_250_000, NAME, "2026-01-15T12:00:00.250000Z", False, "d1", "ABC1234")
    decoded = decode_picture(picture.payload(picture.jpeg(None)))
    assert isinstance(decoded, DecodedPicture)
    drawn = decoded.jpeg
    assert drawn == parked_car(NAME, "d1", "ABC1234")
    assert claimed_pixels(drawn) == 640 * 400
    assert drawn != parked_car(NAME, "d1", "ABC1235")
    assert parked_car("img-1", "d1", "ABC1234") != parked_car("img-2", "d1", "ABC1234")
    assert parked_car(NAME, "<d&1>", 'A"<B') != drawn
