"""A bucket of S3: a file is one PUT."""

import math
from collections.abc import Iterator
from functools import partial
from typing import IO, Any, Final, cast

import boto3
import pyarrow.fs as pafs
from botocore.config import Config
from botocore.exceptions import ClientError

from lake.faults import code, faults
from lake.retries import FIRST_CONTACT_S, doublings, patience, patiently, requests
from lake.storage.base import CONNECTIONS, TABLE_RETRIES, BucketStorage, endpoint, not_found
from schemas.files.urls import S3

_EXISTS: Final = "PreconditionFailed"


class S3Storage(BucketStorage):
    """A bucket of S3, or a prefix in it. Keys, region and endpoint come from the AWS credential chain and
    ``AWS_ENDPOINT_URL``."""

    scheme = S3
    service = "S3"

    def __init__(self, root: str) -> None:
        super().__init__(root)
        url = s3_endpoint()
        with faults(root):
            self._session = boto3.Session()
            self._client = _s3_client(self._session)
            # A missing bucket would look like an empty lake. HeadBucket's answer has no error text.
            look = partial(self._client.list_objects_v2, Bucket=self.bucket, Prefix=self.prefix, MaxKeys=1)
            patiently(look, FIRST_CONTACT_S)
            self.filesystem = pafs.S3FileSystem(
                endpoint_override=url,
                # The standard strategy shares one retry quota between all calls: half a minute's outage uses it up.
                retry_strategy=pafs.AwsDefaultS3RetryStrategy(max_attempts=doublings(patience())),
            )

    def upload(self, key: str, body: bytes) -> None:
        self._client.put_object(Bucket=self.bucket, Key=key, Body=body)

    def create(self, key: str, body: bytes) -> bool:
        try:
            self._client.put_object(Bucket=self.bucket, Key=key, Body=body, IfNoneMatch="*")
        except ClientError as error:
            if code(error) == _EXISTS:
                return False
            raise
        return True

    def remove(self, key: str) -> None:
        self._client.delete_object(Bucket=self.bucket, Key=key)

    def download(self, key: str) -> bytes:
        try:
            return bytes(self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read())
        except ClientError as error:
            if code(error) == "404":  # the body was lost, which tells a missing key from a missing bucket
                self._client.head_bucket(Bucket=self.bucket)
            elif code(error) != "NoSuchKey":
                raise
            raise not_found(f"{S3}{self.bucket}/{key}") from error

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

    def open_object(self, key: str) -> IO[bytes]:
        if any(part in ("", ".", "..") for part in key.split("/")):  # pyarrow would normalize the key
            return super().open_object(key)
        return cast(IO[bytes], self.filesystem.open_input_file(f"{self.bucket}/{key}"))

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

    def table_options(self) -> dict[str, str]:
        options = {
            "aws_conditional_put": "etag",
            "aws_region": self._session.region_name or "us-east-1",
            "max_retries": str(TABLE_RETRIES),
            "retry_timeout": f"{math.ceil(patience())}s",
        }
        if credentials := self._session.get_credentials():
            keys = credentials.get_frozen_credentials()
            options |= {"aws_access_key_id": str(keys.access_key), "aws_secret_access_key": str(keys.secret_key)}
            options |= {"aws_session_token": keys.token} if keys.token else {}
        if url := s3_endpoint():
            options |= {"aws_endpoint": url, "aws_allow_http": str(url.startswith("http://")).lower()}
        return options


def s3_endpoint() -> str | None:
    """The endpoint of the environment, if any. Raises OutputUnusable where it is not the URL of a server."""
    return endpoint("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")


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
