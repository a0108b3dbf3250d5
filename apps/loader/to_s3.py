"""The target ``s3:``: a multipart upload, so that the object appears when it is complete."""

from collections.abc import Iterator, Mapping
from typing import IO, Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)

from messaging.retry import Patience
from schemas.errors import InputUnusable, NotPermitted, OutputUnusable, PrestaCopError
from schemas.s3_errors import refusal

from .pieces import Place, blocks
from .source import SourceFile
from .target import Target, TargetChanged

PART_BYTES: Final = 8 << 20
MAX_PARTS: Final = 10_000
"""S3's limit; parts but the last have at least 5 MiB."""
_CONNECT_S: Final = 10
_ANSWER_S: Final = 60
_BUSY: Final = (429, 500, 502, 503, 504)


class ToS3(Target):
    """A bucket, or a prefix in it. Keys, region and endpoint come from the AWS credential chain and
    ``AWS_ENDPOINT_URL``."""

    text = False

    def __init__(self, url: str, patience: Patience) -> None:
        self._url = url.rstrip("/")
        self._bucket, _, self._prefix = self._url.removeprefix("s3://").partition("/")
        self._patience = patience
        once = Config(
            retries={"mode": "standard", "total_max_attempts": 1}, connect_timeout=_CONNECT_S, read_timeout=_ANSWER_S
        )
        try:
            self._client = boto3.client("s3", config=once)
        except ProfileNotFound as error:
            raise self._denied(error) from error
        except (BotoCoreError, ValueError) as error:  # ValueError: an endpoint that is no URL
            raise self._unusable(error) from error
        self._upload: dict[str, Any] = {}
        self._part_bytes = 0
        self._place = Place(0)

    def begin(self, source: SourceFile) -> Mapping[str, Any]:
        key = self._key(source)
        upload = self._ask("create_multipart_upload", Bucket=self._bucket, Key=key)["UploadId"]
        return {"key": key, "upload": upload, "part_bytes": max(PART_BYTES, source.size // (MAX_PARTS - 1) + 1)}

    def resume(self, source: SourceFile, known: Mapping[str, Any], arrived: Place) -> Place | None:
        self._source, self._part_bytes, self._place = source, known["part_bytes"], arrived
        self._upload = {"Bucket": self._bucket, "Key": self._key(source), "UploadId": known["upload"]}
        try:
            parts = self._parts()
        except _Gone:
            return arrived if arrived.offset == source.size and self._is_there() else None
        size = 0
        for number, part in enumerate(parts, 1):
            if part["PartNumber"] != number or (part["Size"] != self._part_bytes and size + part["Size"] < source.size):
                break
            size += part["Size"]
        self._place = Place(size)
        return self._place

    def chunks(self, source: SourceFile, file: IO[bytes], at: Place) -> Iterator[tuple[bytes, Place]]:
        return blocks(file, at, self._part_bytes)

    def send(self, chunk: bytes, upto: Place) -> None:
        number = (upto.offset - len(chunk)) // self._part_bytes + 1
        self._ask("upload_part", **self._upload, PartNumber=number, Body=chunk)
        self._place = upto

    def arrived(self) -> Place:
        return self._place  # a part is durable when it is acknowledged

    def finish(self) -> None:
        try:
            parts = [{"PartNumber": part["PartNumber"], "ETag": part["ETag"]} for part in self._parts()]
            self._ask("complete_multipart_upload", **self._upload, MultipartUpload={"Parts": parts})
        except _Gone as error:
            if not self._is_there():  # else an answer was lost, or the load was stopped after its last step
                raise InputUnusable(
                    f"{self._url}: another process aborted the upload; run the same command with --restart"
                ) from error

    def check_there(self, source: SourceFile, known: Mapping[str, Any]) -> None:
        self._source, self._upload = source, {"Key": self._key(source)}
        if not self._is_there():
            raise TargetChanged(f"{self.next_step}, which was loaded, is missing or has another size")

    @property
    def next_step(self) -> str:
        return f"s3://{self._bucket}/{self._upload['Key']}"

    def _key(self, source: SourceFile) -> str:
        return f"{self._prefix}/{source.arrives_as}".lstrip("/")

    def _parts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while True:
            after = {"PartNumberMarker": found[-1]["PartNumber"]} if found else {}
            answer = self._ask("list_parts", **self._upload, **after)
            found += answer.get("Parts", [])
            if not answer.get("IsTruncated"):
                return found

    def _is_there(self) -> bool:
        try:
            found = self._ask("head_object", Bucket=self._bucket, Key=self._upload["Key"])
        except _Gone:
            return False
        return bool(found["ContentLength"] == self._source.size)

    def _ask(self, operation: str, **arguments: Any) -> Any:
        return self._patience.attempt(lambda: getattr(self._client, operation)(**arguments), self._trouble)

    def _trouble(self, error: Exception) -> str | PrestaCopError:
        if isinstance(error, HTTPClientError | ConnectionError):
            return f"{self._url}: {error}"
        if isinstance(error, NoCredentialsError | PartialCredentialsError):
            return self._denied(error)
        if isinstance(error, BotoCoreError):
            return self._unusable(error)
        if not isinstance(error, ClientError):
            raise error
        code, status = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        if code == "NoSuchBucket":
            return InputUnusable(f"{self._url}: there is no bucket {self._bucket}; check the name")
        if code in ("NoSuchUpload", "NoSuchKey", "404"):
            return _Gone(str(error))
        if refused := refusal(self._url, error, code, status):
            return refused
        if status in _BUSY or code == "RequestTimeout":  # 400: the body was sent too slowly
            return f"{self._url}: {error}"
        return InputUnusable(f"{self._url}: {error}")

    def _denied(self, error: Exception) -> NotPermitted:
        return NotPermitted(f"{self._url}: {error}. Set AWS_PROFILE, or keys in the environment")

    def _unusable(self, error: Exception) -> OutputUnusable:
        return OutputUnusable(
            f"{self._url}: {error}. Write s3://BUCKET/PREFIX, and check AWS_ENDPOINT_URL and the region"
        )


class _Gone(PrestaCopError):
    """The upload or object does not exist."""
