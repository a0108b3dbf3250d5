"""The size of a JPEG from its headers, without decoding it.

A picture of a few kilobytes may claim billions of pixels, which would exhaust the memory of its decoder.
"""

import re
from typing import Final

MAX_SEGMENTS: Final = 1_000
"""A picture has a few dozen before its scan; 10 MB of comments in the longest segments are 160."""

_FILL: Final = re.compile(rb"\xff+")
_START_OF_SCAN: Final = 0xDA
_END: Final = 0xD9
_FRAMES: Final = frozenset({*range(0xC0, 0xD0), 0xDE} - {0xC4, 0xC8, 0xCC})
"""SOF0 to SOF15, without the tables among them, and DHP, the size of a hierarchy of frames."""
_BARE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
"""Markers without a length."""
_FRAME_BYTES: Final = 8
"""Of a frame's segment up to its number of components: length, precision, lines, columns."""


class NoJpegError(ValueError):
    """The bytes are not a JPEG; the message gives the reason."""


def claimed_pixels(jpeg: bytes) -> int:
    """How many pixels the largest frame before the first scan claims. Raises NoJpegError.

    A height of 0, which leaves the height to a marker after the scan, is refused as the usual decoders do.

    >>> claimed_pixels(bytes.fromhex("ffd8 ffc0 000b 08 0010 0020 01 011100 ffda"))
    512
    """
    if not jpeg.startswith(b"\xff\xd8\xff"):
        raise NoJpegError(f"it begins with {jpeg[:4].hex()}")
    pixels = 0
    place = 2
    for _ in range(MAX_SEGMENTS):
        fill = _FILL.match(jpeg, place)
        if fill is None or fill.end() == len(jpeg):
            raise NoJpegError(f"byte {place} is no marker" if place < len(jpeg) else "it ends before its scan")
        marker = jpeg[fill.end()]
        place = fill.end() + 1
        if marker == _START_OF_SCAN:
            if not pixels:
                raise NoJpegError("no frame before its scan")
            return pixels
        if marker in _BARE:
            continue
        length = int.from_bytes(jpeg[place : place + 2], "big")
        if marker in (0x00, 0xD8, _END) or length < 2 or place + length > len(jpeg):
            raise NoJpegError(f"marker {marker:02x} at byte {place - 1} has no place there, or is cut short")
        if marker in _FRAMES:
            pixels = max(pixels, _pixels(jpeg, place, length))
        place += length
    raise NoJpegError(f"more than {MAX_SEGMENTS} segments before its scan")


def _pixels(jpeg: bytes, place: int, length: int) -> int:
    lines = int.from_bytes(jpeg[place + 3 : place + 5], "big")
    columns = int.from_bytes(jpeg[place + 5 : place + 7], "big")
    if length < _FRAME_BYTES or not lines * columns:
        raise NoJpegError("a frame without a size")
    return lines * columns
