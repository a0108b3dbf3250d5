"""Atomic writes of whole files to a local directory or an S3 bucket.

A local file is written under a temporary name and renamed; an S3 object is one PUT. Of concurrent calls of ``put_new``
exactly one wins: by a hard link locally, by ``If-None-Match: *`` on S3. No method follows a path out of the root, since
paths come from messages and from files that others can write.
"""

import errno
import io
import os
import re
import uuid
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlsplit

import boto3
import pyarrow.fs as pafs
from botocore.config import Config
from botocore.exceptions import ClientError

from lake.faults import code, faults
from lake.retries import FIRST_CONTACT_S, Contradiction, doublings, patience, patiently
from schemas.errors import InputUnusable, OutputUnusable, PrestaCopError, UnsafePath
from schemas.files.urls import FILE, local_path
from schemas.os_errors import exists

S3 = "s3://"
S3_CONNECTIONS = 64
"""Each unit that is read uploads pictures with 16 threads."""
DELETES = 16
"""Files removed in parallel."""
OBJECT_BYTES = 8 << 20
"""Least bytes per request of an object that pyarrow cannot open."""
_EXISTS = "PreconditionFailed"
_NO_NAME = re.compile(r"[\0\ud800-\udfff]")
"""Characters that no UTF-8 file name contains."""
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class Storage(ABC):
    """The files below one root; paths are relative to it, with ``/`` between their parts.

    Every method raises UnsafePath for a path that leads out of the root.
    """

    root: str
    filesystem: pafs.FileSystem
    """The same files for pyarrow, below :attr:`base`."""
    base: str

    @abstractmethod
    def put(self, path: str, data: bytes | memoryview) -> None:
        """Write a whole file; replaces an older one of that name."""

    @abstractmethod
    def put_new(self, path: str, data: bytes | memoryview) -> bool:
        """Write a whole file unless one of that name exists; returns whether this call wrote it. On S3, where an answer
        may be lost, an existing file with the same bytes counts as written by this call."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Remove a file, if it exists."""

    def delete_all(self, paths: Iterable[str]) -> None:
        """Remove files, those that exist, several at a time."""
        with ThreadPoolExecutor(DELETES) as pool:
            deque(pool.map(self.delete, paths), maxlen=0)  # raises what a call has raised

    @abstractmethod
    def flush(self) -> None:
        """Return when everything that :meth:`put` wrote is durable."""

    def probe(self) -> None:
        """Test with a file of its own whether commits work here, before the work starts.

        Raises OutputUnusable, NotPermitted, DiskFull, ServiceUnavailable.
        """
        name = f".probe-{uuid.uuid4().hex}"
        once, twice = self.put_new(name, b"x"), self.put_new(name, b"y")
        self.put(name, b"z")
        self.delete(name)
        if not once or twice:
            raise OutputUnusable(
                f"{self.root}: two conditional writes of one name gave {once} and {twice}: commits are not safe there "
                "(a server without If-None-Match?); choose another place"
            )

    def full(self, path: str) -> str:
        """The full path, for :attr:`filesystem`."""
        return f"{self.base}/{self._safe(path)}"

    def _safe(self, path: str) -> str:
        """The path. Raises UnsafePath where it is not below the root."""
        if any(part in ("", ".", "..") or "\\" in part or _NO_NAME.search(part) for part in path.split("/")):
            raise UnsafePath(
                f"{self.root}: {path!r} is not a path below the lake's root; this program did not write it: check "
                "where it comes from"
            )
        return path

    def names(self) -> list[str]:
        """The names of the files and folders at the root, sorted."""
        selector = pafs.FileSelector(self.base, allow_not_found=True)
        with faults(self.root):
            infos = patiently(partial(self.filesystem.get_file_info, selector))
        return sorted(info.base_name for info in infos)

    def list(self, prefix: str) -> list[pafs.FileInfo]:
        """The files below a directory, sorted by path; none when there is no such directory."""
        selector = pafs.FileSelector(self.full(prefix), recursive=True, allow_not_found=True)
        with faults(self.root):
            infos = patiently(partial(self.filesystem.get_file_info, selector))
        return sorted((i for i in infos if i.type == pafs.FileType.File), key=lambda i: str(i.path))

    def temporaries(self) -> tuple[pafs.FileInfo, ...]:
        """Files that are being written, or that a killed process has left half-written."""
        return ()

    def read(self, path: str) -> bytes:
        """The whole file. Raises FileNotFoundError."""
        with faults(self.root), self.filesystem.open_input_stream(self.full(path)) as stream:
            return bytes(stream.read())


