"""Files are written whole, one winner each, and errors say what to do."""

import errno
import os
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lake.retries import FIRST_CONTACT_S
from lake.storage import LocalStorage, S3Storage, Storage, open_file, storage
from schemas.errors import DiskFull, InputUnusable, OutputUnusable, ServiceUnavailable
from tests.faulty_s3 import without_waiting


def test_what_was_put_can_be_read_and_listed(store: Storage) -> None:
    store.put("b/2.parquet", b"two")
    store.put("b/c/1.parquet", b"one")
    store.put("b/2.parquet", b"second")
    assert store.read("b/2.parquet") == b"second"
    assert [info.path for info in store.list("b")] == [store.full("b/2.parquet"), store.full("b/c/1.parquet")]
    assert store.list("nothing") == []


def test_put_new_has_one_winner_among_many(store: Storage) -> None:
    with ThreadPoolExecutor(16) as pool:
        won = list(pool.map(lambda n: store.put_new("ledger/unit.parquet", b"%d" % n), range(16)))
    assert won.count(True) == 1
    assert store.read("ledger/unit.parquet") == b"%d" % won.index(True)


def test_a_file_that_is_not_there_is_not_found(store: Storage) -> None:
    with pytest.raises(FileNotFoundError):
        store.read("nothing")


def test_an_object_that_is_removed_while_it_is_read_is_read_as_a_whole_or_not_found(store: Storage) -> None:
    class Removing:
        """Files of the store, each of which is removed when it was opened."""

        def __init__(self) -> None:
            self._real = store.filesystem

        def open_input_stream(self, path: str) -> pa.NativeFile:
            stream = self._real.open_input_stream(path)
            store.delete("spool/segment.arrow")
            return stream

        def __getattr__(self, name: str) -> Any:
            return getattr(self._real, name)

    store.put("spool/segment.arrow", b"messages")
    store.filesystem = Removing()
    if isinstance(store, LocalStorage):
        assert store.read("spool/segment.arrow") == b"messages"
    else:
        with pytest.raises(FileNotFoundError, match=r"segment\.arrow"):
            store.read("spool/segment.arrow")


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DiskFull, match="no room left"):
        LocalStorage(str(tmp_path)).put("a/b.parquet", b"data")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("put", [LocalStorage.put, LocalStorage.put_new])
def test_a_file_that_could_only_be_written_in_part_is_not_there(
    tmp_path: Path, put: Callable[[LocalStorage, str, bytes], object]
) -> None:
    store = LocalStorage(str(tmp_path))
    store.put("old.parquet", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        for name in ("a/new.parquet", "old.parquet"):
            with pytest.raises(OSError, match="File too large"):
                put(store, name, bytes(20_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["old.parquet"]
    assert store.read("old.parquet") == b"old"


def test_who_comes_second_leaves_nothing_behind(tmp_path: Path) -> None:
    store = LocalStorage(str(tmp_path))
    assert [store.put_new("a.parquet", text) for text in (b"first", b"second")] == [True, False]
    assert [p.name for p in tmp_path.iterdir()] == ["a.parquet"]
    assert store.read("a.parquet") == b"first"


def test_readers_do_not_list_files_that_are_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LocalStorage(str(tmp_path))
    seen = []
    real = os.replace

    def look(source: str, target: str) -> None:
        seen.append(store.list("a"))
        real(source, target)

    monkeypatch.setattr(os, "replace", look)
    store.put("a/b.parquet", b"data")
    assert seen == [[]]
    assert len(store.list("a")) == 1


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputUnusable, match="file"):
        LocalStorage(str(tmp_path / "file" / "lake")).put("a", b"")


def test_a_missing_bucket_is_said_at_once(s3: str) -> None:
    with pytest.raises(ServiceUnavailable, match="nowhere"):
        storage("s3://nowhere/lake")


def test_a_server_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = without_waiting(monkeypatch)
    for name, value in (
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
        ("AWS_ACCESS_KEY_ID", "x"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ):
        monkeypatch.setenv(name, value)
    with pytest.raises(ServiceUnavailable, match="AWS_ENDPOINT_URL"):
        S3Storage("s3://lake/x")
    assert clock.now <= FIRST_CONTACT_S


@pytest.mark.parametrize("root", ["gs://bucket/lake", "hdfs://x/y", "s3://"])
def test_other_schemes_are_refused(root: str) -> None:
    with pytest.raises(OutputUnusable, match="s3://BUCKET/PREFIX"):
        storage.__wrapped__(root)


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputUnusable, match="no such file"), open_file(str(tmp_path / "x.csv")):
        pass
