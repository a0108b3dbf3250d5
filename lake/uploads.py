"""Pictures in the lake that no row names: their messages have not come yet, or never will."""

import re
import time
from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.fs as pafs

from lake.changes import reading
from lake.storage import Storage, storage
from lake.tables import LOG
from lake.vacuum import Removable
from schemas.lake import SCHEMAS, Dataset, Source
from schemas.pictures import picture_path

_PICTURE = re.compile(r"pictures/[0-9a-f]{2}/[0-9a-f]{64}\.jpg")
_SHA256 = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")


def unnamed_pictures(root: str, age: float) -> list[Removable]:
    """Pictures that no file of the lake names: no replaced file either, and no dead letter, which replay may accept.

    Lists all pictures and reads their names in all files of ``images/``; the names of those that are old enough are in
    memory, about 200 bytes each.

    Args:
        age: for so many seconds at least nobody has uploaded them. Messages may wait in a spooled segment: where there
            is one, the time ends with the oldest.
    """
    store = storage(root)
    end = min([time.time(), *(info.mtime_ns / 1e9 for info in store.list("spool"))]) - age
    found = {path: info.size for path, info in _files(store, "pictures") if _is_before(info, end)}
    found = {path: size for path, size in found.items() if _PICTURE.fullmatch(path)}
    if found:
        with reading(root, "search for pictures without a row"):
            for path in _named(store):
                found.pop(path, None)
    return [Removable(path, size) for path, size in found.items()]


def delete_unnamed(
    root: str, pictures: Iterable[Removable], age: float, on_deleted: Callable[[int], None] = lambda _: None
) -> list[Removable]:
    """Delete pictures of :func:`unnamed_pictures`, but those that were uploaded again meanwhile; gives the deleted."""
    store, end = storage(root), time.time() - age
    deleted = []
    for picture in pictures:
        info = store.filesystem.get_file_info(store.full(picture.path))
        if info.is_file and _is_before(info, end):
            store.delete(picture.path)
            deleted.append(picture)
        on_deleted(picture.bytes)
    return deleted


def _is_before(info: pafs.FileInfo, end: float) -> bool:
    return bool(info.mtime_ns / 1e9 <= end)


def _files(store: Storage, folder: str) -> Iterator[tuple[str, pafs.FileInfo]]:
    return ((store.relative(info.path), info) for info in store.list(folder))


def _named(store: Storage) -> Iterator[str]:
    """The pictures that rows and dead letters name."""
    for name in _column(store, str(Dataset.IMAGES), "object"):
        yield name.as_py()
    for payload in _column(store, f"{Dataset.DEAD_LETTERS}/source={Source.IMAGES}", "payload"):
        yield from (picture_path(sha256.decode()) for sha256 in _SHA256.findall(payload.as_py()))


def _column(store: Storage, folder: str, column: str) -> Iterator[pa.Scalar]:
    paths = [info.path for path, info in _files(store, folder) if path.endswith(".parquet") and f"/{LOG}/" not in path]
    rows = pads.dataset(
        paths, schema=SCHEMAS[Dataset(folder.partition("/")[0])], format="parquet", filesystem=store.filesystem
    )
    for batch in rows.to_batches(columns=[column], cache_metadata=False) if paths else ():
        yield from batch[column]
