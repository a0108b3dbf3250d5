"""A bucket of Google Cloud Storage: a file is one upload. Needs the package google-cloud-storage."""

import json
import math
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import pyarrow.fs as pafs
from google.api_core.exceptions import NotFound, PreconditionFailed
from google.cloud.storage import Client
from google.cloud.storage.exceptions import DataCorruption
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError

from lake.faults import faults
from lake.retries import FIRST_CONTACT_S, patience, patiently
from lake.storage.base import CONNECTIONS, TABLE_RETRIES, BucketStorage, endpoint, not_found
from schemas.files.urls import GS

EMULATOR: Final = "STORAGE_EMULATOR_HOST"
"""The environment variable with the URL of a server that stands in for Google's; it gets no credentials."""


class GcsStorage(BucketStorage):
    """A bucket of Google Cloud Storage, or a prefix in it. Credentials are Application Default Credentials."""

    scheme = GS
    service = "Google Cloud Storage"

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self._emulator = endpoint(EMULATOR)
        with faults(root):
            self._client = Client(project=None)  # only who creates buckets needs a project
            for scheme in ("https://", "http://"):
                self._client._http.mount(scheme, HTTPAdapter(pool_connections=1, pool_maxsize=CONNECTIONS))
            self._bucket = self._client.bucket(self.bucket)
            # A missing bucket would look like an empty lake.
            patiently(lambda: self._page(self.prefix, None, max_results=1), FIRST_CONTACT_S)
            self.filesystem = _filesystem(self._emulator)

    def upload(self, key: str, body: bytes) -> None:
        self._bucket.blob(key).upload_from_string(body, "application/octet-stream", retry=None)

    def create(self, key: str, body: bytes) -> bool:
        blob = self._bucket.blob(key)
        try:
            blob.upload_from_string(body, "application/octet-stream", if_generation_match=0, retry=None)
        except PreconditionFailed:
            return False
        return True

    def remove(self, key: str) -> None:
        with suppress(NotFound):
            self._bucket.blob(key).delete(retry=None)

    def download(self, key: str, **span: Any) -> bytes:
        try:
            return bytes(self._bucket.blob(key).download_as_bytes(retry=None, **span))
        except NotFound as error:
            raise not_found(f"{GS}{self.bucket}/{key}") from error
        except DataCorruption as error:  # some of the answer was lost
            raise ConnectionError(str(error)) from error

    def keys(self, beginning: str, below: bool) -> Iterator[str]:
        token = None
        while True:
            with faults(self.root):
                found, token = patiently(lambda: self._page(beginning, token, delimiter=None if below else "/"))  # noqa: B023
            yield from sorted(found, key=str.encode)
            if token is None:
                return

    def _page(self, beginning: str, token: str | None, **listing: Any) -> tuple[list[str], str | None]:
        found = self._client.list_blobs(self._bucket, prefix=beginning, page_token=token, retry=None, **listing)
        names = [blob.name for blob in next(found.pages)]
        return [*names, *found.prefixes], found.next_page_token

    # open_object: pyarrow's file of Google fails at its end, where a reader asks for more.

    def object_bytes(self, key: str) -> int:
        blob = patiently(lambda: self._bucket.get_blob(key, retry=None))
        if blob is None:
            raise not_found(f"{GS}{self.bucket}/{key}")
        return int(blob.size)

    def read_range(self, key: str, start: int, end: int) -> bytes:
        return patiently(lambda: self.download(key, start=start, end=end - 1, checksum=None))

    def table_options(self) -> dict[str, str]:
        options = {"max_retries": str(TABLE_RETRIES), "retry_timeout": f"{math.ceil(patience())}s"}
        if self._emulator:
            key = {"gcs_base_url": self._emulator, "disable_oauth": True}
            unused = dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
            options |= {"google_service_account_key": json.dumps(key | unused), "allow_http": "true"}
        return options


def _filesystem(emulator: str | None) -> pafs.GcsFileSystem:
    limit = timedelta(seconds=math.ceil(patience()))
    if not emulator:
        return pafs.GcsFileSystem(retry_time_limit=limit)
    parts = urlsplit(emulator)
    return pafs.GcsFileSystem(
        anonymous=True, scheme=parts.scheme, endpoint_override=parts.netloc, retry_time_limit=limit
    )
