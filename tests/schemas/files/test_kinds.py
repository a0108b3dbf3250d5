"""What a file is: told by its first bytes, in the same words by the graph and by the loader, before a byte is sent."""

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from apps.loader.load import LoadOptions, load
from apps.loader.target import Target
from messaging.retry import Patience
from schemas.errors import InputUnusable
from schemas.files.kinds import Packing, kind_of
from schemas.lake import Source
from sources.files.history import HistoryCsv
from sources.files.read import Format, plan, read_cell
from sources.files.recordings import RecordedMessages
from sources.units import UnitBatch, UnitBlock

HEADER = b"Summons Number,Issue Date,Violation Time,Violation Code\n"
TABLE = HEADER + b"1,07/06/2015,0143A,21\n2,07/06/2015,0143P,14\n"
MESSAGES = b'{"message_id":"a"}\n{"message_id":"b"}\n'
BOM = b"\xef\xbb\xbf"


def tar() -> bytes:
    """An archive of one file."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo("tickets.csv")
        entry.size = len(TABLE)
        archive.addfile(entry, io.BytesIO(TABLE))
    return file.getvalue()


def zipped() -> bytes:
    """The same as zip."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("tickets.csv", TABLE)
    return file.getvalue()


OTHERS = {
    "zip": (zipped(), "a zip archive"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504), "Excel"),
    "xz": (lzma.compress(TABLE), "an xz file"),
    "7z": (b"7z\xbc\xaf\x27\x1c\x00\x04", "a 7z archive"),
    "lz4": (bytes(pa.Codec("lz4").compress(TABLE, asbytes=True)), "an lz4 file"),
    "tar": (tar(), "a tar archive"),
    "parquet": (b"PAR1\x15\x04", "a Parquet file"),
    "arrow": (b"ARROW1\0\0\xff\xff\xff\xff", "an Arrow file"),
    "sqlite": (b"SQLite format 3\0\x10\0", "SQLite"),
    "pdf": (b"%PDF-1.7\n", "a PDF"),
    "utf-16": (TABLE.decode().encode("utf-16"), "UTF-16"),
    "utf-16-le": (TABLE.decode().encode("utf-16-le"), "UTF-16"),
    "utf-16-be": (TABLE.decode().encode("utf-16-be"), "UTF-16"),
    "utf-32": (TABLE.decode().encode("utf-32"), "UTF-32"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "Git LFS"),
    "html": (b"<!DOCTYPE html>\n<html>\n", "HTML"),
    "html, a mark and blanks before": (BOM + b"\r\n  <HTML lang=en>", "HTML"),
    "xml": (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "XML"),
}
JSON = {
    "array": (b'[{"a":1}]', "JSON"),
    "array over lines": (b'[\n  {"a":1}\n]', "JSON"),
    "array behind a mark": (BOM + b'[{"a":1}]', "JSON"),
    "object over lines": (b'{\n  "a": 1\n}', "JSON"),
    "object over lines, Windows": (b'{\r\n  "a": 1\r\n}', "JSON"),
}
PACK: dict[str, Callable[[bytes], bytes]] = {
    Packing.GZIP: gzip.compress,
    Packing.BZIP2: bz2.compress,
    Packing.ZSTD: lambda text: bytes(pa.Codec("zstd").compress(text, asbytes=True)),
}


def by_the_graph(path: Path, form: Format) -> str:
    """What the graph says of a file that it does not read."""
    with pytest.raises(InputUnusable) as error:
        payloads(path, form)
    return str(error.value)


def by_the_loader(path: Path) -> str:
    """What the loader says of it; it asks for no target."""

    def make(patience: Patience) -> Target:
        raise AssertionError("a target was made")

    with pytest.raises(InputUnusable) as error:
        load(path, LoadOptions(path.parent / "journals", "TARGET", make, patience=1, quiet=True))
    assert error.value.exit_code == 3
    return str(error.value)


@pytest.mark.parametrize("what", [*OTHERS, *JSON, "nothing", *(f"{packing} in gzip" for packing in PACK)])
@pytest.mark.parametrize("packing", ["plain", *PACK])
def test_what_is_no_table_is_named_by_the_graph_and_by_the_loader_alike(
    tmp_path: Path, what: str, packing: str
) -> None:
    inner = what.removesuffix(" in gzip")
    content, expected = (PACK[inner](TABLE), f"a {inner} file") if inner in PACK else (b"", "the file is empty")
    content, expected = (OTHERS | JSON).get(what, (content, expected))
    if inner in PACK and packing == "plain":
        packing = Packing.GZIP
    path = tmp_path / "tickets.csv"
    path.write_bytes(PACK[packing](content) if packing in PACK else content)
    message = by_the_graph(path, HistoryCsv())
    assert message.startswith(str(path))
    assert expected in message
    assert by_the_loader(path) == message


@pytest.mark.parametrize("what", [*OTHERS, *JSON])
@pytest.mark.parametrize("packing", ["plain", *PACK])
def test_what_is_no_recording_is_named(tmp_path: Path, what: str, packing: str) -> None:
    content, expected = (OTHERS | JSON)[what]
    path = tmp_path / "m.jsonl"
    path.write_bytes(PACK[packing](content) if packing in PACK else content)
    message = by_the_graph(path, RecordedMessages(Source.DRONES))
    assert "not a recording of messages but " in message
    assert expected in message


@pytest.mark.parametrize(
    "first",
    [HEADER, BOM + HEADER, b"[Summons Number],[Issue Date]", b"BZh,a", b"ORCHARD,a", b'"<html>",a', b"\xe9", b"", b"1"],
)
def test_what_may_be_a_table_is_nothing_else(first: bytes) -> None:
    assert kind_of(first) == kind_of(b"")


@pytest.mark.parametrize(
    "first", [MESSAGES, b"{}", b'{"a":{\n', b"<rubbish>", b"", b"\0", b"\xff", b"40.7;-74\n", b"BZh"]
)
def test_what_may_be_a_recording_is_nothing_else(first: bytes) -> None:
    assert kind_of(first, messages=True) == kind_of(b"")


def payloads(path: Path, form: Format) -> list[bytes]:
    """What a file gives."""
    items = [item for cell in plan(str(path), form) for item in read_cell(cell, form, str(path.parent / "lake"))]
    blocks = [item.block.data for item in items if isinstance(item, UnitBlock)]
    return blocks + [
        value for item in items if isinstance(item, UnitBatch) for value in item.rows["payload"].to_pylist()
    ]


@pytest.mark.parametrize("mark", [b"", BOM])
@pytest.mark.parametrize("packing", ["plain", *PACK])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_mark_is_no_part_of_the_first_record(tmp_path: Path, mark: bytes, packing: str, end: bytes) -> None:
    pack = PACK.get(packing, bytes)
    (tmp_path / "t.csv").write_bytes(pack(mark + TABLE.replace(b"\n", end)))
    (tmp_path / "m.jsonl").write_bytes(pack(mark + MESSAGES.replace(b"\n", end)))
    assert payloads(tmp_path / "t.csv", HistoryCsv()) == [TABLE[len(HEADER) :].replace(b"\n", end)]
    assert payloads(tmp_path / "m.jsonl", RecordedMessages(Source.DRONES)) == MESSAGES.splitlines()


def test_a_recording_of_a_mark_alone_has_no_message(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes(BOM)
    assert payloads(tmp_path / "m.jsonl", RecordedMessages(Source.DRONES)) == []
