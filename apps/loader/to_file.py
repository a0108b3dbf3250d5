"""The target ``file:``: a directory, in which the file gets its name when it is complete."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

from schemas.errors import InUse

from .disk import lock, os_errors_translated, sync_folder
from .pieces import Place, blocks
from .source import SourceFile
from .target import Target, TargetChanged

CHUNK_BYTES: Final = 1 << 18


class ToFile(Target):
    """A local or mounted directory."""

    text = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1
        self._place = Place(0)

    def begin(self, source: SourceFile) -> Mapping[str, Any]:
        with os_errors_translated(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        return {}

    def resume(self, source: SourceFile, known: Mapping[str, Any], arrived: Place) -> Place | None:
        self._source, part = source, self._part(source)
        with os_errors_translated(self._folder):
            if self._final.exists() and not part.exists() and arrived.offset == source.size:
                self._place = arrived
                return arrived  # stopped after its last step
            self._descriptor = os.open(part, os.O_WRONLY | os.O_CREAT, 0o644)
            lock(self._descriptor, f"{part} is being written")
            if not part.exists() or part.stat().st_ino != os.fstat(self._descriptor).st_ino:
                raise InUse(f"{self._final} has just been written by another process; run the same command again")
            # The rest may be half a block, or zeros where a power cut lost the bytes but kept the length.
            self._place = Place(min(arrived.offset, os.fstat(self._descriptor).st_size))
            os.ftruncate(self._descriptor, self._place.offset)
            os.lseek(self._descriptor, self._place.offset, os.SEEK_SET)
        return self._place

    def chunks(self, source: SourceFile, file: IO[bytes], at: Place) -> Iterator[tuple[bytes, Place]]:
        return blocks(file, at, CHUNK_BYTES)

    def send(self, chunk: bytes, upto: Place) -> None:
        with os_errors_translated(self._folder):
            view = memoryview(chunk)
            while view:
                view = view[os.write(self._descriptor, view) :]
        self._place = upto

    def arrived(self) -> Place:
        if self._descriptor >= 0:
            with os_errors_translated(self._folder):
                os.fsync(self._descriptor)
        return self._place

    def finish(self) -> None:
        if self._descriptor >= 0:
            with os_errors_translated(self._folder):
                os.fsync(self._descriptor)
                os.replace(self._part(self._source), self._final)
                sync_folder(self._folder)

    def check_there(self, source: SourceFile, known: Mapping[str, Any]) -> None:
        self._source = source
        with os_errors_translated(self._folder):
            if not self._final.is_file() or self._final.stat().st_size != source.size:
                raise TargetChanged(f"{self._final}, which was loaded, is missing or has another size")

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def next_step(self) -> str:
        return str(self._final)

    @property
    def _final(self) -> Path:
        return self._folder / self._source.arrives_as

    def _part(self, source: SourceFile) -> Path:
        return self._folder / f".{source.arrives_as}.part"  # hidden, so that no reader's pattern matches it
