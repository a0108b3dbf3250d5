"""A bucket of S3: a file is one PUT."""

import os
from collections.abc import Iterator
from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

import boto3
import pyarrow.fs as pafs
from botocore.config import Config
from botocore.exceptions import ClientError

from lake.faults import code, faults
from lake.retries import FIRST_CONTACT_S, Contradiction, doublings, patience, patiently, requests
from lake.storage.base import CONNECTIONS, BucketStorage, not_found
from schemas.errors import OutputUnusable

S3: Final = "s3://"
_EXISTS: Final = "PreconditionFailed"


class S3Storage(BucketStorage):
    """A bucket of S3, or a prefix in it. Keys, region and endpoint come from the AWS credential chain and
    ``AWS_ENDPOINT_URL``."""

    scheme = S3

    def __init__(self, root: str) -> None:
        super().__init__(root)
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
                raise not_found(f"{self.root}/{path}") from error

    def keys(self, beginning: str, below: bool) -> Iterator[str]:
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

    def object_bytes(self, key: str) -> int:
        try:
            return int(patiently(partial(self._client.head_object, Bucket=self.bucket, Key=key))["ContentLength"])
        except ClientError as error:
            if code(error) in ("404", "NoSuchKey"):
                raise not_found(f"{S3}{self.bucket}/{key}") from error
            raise

    def read_range(self, key: str, start: int, end: int) -> bytes:
        span = f"bytes={start}-{end - 1}"
        get = partial(self._client.get_object, Bucket=self.bucket, Key=key, Range=span)
        return patiently(lambda: bytes(get()["Body"].read()))


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
    client = session.client(
        "s3", config=Config(max_pool_connections=CONNECTIONS, retries={"mode": "standard", "total_max_attempts": 1})
    )
    client.meta.events.register("before-call.s3", _count)
    return client


def _count(model: Any, **_: Any) -> None:
    """Called by botocore for each request."""
    requests.count(model.name)
