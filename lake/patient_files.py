"""pyarrow's files on S3, each call made again while its fault is one that passes."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import IO, Any, NoReturn, TypeVar, cast

import pyarrow as pa
import pyarrow.fs as pafs

from lake.retries import patiently

T = TypeVar("T")
Errors = Callable[[], AbstractContextManager[None]]
"""Around a call: turns its error into one that says what to do."""


class PatientFiles(pafs.FileSystemHandler):  # type: ignore[misc]  # pyarrow's classes are untyped
    """What pyarrow reads through; it writes nothing."""

    def __init__(self, files: pafs.FileSystem, errors: Errors) -> None:
        self._files = files
        self._errors = errors

    def _call(self, call: Callable[[], T]) -> T:
        with self._errors():
            return patiently(call)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PatientFiles) and bool(self._files == other._files)

    def __hash__(self) -> int:
        return id(self._files)

    def get_type_name(self) -> str:
        return "patient"

    def normalize_path(self, path: str) -> str:
        return cast(str, self._files.normalize_path(path))

    def get_file_info(self, paths: list[str]) -> list[pafs.FileInfo]:
        return self._call(lambda: cast(list[pafs.FileInfo], self._files.get_file_info(paths)))

    def get_file_info_selector(self, selector: pafs.FileSelector) -> list[pafs.FileInfo]:
        return self._call(lambda: cast(list[pafs.FileInfo], self._files.get_file_info(selector)))

    def open_input_file(self, path: str) -> pa.PythonFile:
        opened = self._call(lambda: self._files.open_input_file(path))
        return pa.PythonFile(cast(IO[bytes], _PatientFile(opened, self._call)), mode="r")

    open_input_stream = open_input_file

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError("files are written by lake.storage")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = delete_file = _refuse
    move = copy_file = open_output_stream = open_append_stream = _refuse


class _PatientFile:
    """An open file, each read of which is made again."""

    def __init__(self, file: pa.NativeFile, call: Callable[[Callable[[], bytes]], bytes]) -> None:
        self._file = file
        self._call = call
        self._size: int = file.size()
        self._position = 0

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        data = self._call(partial(self._file.read_at, wanted, self._position)) if wanted else b""
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        self._position = offset + (0, self._position, self._size)[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def size(self) -> int:
        return self._size

    def close(self) -> None:
        self._file.close()

    @property
    def closed(self) -> bool:
        return bool(self._file.closed)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def writable(self) -> bool:
        return False

    def flush(self) -> None:
        """Nothing is written."""