class LocalStorage(Storage):
    """A directory of this machine (or a mounted one)."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.base = str(Path(local_path(root)).absolute())
        check_name(self.base, OutputUnusable)
        self.filesystem = pafs.LocalFileSystem()

    def probe(self) -> None:
        base = Path(self.base)
        with faults(self.root):
            there = next(folder for folder in (base, *base.parents) if exists(folder))
        if there == base:
            super().probe()
        else:  # a run that fails for another reason leaves no empty lake
            LocalStorage(str(there)).probe()

    def read(self, path: str) -> bytes:
        self._inside(Path(self.full(path)))
        return super().read(path)

    def put(self, path: str, data: bytes | memoryview) -> None:
        with self._written(path, data) as (temporary, target):
            os.replace(temporary, target)

    def put_new(self, path: str, data: bytes | memoryview) -> bool:
        with self._written(path, data, sync=True) as (temporary, target):
            try:
                os.link(temporary, target)
            except FileExistsError:
                # A file server whose first answer was lost reports this call's own link as existing.
                if temporary.stat().st_nlink < 2:
                    return False
            except OSError as error:
                if error.errno in _NO_LINKS:
                    raise OutputUnusable(
                        f"{self.root}: this file system has no hard links, which a commit needs; choose another place"
                    ) from error
                raise
            _sync_directory(target.parent)
            return True

    def delete(self, path: str) -> None:
        target = Path(self.full(path))
        self._inside(target.parent)
        with faults(self.root):
            target.unlink(missing_ok=True)

    def flush(self) -> None:
        os.sync()  # once per unit: a sync of each file would take a tenth of a run

    @contextmanager
    def _written(self, path: str, data: bytes | memoryview, sync: bool = False) -> Iterator[tuple[Path, Path]]:
        target = Path(self.full(path))
        self._inside(target.parent)
        # Readers and listings skip names with a leading dot.
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
        with faults(self.root):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                opened = temporary.open("xb")
            except FileNotFoundError as error:
                raise OutputUnusable(f"{self.root}: {error.strerror}: {target.parent}; choose another place") from error
            try:
                with opened as file:
                    file.write(data)
                    if sync:
                        file.flush()
                        os.fsync(file.fileno())
                yield temporary, target
            finally:
                temporary.unlink(missing_ok=True)

    def list(self, prefix: str) -> list[pafs.FileInfo]:
        self._inside(Path(self.full(prefix)))
        found = [i for i in super().list(prefix) if not i.base_name.startswith(".")]
        for folder in sorted({i.path.rpartition("/")[0] for i in found}):
            self._inside(Path(folder))
        return found

    def temporaries(self) -> tuple[pafs.FileInfo, ...]:
        selector = pafs.FileSelector(self.base, recursive=True, allow_not_found=True)
        with faults(self.root):
            infos = self.filesystem.get_file_info(selector)
        return tuple(info for info in infos if _TEMPORARY.fullmatch(info.base_name))

    def _inside(self, path: Path) -> None:
        """Raises UnsafePath where a symbolic link leads out of the root; the root itself may be one."""
        real, root = os.path.realpath(path), os.path.realpath(self.base)
        if os.path.commonpath((real, root)) != root:
            raise UnsafePath(
                f"{self.root}: {path} leads by a symbolic link to {real}, out of the lake; remove the link"
            )


class S3Storage(Storage):
    """A bucket, or a prefix in it. Keys, region and endpoint come from the AWS credential chain and
    ``AWS_ENDPOINT_URL``: never from flags, which Beam logs."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.base = root.removeprefix("s3://").removesuffix("/")
        self.bucket, _, self.prefix = self.base.partition("/")
        if not self.bucket:
            raise OutputUnusable(f"{root}: the bucket is missing; write s3://BUCKET/PREFIX")
        if self.prefix and any(part in ("", ".", "..") for part in self.prefix.split("/")):
            raise OutputUnusable(f"{root}: the prefix has an empty part, '.' or '..'; write s3://BUCKET/PREFIX")
        endpoint = s3_endpoint()
        with faults(root):
            self.session = boto3.Session()
            self._client = _s3_client(self.session)
            # A missing bucket would look like an empty lake. HeadBucket's answer has no error text.
            look = partial(self._client.list_objects_v2, Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)
            patiently(look, FIRST_CONTACT_S)
            self.filesystem = pafs.S3FileSystem(
                endpoint_override=endpoint,
                # The standard strategy shares one retry quota between all calls: half a minute's outage uses it up.
                retry_strategy=pafs.AwsDefaultS3RetryStrategy(max_attempts=doublings(patience())),
            )

    def put(self, path: str, data: bytes | memoryview) -> None:
        put = partial(self._client.put_object, Bucket=self.bucket, Key=self._key(path), Body=bytes(data))
        with faults(self.root):
            patiently(put)

    def put_new(self, path: str, data: bytes | memoryview) -> bool:
        key, body = self._key(path), bytes(data)

        def put() -> bool:
            try:
                self._client.put_object(Bucket=self.bucket, Key=key, Body=body, IfNoneMatch="*")
            except ClientError as error:
                if code(error) == _EXISTS:
                    # An earlier attempt may have written it, whose answer was lost, or a proxy sent the request
                    # twice: then it is this call's own.
                    try:
                        return self.read(path) == body
                    except FileNotFoundError as gone:
                        raise Contradiction(
                            f"{self.root}: S3 refuses to write {key} because it exists, and does not find it when it "
                            "is read; remove that object by S3's own tools, and run the same command again"
                        ) from gone
                raise
            return True

        with faults(self.root):
            return patiently(put)

    def delete(self, path: str) -> None:
        with faults(self.root):
            patiently(partial(self._client.delete_object, Bucket=self.bucket, Key=self._key(path)))

    def read(self, path: str) -> bytes:
        def get() -> bytes:
            return bytes(self._client.get_object(Bucket=self.bucket, Key=self._key(path))["Body"].read())

        with faults(self.root):
            try:
                return patiently(get)
            except ClientError as error:
                if code(error) == "404":  # the body was lost, which tells a missing key from a missing bucket
                    patiently(partial(self._client.head_bucket, Bucket=self.bucket))
                elif code(error) != "NoSuchKey":
                    raise
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{self.root}/{path}") from error

    def flush(self) -> None:
        pass  # a PUT is durable when it is answered

    def keys(self, beginning: str, below: bool) -> Iterator[str]:
        """The keys of the bucket with this prefix, sorted by bytes.

        Args:
            below: also keys with a further ``/``; else these are grouped by their part up to it.
        """
        request = {"Bucket": self.bucket, "Prefix": beginning} | ({} if below else {"Delimiter": "/"})
        token: dict[str, str] = {}
        while True:
            with faults(self.root):
                page = patiently(partial(self._client.list_objects_v2, **request, **token))
            yield from sorted(
                [found["Key"] for found in page.get("Contents", ())]
                + [found["Prefix"] for found in page.get("CommonPrefixes", ())],
                key=str.encode,
            )
            if not page["IsTruncated"]:
                return
            token = {"ContinuationToken": page["NextContinuationToken"]}

    def open_object(self, key: str) -> IO[bytes]:
        """An object of the bucket, whatever its key. Raises FileNotFoundError."""
        return cast(IO[bytes], io.BufferedReader(_Object(self._client, self.bucket, key), OBJECT_BYTES))

    def _key(self, path: str) -> str:
        return f"{self.prefix}/{self._safe(path)}" if self.prefix else self._safe(path)


