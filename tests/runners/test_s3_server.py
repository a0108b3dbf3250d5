"""What the S3 server of this machine makes of its folder before it starts."""

import os
from pathlib import Path

import pytest

from runners.services.s3 import S3


def command(folder: Path) -> list[str]:
    """Its arguments."""
    return S3(folder, 7070).command(Path("versitygw"))


def without_attributes(*_: object) -> None:
    raise OSError


def test_metadata_is_in_the_files_where_a_file_may_have_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "setxattr", lambda *_: None)
    assert "--sidecar" not in command(tmp_path)
    monkeypatch.setattr(os, "setxattr", without_attributes)
    assert "--sidecar" in command(tmp_path)
    monkeypatch.setattr(os, "setxattr", lambda *_: None)
    assert "--sidecar" in command(tmp_path), "what is beside the files from then on stays there"


def test_metadata_of_an_object_that_a_kill_left_unwritten_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "setxattr", without_attributes)
    for name in ("written", "unwritten"):
        (tmp_path / f"metadata/bucket/lake/{name}/meta").mkdir(parents=True)
        (tmp_path / f"metadata/bucket/lake/{name}/meta/etag").write_text(name)
    (tmp_path / "objects/bucket/lake").mkdir(parents=True)
    (tmp_path / "objects/bucket/lake/written").write_text("data")
    command(tmp_path)
    assert [path.name for path in (tmp_path / "metadata/bucket/lake").glob("*/meta")] == ["meta"]
    assert (tmp_path / "metadata/bucket/lake/written/meta/etag").exists()
