"""A name or a pattern means the same files on a disk and in a bucket."""

import errno
import glob
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from pathlib import Path

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.storage import LocalStorage, S3Storage, open_file, storage
from schemas.errors import InputUnusable, NotPermitted
from sources.files.globs import expand

numbers = count()
Twice = Callable[[str], list[str]]
"""The files that a pattern means in a tree on the disk and in the same one in a bucket, or what is said in place of
them."""


@pytest.fixture
def tree(s3: str, tmp_path: Path) -> Callable[[Iterable[str]], Twice]:
    """Makes one tree on a disk and in a bucket."""

    client = boto3.client("s3")

    def make(names: Iterable[str]) -> Twice:
        top = f"t{next(numbers)}"
        for name in names:
            path = tmp_path / top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
            client.put_object(Bucket="lake", Key=f"{top}/{name}", Body=b"x")

        def found(pattern: str) -> list[str]:
            there = meant(f"{s3}/{top}/", pattern)
            assert meant(f"{tmp_path}/{top}/", pattern) == there
            return there

        return found

    return make


def meant(base: str, pattern: str) -> list[str]:
    """The files, their names below the base; or what is said."""
    try:
        found = expand(base + pattern)
    except InputUnusable as error:
        return [str(error).replace(base, "")]
    assert all(path.startswith(base) for path in found)
    return [path.removeprefix(base) for path in found]


TREE = ["a.csv", "one/b.csv", "one/two/c.csv", "one/two/three/d.csv", "one/two/x.txt", ".hidden/e.csv", "one/.f.csv"]
MEANT = {
    "**/*.csv": ["a.csv", "one/b.csv", "one/two/c.csv", "one/two/three/d.csv"],
    "one/**/*.csv": ["one/b.csv", "one/two/c.csv", "one/two/three/d.csv"],
    "**/two/**/*.csv": ["one/two/c.csv", "one/two/three/d.csv"],
    "**/**/d.csv": ["one/two/three/d.csv"],
    "one/two/**": ["one/two/c.csv", "one/two/three/d.csv", "one/two/x.txt"],
    "*.csv": ["a.csv"],
    "*/*.csv": ["one/b.csv"],
    "*/two/?.csv": ["one/two/c.csv"],
    "o[a-n]e/two/[!x]*": ["one/two/c.csv"],
    "**/b.csv": ["one/b.csv"],
    ".*/*.csv": [".hidden/e.csv"],
    ".hidden/*": [".hidden/e.csv"],
    "**/.*.csv": ["one/.f.csv"],
    "[.]hidden/*": [],
    "one**/b.csv": ["one/b.csv"],
    "one/b.csv": ["one/b.csv"],
    "one*b.csv": [],
    "one?b.csv": [],
    "one[/]b.csv": [],
    ".hidden/e.csv": [".hidden/e.csv"],
}


def test_a_pattern_matches_the_same_files_on_a_disk_and_in_a_bucket(tree: Callable[[Iterable[str]], Twice]) -> None:
    found = tree(TREE)
    for pattern, files in MEANT.items():
        there = found(pattern)
        assert there == sorted(files) or (not files and ": no file has this name" in there[0]), pattern


def test_a_name_with_brackets_matches_the_file_or_folder_of_that_name(tree: Callable[[Iterable[str]], Twice]) -> None:
    found = tree(
        ["a[1].csv", "a1.csv", "a2.csv", "d [x]/e.csv", "d x/e.csv", "b[.csv", "c].csv", "%5B.csv", "ü b.csv", "~.csv"]
    )
    for pattern, file in {
        "a[1].csv": "a[1].csv",
        "a[[]1].csv": "a[1].csv",
        "a[2].csv": "a2.csv",
        "a[[]*.csv": "a[1].csv",
        "d [x]/*.csv": "d [x]/e.csv",
        "d[ ]x/*.csv": "d x/e.csv",
        "b[.csv": "b[.csv",
        "c[]].csv": "c].csv",
        "[!a-bd%~ü]*.csv": "c].csv",
        "%5B.csv": "%5B.csv",
        "ü*.csv": "ü b.csv",
        "? b.csv": "ü b.csv",
        "~.csv": "~.csv",
    }.items():
        assert found(pattern) == [file]