class _Object(io.RawIOBase):
    """An object that is read by range requests."""

    def __init__(self, client: Any, bucket: str, key: str) -> None:
        self._get = partial(client.get_object, Bucket=bucket, Key=key)
        self._at = 0
        try:
            self._size: int = patiently(partial(client.head_object, Bucket=bucket, Key=key))["ContentLength"]
        except ClientError as error:
            if code(error) in ("404", "NoSuchKey"):
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{S3}{bucket}/{key}") from error
            raise

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        end = min(self._at + len(buffer), self._size)
        if end <= self._at:
            return 0
        data = patiently(partial(self._bytes, f"bytes={self._at}-{end - 1}"))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _bytes(self, span: str) -> bytes:
        return bytes(self._get(Range=span)["Body"].read())


@lru_cache(maxsize=64)
def storage(root: str) -> Storage:
    """The storage of a directory or ``s3://`` URL. Raises OutputUnusable for any other scheme."""
    check_name(root, OutputUnusable)
    if not root:
        raise OutputUnusable("the lake's name is empty; write a directory or s3://BUCKET/PREFIX")
    if root.startswith(S3):
        return S3Storage(root)
    if "://" in root and not root.startswith(FILE):
        scheme = root.partition("://")[0]
        raise OutputUnusable(f"{root}: {scheme}:// is not a supported storage; use a directory or s3://BUCKET/PREFIX")
    return LocalStorage(root)


