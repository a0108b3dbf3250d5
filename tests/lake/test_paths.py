"""No operation follows a path out of the lake."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from lake.storage import LocalStorage, S3Storage, Storage, storage
from schemas.errors import OutputUnusable, UnsafePath

PATHS = [
    "../victim", "a/../../victim", "..", "a/..", ".", "a/./b", "", "/", "/etc/victim", "a//b", "a/", "//a",
    "\0", "a\0b", "a\\b",
    "..\\victim", "C:\\victim", "a/../b", "./a", "\ud800",
]  # fmt: skip
METHODS: list[Callable[[Storage, str], object]] = [
    lambda store, path: store.put(path, b"x"),
    lambda store, path: store.put_new(path, b"x"),
    lambda store, path: store.read(path),
    lambda store, path: store.delete(path),
    lambda store, path: store.list(path),
    lambda store, path: store.full(path),
]
NAMES = ["put", "put_new", "read", "delete", "list", "full"]


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_no_method_follows_a_path_out_of_the_root(store: Storage, method: Callable[[Storage, str], object]) -> None:
    victim = Path(store.base).parent / "victim" if isinstance(store, LocalStorage) else None
    if victim:
        victim.write_text("precious")
    for path in PATHS:
        with pytest.raises(UnsafePath, match="not a path below the lake's root"):
            method(store, path)
    if victim:
        assert victim.read_text() == "precious"
        assert sorted(p.name for p in victim.parent.rglob("*") if p.is_file()) == ["victim"]


@pytest.mark.parametrize("method", METHODS[:5], ids=NAMES[:5])
@pytest.mark.parametrize("path", ["link/file", "inner/link/file"])
def test_no_method_follows_a_symbolic_link_out_of_the_root(
    tmp_path: Path, method: Callable[[Storage, str], object], path: str
) -> None:
    outside, root = tmp_path / "outside", tmp_path / "lake"
    outside.mkdir()
    (outside / "file").write_text("precious")
    (root / "inner").mkdir(parents=True)
    (root / "link").symlink_to(outside)
    (root / "inner" / "link").symlink_to("../../outside")
    with pytest.raises(UnsafePath, match="symbolic link"):
        method(LocalStorage(str(root)), path)
    assert [(p.name, p.read_text()) for p in outside.iterdir()] == [("file", "precious")]


def test_a_file_that_is_a_link_out_of_the_root_is_not_read_and_only_the_link_goes(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    store = LocalStorage(str(tmp_path / "lake"))
    writes: list[Callable[[], None]] = [partial(store.put, "link", b"new"), partial(store.delete, "link")]
    for write in writes:
        (tmp_path / "lake").mkdir(exist_ok=True)
        (tmp_path / "lake" / "link").unlink(missing_ok=True)
        (tmp_path / "lake" / "link").symlink_to(victim)
        with pytest.raises(UnsafePath):
            store.read("link")
        assert not store.put_new("link", b"new")
        write()
        assert victim.read_text() == "precious"


def test_a_listing_does_not_go_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("")
    (tmp_path / "lake" / "ledger").mkdir(parents=True)
    (tmp_path / "lake" / "ledger" / "link").symlink_to(tmp_path / "outside")
    with pytest.raises(UnsafePath, match="remove the link"):
        LocalStorage(str(tmp_path / "lake")).list("ledger")


def test_the_root_itself_may_be_a_link_and_links_inside_are_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "lake").symlink_to(tmp_path / "disk")
    store = LocalStorage(str(tmp_path / "lake"))
    store.put("a/file", b"data")
    (tmp_path / "disk" / "b").symlink_to("a")
    assert store.read("a/file") == store.read("b/file") == b"data"
    assert len(store.list("a")) == 1


@pytest.mark.parametrize(
    "root", ["s3://b//lake", "s3:///lake", "s3://b/../lake", "s3://b/lake//", "s3://b/./x", "s3://"]
)
def test_a_prefix_with_an_empty_part_is_refused(root: str) -> None:
    with pytest.raises(OutputUnusable, match="s3://BUCKET/PREFIX"):
        storage.__wrapped__(root)


def test_nothing_is_put_above_the_prefix(s3: str) -> None:
    store = S3Storage(f"{s3}/lake")
    with pytest.raises(UnsafePath):
        store.put("../victim", b"")
    assert S3Storage(s3).list("lake") == []