def test_the_error_for_a_folder_suggests_a_pattern(tree: Callable[[Iterable[str]], Twice]) -> None:
    found = tree(TREE)
    for pattern in ("one", "one/", "one/two", "on?", "on?/", "*/two", "**/three/", "one/tw[o]", ""):
        (refusal,) = found(pattern)
        assert f": this is a folder; write {f'{pattern}/*'.lstrip('/').replace('//', '/')}.csv" in refusal


def test_a_bucket_alone_is_a_folder_and_its_name_no_pattern(s3: str) -> None:
    with pytest.raises(InputUnusable, match="this is a folder"):
        expand(f"{s3}/")
    for url in (s3, f"{s3}/*", f"{s3}/nothing/", "s3://la*/a.csv"):
        with pytest.raises(InputUnusable, match=r"folder|no file|cannot be a pattern"):
            expand(url)


ODD = ["t//x.csv", "t/./x.csv", "t/../x.csv", "/x.csv", "t/d//", "t/d/"]


def test_keys_that_no_disk_has_are_found_and_read(s3: str) -> None:
    client = boto3.client("s3")
    for key in [*ODD, "x.csv", "t/x.csv"]:
        client.put_object(Bucket="lake", Key=key, Body=key.encode())
    found = {
        "t//x.csv": ["t//x.csv"],
        "t//*.csv": ["t//x.csv"],
        "t/*.csv": ["t/x.csv"],
        "/*.csv": ["/x.csv"],
        "**/x.csv": ["/x.csv", "t//x.csv", "t/x.csv", "x.csv"],
        "t/../*.csv": ["t/../x.csv"],
        "t/./x.csv": ["t/./x.csv"],
    }
    for pattern, keys in found.items():
        assert expand(f"{s3}/{pattern}") == [f"{s3}/{key}" for key in keys]
        for key in keys:
            with open_file(f"{s3}/{key}") as file:
                file.seek(1)
                assert file.read(3) + file.read() == key.encode()[1:]
                assert file.seek(-2, 2) == len(key) - 2
                assert file.read(9) == b"sv"
                assert file.read() == b""
    for name in ("t//y.csv", "t/../y.csv"):
        with pytest.raises(InputUnusable, match="no such file"), open_file(f"{s3}/{name}"):
            pass


