"""Recorded messages: a file with one payload a line, as ``kafka-console-consumer`` or the simulator leaves it."""

from codecs import BOM_UTF8
from typing import IO

import numpy as np
import pyarrow as pa

from schemas.errors import InputUnusable
from schemas.files.kinds import FIRST_BYTES, no_text
from schemas.lake import Source
from sources.files.grid import Borders, Cell, Lines
from sources.files.read import Header
from sources.payloads import payload_batch
from sources.units import UnitBatch


class RecordedMessages:
    """The :class:`~sources.files.read.Format` of a recording; the last line may lack its newline."""

    element = UnitBatch

    def __init__(self, source: Source) -> None:
        self.source = source

    def header(self, file: IO[bytes], url: str) -> Header:
        file.seek(0)
        first = file.read(FIRST_BYTES)
        if kind := no_text(first, messages=True):
            raise InputUnusable(f"{url}: not a recording of messages but {kind}")
        return Header(BOM_UTF8 if first.startswith(BOM_UTF8) else b"", ())

    def borders(self, header: Header) -> Borders:
        return Lines()

    def behind(self, header: Header, content: pa.RecordBatch) -> Header:
        return header

    def mark(self, cells: list[Cell], file: IO[bytes], header: Header) -> list[Cell]:
        return cells

    def content(self, header: Header, data: bytes, offset: int, first_record: int) -> pa.RecordBatch:
        lines = data.removesuffix(b"\n").split(b"\n")
        sizes = np.fromiter(map(len, lines), np.int64, len(lines)) + 1
        starts = np.cumsum(sizes) - sizes + offset
        if b"\r\n" in data:  # saved on Windows
            lines = [line.removesuffix(b"\r") for line in lines]
        record = np.arange(first_record, first_record + len(lines))
        return payload_batch(lines, record, starts)
