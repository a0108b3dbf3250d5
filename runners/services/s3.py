"""An S3 server whose objects are files."""

import os
import secrets
import shutil
import tempfile
from pathlib import Path
from typing import Any

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from runners.services.ports import is_open
from runners.services.programs import go_install
from runners.services.service import Service

BUCKET = "prestacop"
_REGION = "us-east-1"


class Keys(msgspec.Struct, frozen=True):
    """The credentials of the server."""

    access_key: str
    secret_key: str


class S3(Service):
    """The server; its objects survive restarts and crashes. They are files: no ``a`` can be beside ``a/b``."""

    name = "s3"
    usual_port = 7070
    program = go_install("versitygw", "github.com/versity/versitygw/cmd/versitygw@v1.8.0")

    def command(self, program: Path) -> list[str]:
        objects, sidecar = self.folder / "objects", self.folder / "metadata"
        objects.mkdir(exist_ok=True)
        beside = [] if not sidecar.exists() and has_attributes(objects) else ["--sidecar", str(sidecar)]
        if beside:
            sidecar.mkdir(exist_ok=True)
            forget_unfinished(objects, sidecar)
        posix = ["posix", *beside, str(objects)]
        return [str(program), "--quiet", "--port", self.address, "--region", _REGION, *posix]

    def secrets(self, program: Path) -> dict[str, str]:
        keys = self._keys()
        return {"ROOT_ACCESS_KEY": keys.access_key, "ROOT_SECRET_KEY": keys.secret_key}

    def is_ready(self) -> bool:
        """Whether it has the bucket, which is made at the first start."""
        if not is_open(self.port):
            return False
        try:
            self._client().create_bucket(Bucket=BUCKET)
        except ClientError as error:
            return error.response["Error"]["Code"] == "BucketAlreadyOwnedByYou"
        except BotoCoreError:
            return False
        return True

    def environment(self) -> dict[str, str]:
        keys = self._keys()
        return {
            "AWS_ENDPOINT_URL": f"http://{self.address}",
            "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            "AWS_REGION": _REGION,
            "AWS_DEFAULT_REGION": _REGION,  # the one that boto3 reads
        }

    def _keys(self) -> Keys:
        """The keys in the folder, made at the first start."""
        path = self.folder / "keys.json"
        try:
            return msgspec.json.decode(path.read_bytes(), type=Keys)
        except FileNotFoundError:
            keys = Keys(secrets.token_hex(10), secrets.token_hex(20))
            new = path.with_suffix(".new")
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(msgspec.json.encode(keys))
            new.replace(path)
            return keys

    def _client(self) -> Any:  # boto3's clients are made at run time and have no type of their own
        keys = self._keys()
        return boto3.client(
            "s3",
            endpoint_url=f"http://{self.address}",
            aws_access_key_id=keys.access_key,
            aws_secret_access_key=keys.secret_key,
            region_name=_REGION,
            config=Config(proxies={}, retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5),
        )


def has_attributes(folder: Path) -> bool:
    """Whether files there may have extended attributes. There the server keeps what it knows of an object in the file
    itself, which appears as a whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        try:
            os.setxattr(file.name, "user.prestacop", b"")
        except OSError:
            return False
    return True


def forget_unfinished(objects: Path, sidecar: Path) -> None:
    """Remove the metadata of objects that do not exist: a server was killed before it had written them.

    The server would treat such an object as existing in a conditional put, and as missing in a read.
    """
    for etag in sidecar.glob("**/meta/etag"):
        if not (objects / etag.parent.parent.relative_to(sidecar)).exists():
            shutil.rmtree(etag.parent)