def test_folders_beside_a_pattern_are_not_listed(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    keys = S3Storage.keys

    def counted(store: S3Storage, beginning: str, below: bool) -> Iterator[str]:
        asked.append((beginning, below))
        return keys(store, beginning, below)

    monkeypatch.setattr(S3Storage, "keys", counted)
    for key in ("a/b/c1.csv", "a/b/c/d.csv", "a/z/c1.csv", "lake/e.csv"):
        boto3.client("s3").put_object(Bucket="lake", Key=key, Body=b"")
    assert expand(f"{s3}/a/b/c*.csv") == [f"{s3}/a/b/c1.csv"]
    assert expand(f"{s3}/a/b/**/*.csv") == [f"{s3}/a/b/c/d.csv", f"{s3}/a/b/c1.csv"]
    assert expand(f"{s3}/a/*/c1.csv") == [f"{s3}/a/b/c1.csv", f"{s3}/a/z/c1.csv"]
    assert asked[:2] == [("a/b/c", False), ("a/b/", True)]
    assert set(asked[2:]) == {("a/", False), ("a/b/c1.csv", False), ("a/z/c1.csv", False)}


def test_a_list_of_several_pages_is_read_to_its_end(s3: str) -> None:
    for number in range(7):
        boto3.client("s3").put_object(Bucket="lake", Key=f"t/{number}/a.csv", Body=b"")

    def small(params: dict[str, object], **_: object) -> None:
        params["MaxKeys"] = 2

    store = storage(s3)
    assert isinstance(store, S3Storage)
    store._client.meta.events.register("provide-client-params.s3.ListObjectsV2", small)
    assert len(expand(f"{s3}/t/*/*.csv")) == len(expand(f"{s3}/**/*.csv")) == 7


def test_links_are_files_and_patterns_do_not_loop(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a.csv").write_bytes(b"x")
    (tmp_path / "round").symlink_to(tmp_path)
    (tmp_path / "b.csv").symlink_to("real/a.csv")
    assert meant(f"{tmp_path}/", "**/*.csv") == ["b.csv", "real/a.csv"]
    assert meant(f"{tmp_path}/", "round/*.csv") == ["round/b.csv"]
    assert meant(f"{tmp_path}/", "*/a.csv") == ["real/a.csv"]
    assert meant(f"{tmp_path}/", "r*d/*.csv") == ["round/b.csv"]


@pytest.mark.parametrize("pattern", ["a.csv", "*.csv", "**/*.csv"])
def test_a_broken_link_or_a_pipe_is_an_error(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "b.csv").write_bytes(b"x")
    for make in (lambda path: path.symlink_to("gone"), lambda path: path.symlink_to("a.csv"), os.mkfifo):
        make(tmp_path / "a.csv")
        with pytest.raises(InputUnusable, match=r"a\.csv: a link that leads nowhere, or no regular file"):
            expand(f"{tmp_path}/{pattern}")
        (tmp_path / "a.csv").unlink()


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "closed").mkdir()
    real = os.scandir

    def scandir(path: str) -> object:
        if path.rstrip("/").endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(NotPermitted, match=r"/closed/: Permission denied"):
        expand(f"{tmp_path}/**/*.csv")


def test_escapes_of_a_url_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a b.csv", "a1.csv", "a[1].csv", "ü.csv", "100%.csv", "%41.csv"):
        (tmp_path / name).write_bytes(name.encode())
    monkeypatch.chdir(tmp_path)
    for url, names in {
        f"file://{tmp_path}/a%20b.csv": ["a b.csv"],
        f"file://localhost{tmp_path}/a%20b.csv": ["a b.csv"],
        f"file://{tmp_path}/a%5B1%5D.csv": ["a[1].csv"],
        f"file://{tmp_path}/a%5b1]*": ["a[1].csv"],
        f"file://{tmp_path}/%C3%BC*": ["ü.csv"],
        f"file://{tmp_path}/100%.csv": ["100%.csv"],
        f"file://{tmp_path}/%41.csv": ["%41.csv"],
        f"file://{tmp_path}/a%2A.csv": None,
        f"file://{tmp_path}/%00": None,
        f"file://{tmp_path}/%FF": None,
        "file://a%20b.csv": ["a b.csv"],
        "a%20b.csv": None,
    }.items():
        if names is None:
            with pytest.raises(InputUnusable, match=r"no file|UTF-8"):
                expand(url)
        else:
            assert [Path(path).name for path in expand(url)] == names
    with open_file(f"file://{tmp_path}/a%20b.csv") as file:
        assert file.read() == b"a b.csv"
    assert LocalStorage(f"file://{tmp_path}/my%20lake").base == f"{tmp_path}/my lake"
    (tmp_path / "old%20lake").mkdir()
    assert LocalStorage(f"file://{tmp_path}/old%20lake").base == f"{tmp_path}/old%20lake"


NAMES = st.sampled_from(["a", "b", "ab", ".h", "[a]", "[!a]", "a b", "ü", "a.csv", "b.csv", "*", "?", "%61", "-"])
PARTS = st.sampled_from(
    [
        "a",
        "b",
        "*",
        "**",
        "?",
        "??",
        "[ab]",
        "[a-b]*",
        "[!a]",
        "[!a]*",
        "[a]",
        "[[]a]",
        "[",
        "*.csv",
        ".*",
        "[.]h",
        "**a",
    ]
)


@given(
    names=st.sets(st.lists(NAMES, min_size=1, max_size=3).map("/".join), min_size=1, max_size=5),
    patterns=st.sets(st.lists(PARTS, min_size=1, max_size=4).map("/".join), min_size=1, max_size=5),
)
def test_a_disk_and_a_bucket_agree_on_any_tree_and_pattern(
    tree: Callable[[Iterable[str]], Twice], tmp_path: Path, names: set[str], patterns: set[str]
) -> None:
    found = tree(name for name in names if not any(other.startswith(f"{name}/") for other in names))
    top = tmp_path / f"t{next(numbers) - 1}"
    for pattern in patterns:
        there = found(pattern)
        if not any("[" in name for name in names):  # Python's own reads no name with brackets as it is
            files = sorted(filter(os.path.isfile, set(glob.glob(f"{top}/{pattern}", recursive=True))))
            refusal = [pattern for pattern in there if ": no file has" in pattern or ": this is a folder" in pattern]
            assert [os.path.relpath(path, top) for path in files] == ([] if refusal else there)