@contextmanager
def open_file(url: str) -> Iterator[IO[bytes]]:
    """An input file, a local path or an ``s3://`` URL, open for reading and seeking.

    Raises InputUnusable, NotPermitted, ServiceUnavailable.
    """
    check_name(url, InputUnusable)
    try:
        with faults(url, InputUnusable), _opened(url) as file:
            yield file
    except FileNotFoundError as error:
        raise InputUnusable(f"{url}: there is no such file") from error


def _opened(url: str) -> IO[bytes]:
    if not url.startswith(S3):
        path = str(Path(local_path(url)).absolute())
        check_name(path, InputUnusable)
        return cast(IO[bytes], pafs.LocalFileSystem().open_input_file(path))
    bucket, _, key = url.removeprefix(S3).partition("/")
    store = storage(f"{S3}{bucket}")
    assert isinstance(store, S3Storage)
    if any(part in ("", ".", "..") for part in key.split("/")):  # pyarrow would normalize the key
        return store.open_object(key)
    return cast(IO[bytes], store.filesystem.open_input_file(f"{bucket}/{key}"))


def check_name(name: str, unusable: type[PrestaCopError]) -> None:
    """Raises ``unusable`` for a name that pyarrow cannot open."""
    if _NO_NAME.search(name):
        shown = name.encode("unicode_escape").decode()
        raise unusable(f"{shown}: a name must be UTF-8 text; rename it")


def s3_endpoint() -> str | None:
    """The endpoint of the environment, if any. Raises OutputUnusable where it is not the URL of a server."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    if not endpoint:
        return None
    try:
        parts = urlsplit(endpoint)
        is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # the port is not a number, or out of range
        is_one = False
    if not is_one:
        raise OutputUnusable(f"AWS_ENDPOINT_URL is {endpoint!r}; write http://HOST:PORT or https://HOST")
    return endpoint


def _s3_client(session: boto3.Session) -> Any:  # boto3's clients have no static type
    # botocore's own retries share one quota between all calls: half a minute's outage uses it up.
    return session.client(
        "s3", config=Config(max_pool_connections=S3_CONNECTIONS, retries={"mode": "standard", "total_max_attempts": 1})
    )


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
