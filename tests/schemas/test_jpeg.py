"""The markers of a JPEG are walked up to its scan: whatever the bytes, each at most once, and with an answer."""

import re
from unittest import mock

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import schemas.jpeg
from apps.simulator.fleet.images import jpeg
from schemas.jpeg import MAX_SEGMENTS, NoJpegError, claimed_pixels

MAGIC = b"\xff\xd8\xff"
SCAN = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"


def frame(lines: int, columns: int, marker: int = 0xC0) -> bytes:
    size = lines.to_bytes(2, "big") + columns.to_bytes(2, "big")
    return bytes([0xFF, marker]) + b"\x00\x0b\x08" + size + b"\x01\x01\x11\x00"


def answer(data: bytes) -> int | None:
    """Nothing for what is no JPEG."""
    try:
        return claimed_pixels(data)
    except NoJpegError:
        return None


@pytest.mark.parametrize("size", [0, 1_000, 200_000, 10 * 2**20])
def test_pictures_of_the_simulator_are_of_64_pixels(size: int) -> None:
    assert claimed_pixels(jpeg("a picture", size)) == 64


@pytest.mark.parametrize("marker", sorted({*range(0xC0, 0xD0), 0xDE} - {0xC4, 0xC8, 0xCC}))
def test_every_kind_of_frame_says_its_size(marker: int) -> None:
    assert claimed_pixels(b"\xff\xd8" + frame(65_535, 65_535, marker) + SCAN) == 65_535**2


@pytest.mark.parametrize("marker", [0xC4, 0xC8, 0xCC])
def test_tables_among_the_frames_are_no_frames(marker: int) -> None:
    with pytest.raises(NoJpegError, match="no frame before its scan"):
        claimed_pixels(b"\xff\xd8" + frame(8, 8, marker) + SCAN)


def test_the_largest_of_several_frames_counts() -> None:
    assert claimed_pixels(b"\xff\xd8" + frame(8, 8) + frame(9_000, 9_000) + frame(8, 8) + SCAN) == 81_000_000


def test_a_size_inside_a_comment_is_none() -> None:
    comment = frame(60_000, 60_000) + SCAN
    length = (len(comment) + 2).to_bytes(2, "big")
    assert claimed_pixels(b"\xff\xd8\xff\xfe" + length + comment + frame(8, 8) + SCAN) == 64


def test_fill_and_bare_markers_are_passed_over() -> None:
    assert claimed_pixels(b"\xff\xd8\xff\xff\xff\x01\xff\xd0\xff\xff" + frame(8, 8) + b"\xff\xff" + SCAN) == 64


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it begins with"),
        (b"\xff\xd8", "it begins with"),
        (b"GIF89a", "it begins with 47494638"),
        (MAGIC, "is no marker"),
        (b"\xff\xd8" + SCAN, "no frame before its scan"),
        (b"\xff\xd8" + frame(8, 8), "it ends before its scan"),
        (b"\xff\xd8" + frame(8, 8) + b"\xff\xd9", "marker d9"),
        (b"\xff\xd8" + frame(8, 8) + MAGIC, "marker d8"),
        (b"\xff\xd8" + frame(8, 8) + b"\x00" + SCAN, "is no marker"),
        (MAGIC + b"\x00", "marker 00"),
        (MAGIC + b"\xe0", "cut short"),
        (MAGIC + b"\xe0\x00", "cut short"),
        (MAGIC + b"\xe0\x00\x01", "cut short"),
        (MAGIC + b"\xe0\xff\xff", "cut short"),
        (MAGIC + b"\xc0\x00\x02" + SCAN, "a frame without a size"),
        (b"\xff\xd8" + frame(0, 8) + SCAN, "a frame without a size"),
        (b"\xff\xd8" + frame(8, 0) + SCAN, "a frame without a size"),
        (b"\xff\xd8" + b"\xff\xd0" * 10_000 + frame(8, 8) + SCAN, f"more than {MAX_SEGMENTS} segments"),
        (b"\xff\xd8" + b"\xff\xe0\x00\x02" * 10_000 + frame(8, 8) + SCAN, f"more than {MAX_SEGMENTS} segments"),
    ],
)
def test_what_is_no_jpeg_says_why(data: bytes, why: str) -> None:
    with pytest.raises(NoJpegError, match=why):
        claimed_pixels(data)


@given(st.integers(min_value=0))
def test_a_picture_that_is_cut_anywhere_before_its_scan_is_none(cut: int) -> None:
    whole = jpeg("a picture", 1_000)
    scan = whole.index(b"\xff\xda") + 2
    assert answer(whole[: cut % scan]) is None


SEGMENT = st.builds(
    lambda fill, marker, length, body: b"\xff" * fill + bytes([marker]) + length.to_bytes(2, "big") + body,
    st.integers(0, 3),
    st.integers(0, 255),
    st.integers(0, 0xFFFF) | st.integers(0, 20),
    st.binary(max_size=20),
)


@given(st.binary(max_size=2_000) | st.lists(SEGMENT, max_size=50).map(b"".join))
@example(b"\xff" * 10 * 2**20)
@example(b"\xe0\x00\x02\xff" * (2**21))
@example(b"\xd0\xff" * (5 * 2**20))
@example(b"\xe0" + bytes(10 * 2**20))
def test_any_bytes_after_the_magic_have_an_answer_and_each_is_looked_at_once(rest: bytes) -> None:
    looks: list[int] = []
    real = schemas.jpeg._FILL

    class Counted:
        """Counts the searches for a marker, and the bytes that each has looked at."""

        def match(self, data: bytes, place: int) -> re.Match[bytes] | None:
            found = real.match(data, place)
            looks.append(found.end() - place if found else 0)
            return found

    with mock.patch.object(schemas.jpeg, "_FILL", Counted()):
        pixels = answer(MAGIC + rest)
    assert len(looks) <= MAX_SEGMENTS
    assert sum(looks) <= len(MAGIC + rest)
    assert pixels is None or 0 < pixels <= 65_535**2
