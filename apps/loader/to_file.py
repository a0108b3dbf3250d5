"""To a directory: the file itself, under its name when it is whole."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final

from schemas.errors import InUse

from .disk import lock, sync_folder, told
from .pieces import Place, blocks
from .source import SourceFile
from .target import Target, TargetChanged

CHUNK_BYTES: Final = 1 << 18


class ToFile(Target):
    """A directory of this machine, or a mounted one."""

    text = False

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1
        self._place = Place(0)

    def begin(self, source: SourceFile) -> Mapping[str, Any]:
        with told(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        return {}

    def resume(self, source: SourceFile, known: Mapping[str, Any], arrived: Place) -> Place | None:
        self._source, part = source, self._part(source)
        with told(self._folder):
            if self._final.exists() and not part.exists() and arrived.offset == source.size:
                self._place = arrived
                return arrived  # it was stopped behind its last step
            self._descriptor = os.open(part, os.O_WRONLY | os.O_CREAT, 0o644)
            lock(self._descriptor, f"{part} is being written")
            if not part.exists() or part.stat().st_ino != os.fstat(self._descriptor).st_ino:
                raise InUse(f"{self._final} has just been written by another process; run the same command again")
            # What stands behind may be half of a block, or zeros where a power cut took the bytes and left the length.
            self._place = Place(min(arrived.offset, os.fstat(self._descriptor).st_size))
            os.ftruncate(self._descriptor, self._place.offset)
            os.lseek(self._descriptor, self._place.offset, os.SEEK_SET)
        return self._place

    def chunks(self, source: SourceFile, file: IO[bytes], at: Place) -> Iterator[tuple[bytes, Place]]:
        for block in blocks(file, at, CHUNK_BYTES):
            at = Place(at.offset + len(block))
            yield block, at

    def send(self, chunk: bytes, upto: Place) -> None:
        with told(self._folder):
            view = memoryview(chunk)
            while view:
                view = view[os.write(self._descriptor, view) :]
        self._place = upto

    def arrived(self) -> Place:
        if self._descriptor >= 0:
            with told(self._folder):
                os.fsync(self._descriptor)
        return self._place

    def finish(self) -> None:
        if self._descriptor >= 0:
            with told(self._folder):
                os.fsync(self._descriptor)
                os.replace(self._part(self._source), self._final)
                sync_folder(self._folder)

    def check_there(self, source: SourceFile, known: Mapping[str, Any]) -> None:
        self._source = source
        with told(self._folder):
            if not self._final.is_file() or self._final.stat().st_size != source.size:
                raise TargetChanged(f"{self._final}, which was loaded, is not there any more, or has another size")

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
        return self._folder / f".{source.arrives_as}.part"  # no pattern of a reader finds it
