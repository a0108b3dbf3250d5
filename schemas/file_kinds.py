"""What a file is, told by its first bytes: for a message that says what to do with it."""

import re
from typing import Final

FIRST_BYTES: Final = 512

_MAGIC: Final = (
    (b"PK\x03\x04", "a zip archive: unpack it"),
    (b"BZh", "a bzip2 file: unpack it, or pack it with gzip"),
    (b"\xfd7zXZ\x00", "an xz file: unpack it, or pack it with gzip"),
    (b"\x28\xb5\x2f\xfd", "a zstd file: unpack it, or pack it with gzip"),
    (b"PAR1", "a Parquet file: write it as CSV"),
    (b"\xff\xfe", "text in UTF-16: convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)"),
    (b"\xfe\xff", "text in UTF-16: convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)"),
    (b"version https://git-lfs.github.com/", "a pointer of Git LFS: fetch the file itself (git lfs pull)"),
)
_HTML: Final = re.compile(rb"\s*<(!doctype\s+html|html|head|body)\b", re.IGNORECASE)


def kind_of(first: bytes) -> str | None:
    """What a file is that begins like this, and what to do with it; None where it may be lines of text in UTF-8."""
    for magic, kind in _MAGIC:
        if first.startswith(magic):
            return kind
    text = first.removeprefix(b"\xef\xbb\xbf")
    return "a page of HTML, perhaps a server's error: fetch the file again" if _HTML.match(text) else None


def kind_of_recording(first: bytes) -> str | None:
    """The same for a recording of messages, one a line."""
    text = first.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"["):
        return "a JSON array: write one message a line (jq -c '.[]')"
    if re.match(rb"\{[ \t]*\r?\n", text):
        return "JSON that goes over many lines: write one message a line (jq -c .)"
    return kind_of(first)
