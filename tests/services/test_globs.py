"""Patterns in the bucket of a real S3 server mean what they mean on a disk."""

from pathlib import Path

import boto3
import pytest

from lake.storage import storage
from sources.files.globs import expand
from tests.sources.files.test_globs import MEANT, TREE, meant

pytestmark = pytest.mark.services


def test_a_pattern_matches_the_same_files_on_a_disk_and_in_a_bucket(
    tmp_path: Path, s3_server: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    storage.cache_clear()
    for name in [*TREE, "a[1].csv", "a1.csv", "ü b.csv", "many/" + "x" * 99 + ".csv"]:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        boto3.client("s3").put_object(Bucket="prestacop", Key=f"globs/{name}", Body=b"x")
    patterns = [
        *MEANT,
        "a[1].csv",
        "a[[]1].csv",
        "ü*",
        "?[[]1].csv",
        "",
        "one",
        "one/",
        "*/",
        "many/*",
        "nothing",
        "nothing/*",
    ]
    for pattern in patterns:
        there = meant("s3://prestacop/globs/", pattern)
        assert there == meant(f"{tmp_path}/", pattern), pattern
    assert len(expand("s3://prestacop/globs/**")) == len(expand(f"{tmp_path}/**"))
    storage.cache_clear()
