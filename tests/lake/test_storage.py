"""Writes are atomic with one winner, and errors say what to do."""

import errno
import os
import re
import resource
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pyarrow.fs import FileSelector

from lake.retries import FIRST_CONTACT_S
from lake.storage import LocalStorage, S3Storage, Storage, open_file, storage
from schemas.errors import DiskFull, InputUnusable, NotPermitted, OutputUnusable, PrestaCopError, ServiceUnavailable
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
            with pytest.raises(DiskFull, match="File too large"):
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


def test_a_missing_bucket_is_reported_at_once(s3: str) -> None:
    with pytest.raises(InputUnusable, match="no bucket nowhere"):
        storage("s3://nowhere/lake")


def test_a_server_that_does_not_answer_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize("root", ["gs://", "hdfs://x/y", "s3://"])
def test_other_schemes_are_refused(root: str) -> None:
    with pytest.raises(OutputUnusable, match=r"(s3|gs)://BUCKET/PREFIX"):
        storage.__wrapped__(root)


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputUnusable, match="no such file"), open_file(str(tmp_path / "x.csv")):
        pass


@pytest.mark.parametrize("name", ["\udcff.csv", "a\0b", "s3://b/\udcff.csv"])
def test_a_name_that_is_not_utf_8_is_reported(name: str) -> None:
    with pytest.raises(InputUnusable, match="must be UTF-8"), open_file(name):
        pass
    with pytest.raises(OutputUnusable, match="must be UTF-8"):
        storage.__wrapped__(name)


def test_a_name_that_is_too_long_is_reported(tmp_path: Path) -> None:
    name = str(tmp_path / ("x" * 300))
    with pytest.raises(InputUnusable, match="name too long"), open_file(name):
        pass
    with pytest.raises(OutputUnusable, match="name too long"):
        storage(name).probe()


@pytest.mark.parametrize("endpoint", ["127.0.0.1:9000", "localhost", "ftp://h", "http://", "//h"])
def test_an_endpoint_without_a_scheme_is_reported(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    with pytest.raises(OutputUnusable, match="AWS_ENDPOINT_URL"):
        S3Storage("s3://lake")


def test_a_missing_profile_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(NotPermitted, match="nobody"):
        S3Storage("s3://lake")


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EACCES, NotPermitted), (errno.EROFS, OutputUnusable),
        (errno.EIO, OutputUnusable),
    ],
)  # fmt: skip
def test_the_same_condition_has_the_same_error_in_every_method(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[PrestaCopError]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    store = LocalStorage(str(tmp_path))
    store.put("a", b"")
    for name in ("open", "mkdir", "unlink"):
        monkeypatch.setattr(Path, name, refuse)
    for call in (lambda: store.put("a", b""), lambda: store.put_new("a", b""), lambda: store.delete("a"), store.probe):
        with pytest.raises(error, match=re.escape(str(tmp_path))):
            call()


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_hard_links_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OutputUnusable, match="no hard links"):
        LocalStorage(str(tmp_path / "data" / "lake")).probe()
    assert list(tmp_path.iterdir()) == []


def test_a_server_of_files_that_lost_the_answer_to_a_link_gave_it_to_this_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.link

    def lost(source: Path, target: Path) -> None:
        real(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(os, "link", lost)
    assert LocalStorage(str(tmp_path)).put_new("a", b"ours")


def test_a_probe_leaves_nothing(store: Storage) -> None:
    store.put("a/b", b"")
    store.probe()
    found = store.filesystem.get_file_info(FileSelector(store.base, recursive=True))
    assert [info.path for info in found if info.is_file] == [store.full("a/b")]


def test_a_server_that_does_not_know_conditional_puts_is_refused(
    store: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(store), "put_new", lambda *_: True)
    with pytest.raises(OutputUnusable, match="conditional writes"):
        store.probe()
