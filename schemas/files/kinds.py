"""The kind of a file by its first bytes: how it is packed, or what else it is and what to do with it."""

import re
from codecs import BOM_UTF8
from enum import StrEnum
from typing import Final, NamedTuple

FIRST_BYTES: Final = 512


class Packing(StrEnum):
    """The compressions that are read."""

    GZIP = "gzip"
    BZIP2 = "bzip2"
    ZSTD = "zstd"


class Kind(NamedTuple):
    """What a file is. Without either field it may be lines of text in UTF-8."""

    packing: Packing | None = None
    other: str = ""
    """A kind that is not read, and what to do with it."""


_PACKED: Final = (
    (re.compile(rb"\x1f\x8b"), Packing.GZIP),
    (re.compile(rb"BZh[1-9][1\x17]"), Packing.BZIP2),
    (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), Packing.ZSTD),  # the latter: what pzstd begins with
)
_UTF_16: Final = "text in UTF-16: convert it to UTF-8 (iconv -f UTF-16 -t UTF-8)"
_TABLE: Final = "write it as CSV"
_OTHERS: Final = (
    (rb"PK(\x03\x04|\x05\x06|\x07\x08)", "a zip archive: unpack it; a workbook of Excel: save it as CSV"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "a workbook of Excel: save it as CSV"),
    (rb"\xfd7zXZ\x00", "an xz file: unpack it, or pack it with gzip"),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (rb"Rar!\x1a\x07", "a rar archive: unpack it"),
    (rb"\x04\x22\x4d\x18", "an lz4 file: unpack it, or pack it with gzip"),
    (rb"\x1f[\x9d\xa0]", "a file of compress: unpack it, or pack it with gzip"),
    (rb"(?s:.{257})ustar", "a tar archive: unpack it"),
    (rb"PAR1", f"a Parquet file: {_TABLE}"),
    (rb"ORC[^ -~]", f"an ORC file: {_TABLE}"),
    (rb"Obj\x01", f"an Avro file: {_TABLE}"),
    (rb"ARROW1\0\0|FEA1", f"an Arrow file: {_TABLE}"),
    (rb"SQLite format 3\0", f"a database of SQLite: {_TABLE}"),
    (rb"%PDF-", "a PDF document: get the data as CSV"),
    (rb"\xff\xfe\0\0|\0\0\xfe\xff", "text in UTF-32: convert it to UTF-8 (iconv -f UTF-32 -t UTF-8)"),
    (rb"\xff\xfe|\xfe\xff|([\t-~]\0){4}|(\0[\t-~]){4}", _UTF_16),
    (rb"version https://git-lfs\.github\.com/", "a pointer of Git LFS: fetch the file itself (git lfs pull)"),
)
_PAGES: Final = (
    (
        rb"<(!doctype\s+html|html|head|body)\b",
        "a page of HTML, perhaps a server's error: fetch the file again",
    ),
    (rb"<\?xml\b", "XML, perhaps a server's error: fetch the file again, as CSV"),
)
_JSON: Final = (rb'\{\s*["}]|\[\s*[\[{"\d\]]', "JSON: get the data as CSV")
_NO_MESSAGES: Final = (
    (rb"\[", "a JSON array: write one message a line (jq -c '.[]')"),
    (rb"\{[ \t]*\r?\n", "JSON that goes over many lines: write one message a line (jq -c .)"),
)


def _compiled(*kinds: tuple[bytes, str]) -> tuple[tuple[re.Pattern[bytes], str], ...]:
    return tuple((re.compile(pattern, re.IGNORECASE), other) for pattern, other in kinds)


_MAGIC: Final = tuple((re.compile(pattern), other) for pattern, other in _OTHERS)
_TEXT: Final = _compiled(*_PAGES, _JSON)
_TEXT_OF_MESSAGES: Final = _compiled(*_PAGES, *_NO_MESSAGES)


def kind_of(first: bytes, messages: bool = False) -> Kind:
    """What a file is.

    Args:
        first: its first FIRST_BYTES bytes, fewer where it is shorter.
        messages: it is to hold a message a line, else a table of tickets.
    """
    for begins, packing in _PACKED:
        if begins.match(first):
            return Kind(packing)
    for begins, other in _MAGIC:
        if begins.match(first):
            return Kind(other=other)
    text = first.removeprefix(BOM_UTF8).lstrip()
    for begins, other in _TEXT_OF_MESSAGES if messages else _TEXT:
        if begins.match(text):
            return Kind(other=other)
    return Kind()


def no_text(first: bytes, messages: bool = False) -> str | None:
    """The kind of a file, or of the text of a packed one, that is not text, for an error message; else None."""
    kind = kind_of(first, messages)
    return f"a {kind.packing} file: unpack it" if kind.packing else kind.other or None
