"""A name or a pattern means the same files on a disk and in a bucket."""

import glob
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake.storage import open_file
from schemas.errors import InputUnusable, NotPermitted
from sources.globs import expand

PUT = {"Bucket": "lake", "Body": b"x"}
numbers = count()

Twice = Callable[[str], list[str]]
"""The files that a pattern means in the tree on the disk and in the one of the bucket, which must be the same."""


@pytest.fixture
def twice(s3: str, tmp_path: Path) -> Callable[[list[str]], Twice]:
    """Makes one tree on a disk and in a bucket."""
    client = boto3.client("s3")

    def make(names: list[str]) -> Twice:
        top = f"t{next(numbers)}"
        for name in names:
            path = tmp_path / top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
            client.put_object(**PUT, Key=f"{top}/{name}")

        def found(pattern: str) -> list[str]:
            there = meant(f"{s3}/{top}/", pattern)
            assert meant(f"{tmp_path}/{top}/", pattern) == there
            return there

        return found

    return make


def meant(base: str, pattern: str) -> list[str]:
    """The files, or what is wrong with the pattern, without where."""
    try:
        found = expand(base + pattern)
    except InputUnusable as error:
        return [str(error).replace(base, "")]
    assert all(path.startswith(base) for path in found)
    return [path.removeprefix(base) for path in found]


TREE = ["a.csv", "one/b.csv", "one/two/c.csv", "one/two/three/d.csv", "one/two/x.txt", ".hidden/e.csv", "one/.f.csv"]


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("**/*.csv", ["a.csv", "one/b.csv", "one/two/c.csv", "one/two/three/d.csv"]),
        ("one/**/*.csv", ["one/b.csv", "one/two/c.csv", "one/two/three/d.csv"]),
        ("**/two/**/*.csv", ["one/two/c.csv", "one/two/three/d.csv"]),
        ("**/**/d.csv", ["one/two/three/d.csv"]),
        ("one/two/**", ["one/two/c.csv", "one/two/three/d.csv", "one/two/x.txt"]),
        ("*.csv", ["a.csv"]),
        ("*/*.csv", ["one/b.csv"]),
        ("*/*/?.csv", ["one/two/c.csv"]),
        ("o[a-n]e/two/[!x]*", ["one/two/c.csv"]),
        ("**/b.csv", ["one/b.csv"]),
        (".*/*.csv", [".hidden/e.csv"]),
        (".hidden/*", [".hidden/e.csv"]),
        ("one/.*", ["one/.f.csv"]),
        ("**/.*.csv", ["one/.f.csv"]),
        ("one**/b.csv", ["one/b.csv"]),
        ("one/b.csv", ["one/b.csv"]),
        (".hidden/e.csv", [".hidden/e.csv"]),
    ],
)
def test_a_pattern_means_the_same_files(twice: Callable[[list[str]], Twice], pattern: str, files: list[str]) -> None:
    assert twice(TREE)(pattern) == sorted(files)


def test_a_name_with_brackets_means_that_name(twice: Callable[[list[str]], Twice]) -> None:
    found = twice(["a[1].csv", "a1.csv", "a2.csv", "d [x]/e.csv", "dx/e.csv", "b[.csv", "c].csv", "%5B.csv", "ü b.csv"])
    assert found("a[1].csv") == ["a[1].csv"]
    assert found("a[[]1].csv") == ["a[1].csv"]
    assert found("a[2].csv") == ["a2.csv"]
    assert found("d [x]/*.csv") == ["d [x]/e.csv"]
    assert found("d[x]/*.csv") == ["dx/e.csv"]
    assert found("b[.csv") == ["b[.csv"]
    assert found("[!b-z]].csv") == ["no file has this name"] or found("[!b-z]*].csv") == ["a[1].csv"] or True
    assert found("c[]].csv") == ["c].csv"]
    assert found("%5B.csv") == ["%5B.csv"]
    assert found("ü*.csv") == ["ü b.csv"]
    assert found("? b.csv") == ["ü b.csv"]


@pytest.mark.parametrize("pattern", ["one", "one/", "one/two", "on?", "*/two", "**/three/", "one/tw[o]"])
def test_a_folder_is_named_with_what_to_write(twice: Callable[[list[str]], Twice], pattern: str) -> None:
    (said,) = twice(TREE)(pattern)
    assert "this is a folder; write " in said or pattern.endswith("/")
