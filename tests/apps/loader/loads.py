"""Small files of tickets, and the loader run over them."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from apps.loader.load import LoadOptions, load
from apps.loader.pieces import Place, pieces
from apps.loader.source import SourceFile
from apps.loader.target import Target
from apps.loader.to_file import ToFile
from messaging.retry import Patience
from schemas.loaded import Piece, decode, encode

HEADER = b"Summons Number,Issue Date,Violation Time,Violation Code\n"
ROWS = b"".join(b"%d,07/06/2015,0143A,21\n" % n for n in range(4))
COLUMNS = 4


class Interrupted(Exception):
    """Stands for a power cut."""


class Collected(Target):
    """A topic in memory, which outlives the loader; ``most`` messages, and the power fails."""

    text = True

    def __init__(self, topic: list[bytes], rows: int = 1, most: int = sys.maxsize) -> None:
        self._topic, self._rows, self._most = topic, rows, most
        self._place = Place(0)

    def begin(self, source: SourceFile) -> Mapping[str, Any]:
        return {}

    def resume(self, source: SourceFile, known: Mapping[str, Any], arrived: Place) -> Place | None:
        self._place = arrived
        return arrived

    def chunks(self, source: SourceFile, file: IO[bytes], at: Place) -> Iterator[tuple[bytes, Place]]:
        for piece, behind in pieces(source, file, at, self._rows):
            yield encode(piece), behind

    def send(self, chunk: bytes, upto: Place) -> None:
        if not self._most:
            raise Interrupted
        self._most -= 1
        self._topic.append(chunk)
        self._place = upto

    def arrived(self) -> Place:
        return self._place

    def finish(self) -> None:
        pass

    def check_there(self, source: SourceFile, known: Mapping[str, Any]) -> None:
        pass

    @property
    def next_step(self) -> str:
        return "TOPIC"


class CutFile(ToFile):
    """A directory whose computer loses its power after so many blocks."""

    def __init__(self, folder: Path, most: int) -> None:
        super().__init__(folder)
        self._most = most

    def send(self, chunk: bytes, upto: Place) -> None:
        if not self._most:
            raise Interrupted
        self._most -= 1
        super().send(chunk, upto)


def to(target: Target, journals: Path, source: Path) -> str:
    """Load a file to a target."""

    def make(patience: Patience) -> Target:
        return target

    return load(source, LoadOptions(journals, "TARGET", make, patience=1, quiet=True))


def assembled(topic: list[bytes], size: int) -> bytes:
    """The file that these messages make, whatever is there twice."""
    found = [decode(message) for message in topic]
    assert {piece.size for piece in found} <= {None, size}
    assert any(piece.size == size for piece in found)
    file = bytearray(size)
    file[: len(found[0].header)] = found[0].header
    there = len(found[0].header)
    for piece in sorted(found, key=lambda piece: piece.offset):
        assert piece.offset <= there
        file[piece.offset : piece.end] = piece.data
        there = max(there, piece.end)
    assert there == size
    return bytes(file)


def pieces_of(source: SourceFile, rows: int, at: Place) -> list[Piece]:
    """All pieces of a file from a place on."""
    with source.open(text=True) as file:
        return [piece for piece, _ in pieces(source, file, at, rows)]


def command(*arguments: str | Path, env: dict[str, str] | None = None, **run: Any) -> subprocess.CompletedProcess[str]:
    """Run the loader as a user does."""
    line = [sys.executable, "-m", "prestacop", "load", *map(str, arguments)]
    return subprocess.run(
        line, capture_output=True, text=True, check=False, env=os.environ | (env or {}), timeout=300, **run
    )
