"""Atomic writes of whole files to a local directory or a bucket of S3 or Google Cloud Storage.

Of concurrent calls of ``put_new`` exactly one wins: by a hard link locally, by ``If-None-Match: *`` on S3, by
``ifGenerationMatch=0`` on Google Cloud Storage. No method follows a path out of the root, since paths come from
messages and from files that others can write.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import IO, cast

import pyarrow.fs as pafs

from lake.faults import faults
from lake.storage.base import BucketStorage, Storage, check_name
from lake.storage.local import LocalStorage
from lake.storage.s3 import S3Storage, s3_endpoint
from schemas.errors import InputUnusable, OutputUnusable
from schemas.files.urls import FILE, GS, PLACE, S3, local_path

__all__ = [
    "BucketStorage", "LocalStorage", "S3Storage", "Storage", "bucket", "check_name", "open_file", "s3_endpoint",
    "split_url", "storage",
]  # fmt: skip


@lru_cache(maxsize=64)
def storage(root: str) -> Storage:
    """The storage of a directory, an ``s3://`` or a ``gs://`` URL. Raises OutputUnusable for any other scheme."""
    check_name(root, OutputUnusable)
    if not root:
        raise OutputUnusable(f"the lake's name is empty; write {PLACE}")
    if root.startswith(S3):
        return S3Storage(root)
    if root.startswith(GS):
        return _gcs(root)
    if "://" in root and not root.startswith(FILE):
        scheme = root.partition("://")[0]
        raise OutputUnusable(f"{root}: {scheme}:// is not a supported storage; use {PLACE}")
    return LocalStorage(root)


def _gcs(root: str) -> Storage:
    try:
        from lake.storage.gcs import GcsStorage  # noqa: PLC0415  # its package is optional, and takes 0.2 s to import
    except ModuleNotFoundError as error:
        raise OutputUnusable(
            f"{root}: {error.name} is not installed, gs:// needs it: pip install '.[gcp]' in the repository"
        ) from error
    return GcsStorage(root)


def bucket(root: str) -> BucketStorage:
    """The storage of a bucket's URL."""
    store = storage(root)
    assert isinstance(store, BucketStorage)
    return store


def split_url(url: str) -> tuple[str, str] | None:
    """The URL of an object's bucket, and the object's key; None for another name.

    >>> split_url("s3://bucket/a/b.csv"), split_url("a/b.csv")
    (('s3://bucket', 'a/b.csv'), None)
    """
    for scheme in (S3, GS):
        if url.startswith(scheme):
            name, _, key = url.removeprefix(scheme).partition("/")
            return scheme + name, key
    return None


@contextmanager
def open_file(url: str) -> Iterator[IO[bytes]]:
    """An input file, a local path or the URL of an object, open for reading and seeking.

    Raises InputUnusable, NotPermitted, ServiceUnavailable.
    """
    check_name(url, InputUnusable)
    try:
        with faults(url, InputUnusable), _opened(url) as file:
            yield file
    except FileNotFoundError as error:
        raise InputUnusable(f"{url}: there is no such file") from error


def _opened(url: str) -> IO[bytes]:
    if found := split_url(url):
        root, key = found
        return bucket(root).open_object(key)
    path = str(Path(local_path(url)).absolute())
    check_name(path, InputUnusable)
    return cast(IO[bytes], pafs.LocalFileSystem().open_input_file(path))
